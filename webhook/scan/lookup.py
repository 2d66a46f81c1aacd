"""The look-up of one workload by KIND/NAME, with its Pods or its owner, in as few calls as possible."""

from collections.abc import Mapping
from difflib import get_close_matches

import msgspec

from webhook.cluster.client import NAME_LIMIT, Cluster, is_name
from webhook.cluster.errors import Forbidden
from webhook.errors import InvalidSetting, MalformedReview
from webhook.scan.collector import KINDS, base
from webhook.scan.document import Skip
from webhook.scan.inventory import Inventory, controller_of
from webhook.scan.inventory_item import Reference, of_pod
from webhook.scan.why import Target
from webhook.workload import container_status
from webhook.workload import workload as pod
from webhook.workload.workload import Workload

_SHORT = {"po": "Pod", "deploy": "Deployment", "rs": "ReplicaSet", "sts": "StatefulSet", "ds": "DaemonSet",
          "cj": "CronJob", "rc": "ReplicationController"}  # fmt: skip
_BETWEEN = {"Deployment": "ReplicaSet", "CronJob": "Job"}
_RESOURCES = {kind: (version, resource) for kind, version, resource in KINDS}
KIND_NAMES: Mapping[str, str] = {
    **_SHORT,
    **{kind.lower(): kind for kind in _RESOURCES},
    **{resource: kind for kind, (_, resource) in _RESOURCES.items()},
}
"""As kubectl takes them, in lower case: singular, plural and short."""


def kind_of(text: str) -> str:
    """The kind that somebody typed, `deploy` or `deployments.apps`; `InvalidSetting` names the nearest."""
    name = text.lower().partition(".")[0]
    found = KIND_NAMES.get(name)
    if found is None:
        near = get_close_matches(name, KIND_NAMES, n=1)
        hint = f"did you mean {KIND_NAMES[near[0]].lower()}?" if near else "for another kind, name one of its Pods"
        raise InvalidSetting(f"{text[:63]!a} is none of {', '.join(map(str.lower, _RESOURCES))}; {hint}")
    return found


async def find(cluster: Cluster, kind: str, namespace: str, name: str) -> tuple[Target, tuple[Skip, ...]]:
    """A workload, and what could not be read about it; `ClusterError` where it is not there or cannot be read itself."""
    if len(name) > NAME_LIMIT or not is_name(name):
        raise InvalidSetting(f"no {kind} can be called {name[:100]!a}; give its name as kubectl shows it")
    raw = await _read(cluster, kind, namespace, name)
    if kind == "Pod":
        return await _pod(cluster, namespace, raw)
    inventory, skipped = Inventory(), []
    for each in dict.fromkeys(("Pod", _BETWEEN.get(kind, "Pod"))):
        version, resource = _RESOURCES[each]
        try:
            async for page in cluster.pages(f"{base(version)}/namespaces/{namespace}/{resource}", f"{each}s"):
                for listed in page:
                    inventory.pod(listed) if each == "Pod" else inventory.between(version, each, listed)
        except Forbidden as error:
            skipped.append(Skip(f"{each}s of {kind} {name}", str(error)))
    item = inventory.template(_RESOURCES[kind][0], kind, msgspec.Raw(raw))
    if item is None:
        why = "; ".join(each.reason for each in inventory.skipped) or "it has ended, or has no Pod template"
        raise InvalidSetting(f"{kind} {namespace}/{name} makes no Pods: {why}")
    return Target(kind, name, item), tuple(skipped)


async def _pod(cluster: Cluster, namespace: str, raw: bytes) -> tuple[Target, tuple[Skip, ...]]:
    found = container_status.decode(raw)
    owners: list[str] = []
    skipped: list[Skip] = []
    template: Workload | None = None
    maker = first = controller_of(raw)
    while maker is not None:
        owners.append(f"{maker.kind} {maker.name}")
        if maker.kind not in _RESOURCES or not is_name(maker.name):
            template = None
            break
        try:
            body = await _read(cluster, maker.kind, namespace, maker.name)
            template = pod.decode(maker.kind, body)
        except (Forbidden, MalformedReview) as error:
            skipped.append(Skip(owners[-1], str(error)))
            break
        maker = controller_of(body)
    name = found.metadata.name or ""
    reference = first or Reference("v1", "Pod", namespace, name, "")
    annotations = dict(found.metadata.annotations or {})
    return Target("Pod", name, of_pod(reference, found), tuple(owners), template, annotations), tuple(skipped)


async def _read(cluster: Cluster, kind: str, namespace: str, name: str) -> bytes:
    version, resource = _RESOURCES[kind]
    path = f"{base(version)}/namespaces/{namespace}/{resource}/{name}"
    return await cluster.call("GET", path, f"{kind} {namespace}/{name}") or b""
