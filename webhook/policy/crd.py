"""The CustomResourceDefinitions, made from the types that read the documents: `python -m webhook.policy.crd DIRECTORY`.

What a structural schema may hold: kubernetes/apiextensions-apiserver pkg/apiserver/schema/structural.go and validation.go.
"""

import sys
from inspect import cleandoc
from pathlib import Path
from typing import Any

import msgspec
from ruamel.yaml import YAML

from webhook.image.image_identity import ImageIdentitySpec
from webhook.policy.conditions import ExceptionStatus, PolicyStatus
from webhook.policy.types import API_VERSION, ExceptionSpec, PolicySpec

GROUP, VERSION = API_VERSION.split("/")
HEADER = (
    "# Generated from webhook/{policy/types,policy/conditions,image/image_identity}.py "
    "by `python -m webhook.policy.crd`; do not edit.\n"
)


class Column(msgspec.Struct, frozen=True):
    """A column of `kubectl get`; `wide` ones show with `-o wide` only."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False


class Rule(msgspec.Struct, frozen=True):
    """A CEL condition on the spec that its types cannot say."""

    rule: str
    message: str
    field: str


class Resource(msgspec.Struct, frozen=True):
    """A kind of ours."""

    kind: str
    plural: str
    short_names: tuple[str, ...]
    namespaced: bool
    description: str
    spec: type[msgspec.Struct]
    columns: tuple[Column, ...]
    rules: tuple[Rule, ...] = ()
    status: type[msgspec.Struct] | None = None


AGE = Column("Age", ".metadata.creationTimestamp", "date")

RESOURCES = (
    Resource(
        kind="NonRootPolicy",
        plural="nonrootpolicies",
        short_names=("nrp",),
        namespaced=False,
        description="What is asked of the Pods of some namespaces. Exactly one policy applies to each.",
        spec=PolicySpec,
        columns=(
            Column("Mode", ".spec.mode"),
            Column("Namespaces", ".status.namespaces", "integer"),
            Column("Denied", ".status.workloads.denied", "integer"),
            Column("Fixable", ".status.workloads.fixable", "integer"),
            Column("Unknown", ".status.workloads.unknown", "integer"),
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            Column("Why", '.status.conditions[?(@.type=="Ready")].reason'),
            Column("Fails open", '.status.conditions[?(@.type=="FailsOpen")].status', wide=True),
            Column("Message", '.status.conditions[?(@.type=="Ready")].message', wide=True),
            Column("Priority", ".spec.priority", "integer", wide=True),
            Column("Inject", ".spec.inject", wide=True),
            Column("Root images", ".spec.rootImages", wide=True),
            AGE,
        ),
        status=PolicyStatus,
        rules=(
            Rule(
                "(has(self.rootImages) && self.rootImages == 'Assign') == has(self.assign)",
                "assign belongs to rootImages: Assign; give both or neither",
                ".assign",
            ),
            Rule(
                "!has(self.namespaceSelector) || !has(self.namespaceSelector.matchExpressions) || "
                "self.namespaceSelector.matchExpressions.all(each, "
                "(each.operator in ['In', 'NotIn']) == (has(each.values) && size(each.values) > 0))",
                "values belong to In and NotIn, which need one at least",
                ".namespaceSelector",
            ),
        ),
    ),
    Resource(
        kind="NonRootException",
        plural="nonrootexceptions",
        short_names=("nrex",),
        namespaced=True,
        description="Containers of its namespace that are exempted, and why.",
        spec=ExceptionSpec,
        columns=(
            Column("Reason", ".spec.reason"),
            Column("Matches", ".status.matches", "integer"),
            Column("Expires", ".spec.expires"),  # no date: kubectl shows those as an age, and a future one as <invalid>
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            Column("Why", '.status.conditions[?(@.type=="Ready")].reason'),
            Column("Expires soon", '.status.conditions[?(@.type=="ExpiresSoon")].status'),
            AGE,
        ),
        status=ExceptionStatus,
    ),
    Resource(
        kind="ImageIdentity",
        plural="imageidentities",
        short_names=("imgid",),
        namespaced=False,
        description="Who the USER of an image is. Made and removed by nonroot-webhook; not for editing.",
        spec=ImageIdentitySpec,
        columns=(
            Column("User", ".spec.user"),
            Column("UID", ".spec.uid", "integer"),
            Column("Source", ".spec.source"),
            AGE,
            Column("GID", ".spec.gid", "integer", wide=True),
            Column("Platform", ".spec.platform", wide=True),
            Column("Image", ".spec.image", wide=True),
        ),
    ),
)


def definition(resource: Resource) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    spec = schema(resource.spec)
    if resource.rules:
        spec["x-kubernetes-validations"] = [
            {"rule": each.rule, "message": each.message, "fieldPath": each.field} for each in resource.rules
        ]
    required = ["spec"] if spec.get("required") else []
    if not required:
        spec["default"] = {}
    root: dict[str, Any] = {
        "description": resource.description,
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
        },
    }
    if required:
        root["required"] = required
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": root},
        "additionalPrinterColumns": [_column(column) for column in resource.columns],
    }
    if resource.status is not None:
        root["properties"]["status"] = _status(resource.status)
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{resource.plural}.{GROUP}",
            "labels": {
                "app.kubernetes.io/name": "nonroot-webhook",
                "app.kubernetes.io/part-of": "nonroot-webhook",  # webhook/controller/operator.py selects by it
            },
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": list(resource.short_names),
                "categories": ["nonroot"],
            },
            "versions": [version],
        },
    }


def schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The structural schema of a type: references written out, no null, no unions, a type everywhere."""
    (root,), definitions = msgspec.json.schema_components([kind])
    return _structural(root, definitions)


