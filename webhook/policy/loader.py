"""The conversion of plain YAML or JSON to policies and exceptions, the same for a file and for the cluster."""

from collections.abc import Iterable
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import inspect

from webhook.errors import InvalidDocument
from webhook.policy.types import Documents, ExceptionSpec, Metadata, NonRootException, NonRootPolicy, PolicySpec
from webhook.text import describe_error

T = TypeVar("T")


class _AnyDocument(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The outer shape of a document in a file; the server's own fields are let through, not read."""

    api_version: Literal["nonroot.dev/v1alpha1"]
    kind: Literal["NonRootPolicy", "NonRootException"]
    metadata: dict[str, Any]
    spec: Any = msgspec.UNSET
    status: Any = None


def load(documents: Iterable[Any], source: str) -> Documents:
    """Convert plain YAML or JSON documents; `InvalidDocument` names `source`, the document and the field.

    Empty documents are skipped, as kubectl does.
    """
    policies: dict[str, NonRootPolicy] = {}
    exceptions: dict[tuple[str, str], NonRootException] = {}
    for position, document in enumerate(documents, start=1):
        if document is None:
            continue
        where = f"{source}, document {position}"
        converted = read(document, where)
        name = converted.metadata.name
        if isinstance(converted, NonRootPolicy):
            if name in policies:
                raise InvalidDocument(f"{where}: there is a NonRootPolicy {name!r} already; names must differ")
            policies[name] = converted
        else:
            key = (converted.metadata.namespace, name)
            if key in exceptions:
                raise InvalidDocument(f"{where}: there is a NonRootException {name!r} already in that namespace")
            exceptions[key] = converted
    return Documents(tuple(policies.values()), tuple(exceptions.values()))


def read(document: Any, where: str) -> NonRootPolicy | NonRootException:
    """Convert one document; `InvalidDocument` begins with `where` and names the field."""
    outer = _convert(document, _AnyDocument, where, "")
    metadata = _convert(outer.metadata, Metadata, where, "metadata")
    name = f"{where} ({outer.kind} {metadata.name!r})"
    if outer.kind == "NonRootPolicy":
        spec = _convert({} if outer.spec is msgspec.UNSET else outer.spec, PolicySpec, name, "spec")
        if (spec.root_images == "Assign") != (spec.assign is not None):
            raise InvalidDocument(f"{name}: spec.assign belongs to spec.rootImages: Assign; give both or neither")
        return NonRootPolicy(metadata, spec)
    if outer.spec is msgspec.UNSET:
        raise InvalidDocument(f"{name}: spec is missing; it needs at least a reason")
    return NonRootException(metadata, _convert(outer.spec, ExceptionSpec, name, "spec"))


def known_fields(document: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """A stored policy without the fields of its spec that this version does not know, and the paths of those."""
    unknown: list[str] = []
    spec = _known(document.get("spec"), inspect.type_info(PolicySpec), "spec", unknown)
    return ({**document, "spec": spec} if "spec" in document else document), tuple(sorted(unknown))


def _known(value: Any, kind: inspect.Type, path: str, unknown: list[str]) -> Any:
    match kind:
        case inspect.Metadata():
            return _known(value, kind.type, path, unknown)
        case inspect.UnionType():
            kinds = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
            return _known(value, kinds[0], path, unknown) if len(kinds) == 1 else value  # of several, none has fields
        case inspect.StructType() if isinstance(value, dict):
            fields = {field.encode_name: field.type for field in kind.fields}
            unknown += [f"{path}.{name}" for name in value if name not in fields]
            return {
                name: _known(each, fields[name], f"{path}.{name}", unknown)
                for name, each in value.items()
                if name in fields
            }
        case inspect.VarTupleType() if isinstance(value, list):
            return [_known(each, kind.item_type, f"{path}[{index}]", unknown) for index, each in enumerate(value)]
    return value


def _convert(value: Any, kind: type[T], where: str, root: str) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InvalidDocument(f"{where}: {describe_error(error, kind, root)}") from None
