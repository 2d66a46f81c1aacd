"""A workload of an inventory: what is to be evaluated of it, and what its Pods run as."""

from collections.abc import Mapping

import msgspec

from webhook.scan.document import Waiting
from webhook.workload import container_status
from webhook.workload.container_status import Pod, RunningContainer
from webhook.workload.workload import Slot, Workload

MESSAGE_LIMIT = 500  # characters of a kubelet's message that are kept

Key = tuple[str, str, str, str]
"""API group, kind, namespace, name."""


class Reference(msgspec.Struct, frozen=True):
    """An object of the cluster."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str

    @property
    def key(self) -> Key:
        """The key of the object, the same for every version of its API."""
        group = self.api_version.rpartition("/")[0]
        return (group, self.kind, self.namespace, self.name)


class ObservedContainer(msgspec.Struct):
    """The status of one container in `pods` Pods, with one of these Pods."""

    pod: Pod
    running: RunningContainer
    pods: int = 0


class PodVariant(msgspec.Struct, frozen=True):
    """A Pod, or the template of one, and which of its containers are to be evaluated (None: all).

    `revision` is what the labels of a Pod say of the revision of its controller.
    """

    workload: Workload
    slots: tuple[Slot, ...] | None = None
    revision: tuple[tuple[str, str], ...] = ()

    def beside(self, template: Workload) -> "PodVariant | None":
        """The same with those containers only that a template does not have; None where it has them all."""
        own = {(slot.list, slot.container.name) for slot in template.slots()}
        slots = self.workload.slots() if self.slots is None else self.slots
        added = tuple(slot for slot in slots if (slot.list, slot.container.name) not in own)
        return msgspec.structs.replace(self, slots=added) if added else None


class InventoryItem(msgspec.Struct, frozen=True):
    """A workload: what is to be evaluated of it, how many Pods of it there are, who they run as, and why some do not start.

    `waiting` is by the list and the name of a container.
    """

    reference: Reference
    variants: tuple[PodVariant, ...]
    pods: int = 0
    observed: tuple[ObservedContainer, ...] = ()
    waiting: Mapping[tuple[str, str], Waiting] = {}


def of_pod(reference: Reference, found: Pod) -> InventoryItem:
    """One Pod by itself, as the workload `reference`; whatever it is, and whether or not it has finished."""
    observed = tuple(ObservedContainer(found, each, 1) for each in container_status.running_containers(found))
    waiting = {
        (slot.list, slot.container.name): Waiting(why.reason, why.message[:MESSAGE_LIMIT], 1)
        for slot, why in container_status.waiting(found)
    }
    return InventoryItem(reference, (PodVariant(found.workload),), 1, observed, waiting)
