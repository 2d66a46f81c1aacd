"""Limits on the lengths of names in a Pod: what is longer is cut or dropped before anything keeps it.

Nothing that is longer can exist: kubelets take no such reference or name. So no result changes, and whoever sends megabytes
as a name fills no cache with them. A cut name ends with a character that no name has.
Sources: kubernetes/apimachinery pkg/util/validation/validation.go (DNS1123SubdomainMaxLength);
github.com/distribution/reference reference.go (NameTotalLengthMax), regexp.go (a tag of 128).
"""

from collections.abc import Iterable

import msgspec

from webhook.workload.podspec import Container, Metadata, OwnerReference, PodSpec
from webhook.workload.workload import NO_METADATA, Workload

NAME_LIMIT = 253  # characters of an object's or a container's name
IMAGE_LIMIT = 1024  # characters of an image: a host of 253, a path of 255, a tag of 128 and a digest of 135 fit
_CUT = "…"


def bounded(workload: Workload) -> Workload:
    """The workload with no name longer than one can be; nearly always the same."""
    spec, metadata, template = _spec(workload.spec), _metadata(workload.metadata), workload.template_metadata
    if template is not NO_METADATA:
        template = _metadata(template)
    if spec is workload.spec and metadata is workload.metadata and template is workload.template_metadata:
        return workload
    return msgspec.structs.replace(workload, spec=spec, metadata=metadata, template_metadata=template)


def _spec(spec: PodSpec) -> PodSpec:
    secrets, account = spec.image_pull_secrets or (), spec.service_account_name
    lists = (spec.containers, spec.init_containers, spec.ephemeral_containers)
    if not (
        _has_long_container(lists)
        or (secrets and _has_long([each.name for each in secrets]))
        or (account is not None and len(account) > NAME_LIMIT)
    ):
        return spec
    regular, init, ephemeral = (containers and tuple(map(_container, containers)) for containers in lists)
    return msgspec.structs.replace(
        spec,
        containers=regular,
        init_containers=init,
        ephemeral_containers=ephemeral,
        image_pull_secrets=tuple(each for each in secrets if len(each.name) <= NAME_LIMIT),
        service_account_name=_cut(account, NAME_LIMIT),
    )


def _has_long_container(lists: Iterable[tuple[Container, ...] | None]) -> bool:
    for containers in lists:
        for each in containers or ():
            if len(each.name) > NAME_LIMIT or (each.image is not None and len(each.image) > IMAGE_LIMIT):
                return True
    return False


def _container(container: Container) -> Container:
    name, image = _cut(container.name, NAME_LIMIT), _cut(container.image, IMAGE_LIMIT)
    return msgspec.structs.replace(container, name=name, image=image)


def _metadata(metadata: Metadata) -> Metadata:
    texts = (metadata.name, metadata.generate_name, metadata.namespace, metadata.uid)
    owners = metadata.owner_references or ()
    if not (_has_long(texts) or (owners and any(map(_is_long_owner, owners)))):
        return metadata
    name, generate_name, namespace, uid = (_cut(each, NAME_LIMIT) for each in texts)
    return msgspec.structs.replace(
        metadata,
        name=name,
        generate_name=generate_name,
        namespace=namespace,
        uid=uid,
        owner_references=tuple(each for each in owners if not _is_long_owner(each)),
    )


def _is_long_owner(owner: OwnerReference) -> bool:
    return _has_long((owner.name, owner.kind, owner.uid, owner.api_version))


def _has_long(names: Iterable[str | None]) -> bool:
    for name in names:  # noqa: SIM110  # any() and a generator take twice as long, for every review
        if name is not None and len(name) > NAME_LIMIT:
            return True
    return False


def _cut(text: str | None, limit: int) -> str | None:
    return text if text is None or len(text) <= limit else text[:limit] + _CUT