def _structural(source: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in source:
        named = definitions[source["$ref"].removeprefix("#/$defs/")]
        return _structural({**named, **{key: value for key, value in source.items() if key != "$ref"}}, definitions)
    if "anyOf" in source:
        kinds = [each for each in source["anyOf"] if each != {"type": "null"}]
        if len(kinds) > 1:  # a number, or a word that stands for one
            return {"description": source.get("description", ""), **_number_or_word(*kinds, definitions=definitions)}
        (only,) = kinds
        return _structural({**only, **{key: value for key, value in source.items() if key != "anyOf"}}, definitions)
    made = {key: source[key] for key in _COPIED if key in source}
    if "description" in made:
        made["description"] = cleandoc(made["description"])  # a docstring, which Python before 3.13 leaves indented
    if "enum" in source:
        made["type"] = "string"
    if source.get("type") == "integer":
        made["format"] = "int64"
    if source.get("required"):
        made["required"] = source["required"]
    if "properties" in source:
        made["properties"] = {name: _structural(each, definitions) for name, each in source["properties"].items()}
    elif isinstance(source.get("additionalProperties"), dict):
        made["additionalProperties"] = _structural(source["additionalProperties"], definitions)
    if "items" in source:
        made["items"] = _structural(source["items"], definitions)
    if _says_something(source.get("default"), made):
        made["default"] = source["default"]
    return made


def _number_or_word(*kinds: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of a bounded number or one of some words: no JSON Schema that is structural says that."""
    number, word = sorted((_structural(each, definitions) for each in kinds), key=lambda each: "enum" in each)
    least, most, words = number["minimum"], number["maximum"], word["enum"]
    rule = f"type(self) == int ? self >= {least} && self <= {most} : self in {words}"
    message = f"must be a number from {least} to {most}, or {' or '.join(words)}"
    return {"x-kubernetes-int-or-string": True, "x-kubernetes-validations": [{"rule": rule, "message": message}]}


_COPIED = (
    "description",
    "type",
    "format",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
)


def _says_something(default: Any, made: dict[str, Any]) -> bool:
    """Whether a default is worth storing in every object: not null or empty, unless it brings the defaults inside it."""
    if default == {}:
        return any("default" in each for each in made.get("properties", {}).values())
    return default not in (None, "", (), [])


def _status(kind: type[msgspec.Struct]) -> dict[str, Any]:
    status = schema(kind)
    status["properties"]["conditions"]["x-kubernetes-list-type"] = "map"
    status["properties"]["conditions"]["x-kubernetes-list-map-keys"] = ["type"]
    if "lastUsable" in status["properties"]:  # of whichever version wrote it
        status["properties"]["lastUsable"]["x-kubernetes-preserve-unknown-fields"] = True
    return status


def _column(column: Column) -> dict[str, Any]:
    made: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    if column.wide:
        made["priority"] = 1
    return made


def write(directory: Path) -> None:
    """Write one YAML file a kind."""
    yaml = YAML()
    yaml.width = 4096  # no folded lines
    yaml.indent(mapping=2, sequence=4, offset=2)
    directory.mkdir(parents=True, exist_ok=True)
    for resource in RESOURCES:
        with (directory / f"{resource.plural}.yaml").open("w", encoding="utf-8") as file:
            file.write(HEADER)
            yaml.dump(definition(resource), file)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m webhook.policy.crd DIRECTORY")
    write(Path(sys.argv[1]))
