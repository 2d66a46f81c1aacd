"""A small cluster made of objects, as the API server would list them."""

import json
from typing import Any

import msgspec

from tests.support.pods import Object, minimal, tweak, within
from webhook.scan.inventory import Inventory
from webhook.scan.inventory_item import InventoryItem

API = {
    "Deployment": "apps/v1",
    "ReplicaSet": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
    "ReplicationController": "v1",
}
DIGEST = "sha256:" + "ab" * 32


def raw(obj: Object) -> msgspec.Raw:
    """An object as an item of a list."""
    return msgspec.Raw(json.dumps(obj).encode())


def named(obj: Object, name: str, owner: tuple[str, str] | None = None) -> Object:
    """The same with a name, a uid made of it, and a controller given by kind and name."""
    changed = tweak(obj, {"metadata.name": name, "metadata.uid": f"uid-of-{name}"})
    if owner is not None:
        kind, of = owner
        api = API.get(kind, "example.com/v1")
        reference = {"apiVersion": api, "kind": kind, "name": of, "uid": f"uid-of-{of}", "controller": True}
        changed["metadata"]["ownerReferences"] = [reference]
    return changed


def running(
    obj: Object, uid: int, gid: int = 0, groups: tuple[int, ...] = (), *, digest: str = DIGEST, phase: str = "Running"
) -> Object:
    """A Pod whose kubelet reports each regular container as this user."""
    statuses: list[Any] = [
        {
            "name": each["name"],
            "imageID": f"registry.example/app@{digest}",
            "user": {"linux": {"uid": uid, "gid": gid, "supplementalGroups": list(groups)}},
        }
        for each in obj["spec"]["containers"]
    ]
    return obj | {"status": {"phase": phase, "containerStatuses": statuses}}


def take(*objects: Object) -> tuple[dict[tuple[str, str], InventoryItem], Inventory]:
    """The workloads of some objects by kind and name, taken in the order in which a scan lists them."""
    inventory = Inventory()
    found: list[InventoryItem | None] = []
    for order in ({"Pod"}, {"ReplicaSet", "Job"}, API.keys() - {"ReplicaSet", "Job"}):
        for obj in (each for each in objects if each["kind"] in order):
            kind, item = obj["kind"], raw(obj)
            if kind == "Pod":
                inventory.pod(item)
            else:
                into = inventory.between if kind in {"ReplicaSet", "Job"} else inventory.template
                found.append(into(API[kind], kind, item))
    found += inventory.rest()
    return {(each.reference.kind, each.reference.name): each for each in found if each is not None}, inventory


def of(kind: str, **paths: Any) -> Object:
    """The minimal Pod as a workload of some kind; `paths` tweak its container's security context."""
    pod = tweak(minimal(), {f"spec.containers.0.securityContext.{field}": value for field, value in paths.items()})
    return pod if kind == "Pod" else within(kind, pod)
