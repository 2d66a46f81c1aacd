"""Limits on the lengths of names in a Pod: what is longer is cut or dropped before anything keeps it.

Nothing that is longer can exist: kubelets take no such reference or name. So no result changes, and whoever sends megabytes
as a name fills no cache with them. A cut name ends with a character that no name has.
Sources: kubernetes/apimachinery pkg/util/validation/validation.go (DNS1123SubdomainMaxLength);
github.com/distribution/reference reference.go (NameTotalLengthMax), regexp.go (a tag of 128).
"""

import msgspec

from webhook.workload.podspec import Container, Metadata, OwnerReference, PodSpec
from webhook.workload.workload import NO_METADATA, Workload

NAME_LIMIT = 253  # characters of an object's or a container's name
IMAGE_LIMIT = 1024  # characters of an image: a host of 253, a path of 255, a tag of 128 and a digest of 135 fit
_CUT = "…"


def bounded(workload: Workload) -> Workload:
    """The workload with no name longer than one can be; nearly always the same."""
    if not _has_long_name(workload):
        return workload
    return msgspec.structs.replace(
        workload,
        spec=_spec(workload.spec),
        metadata=_metadata(workload.metadata),
        template_metadata=_metadata(workload.template_metadata),
    )


def _has_long_name(workload: Workload) -> bool:
    spec, account = workload.spec, workload.spec.service_account_name
    for containers in (spec.containers, spec.init_containers, spec.ephemeral_containers):
        for container in containers or ():
            if len(container.name) > NAME_LIMIT or len(container.image or "") > IMAGE_LIMIT:
                return True
    for secret in spec.image_pull_secrets or ():
        if len(secret.name) > NAME_LIMIT:
            return True
    for metadata in (workload.metadata, workload.template_metadata):
        if metadata is NO_METADATA:
            continue
        for name in (metadata.name, metadata.generate_name, metadata.namespace, metadata.uid):
            if name is not None and len(name) > NAME_LIMIT:
                return True
        for owner in metadata.owner_references or ():
            if _is_long_owner(owner):
                return True
    return account is not None and len(account) > NAME_LIMIT


def _is_long_owner(owner: OwnerReference) -> bool:
    return max(len(owner.name), len(owner.kind), len(owner.uid), len(owner.api_version)) > NAME_LIMIT


def _spec(spec: PodSpec) -> PodSpec:
    lists = (spec.containers, spec.init_containers, spec.ephemeral_containers)
    regular, init, ephemeral = (containers and tuple(map(_container, containers)) for containers in lists)
    secrets = spec.image_pull_secrets
    return msgspec.structs.replace(
        spec,
        containers=regular,
        init_containers=init,
        ephemeral_containers=ephemeral,
        image_pull_secrets=secrets and tuple(each for each in secrets if len(each.name) <= NAME_LIMIT),
        service_account_name=_cut(spec.service_account_name, NAME_LIMIT),
    )


def _container(container: Container) -> Container:
    name, image = _cut(container.name, NAME_LIMIT), _cut(container.image, IMAGE_LIMIT)
    return msgspec.structs.replace(container, name=name, image=image)


def _metadata(metadata: Metadata) -> Metadata:
    texts = (metadata.name, metadata.generate_name, metadata.namespace, metadata.uid)
    name, generate_name, namespace, uid = (_cut(each, NAME_LIMIT) for each in texts)
    owners = metadata.owner_references
    return msgspec.structs.replace(
        metadata,
        name=name,
        generate_name=generate_name,
        namespace=namespace,
        uid=uid,
        owner_references=owners and tuple(each for each in owners if not _is_long_owner(each)),
    )


def _cut(text: str | None, limit: int) -> str | None:
    return text if text is None or len(text) <= limit else text[:limit] + _CUT
