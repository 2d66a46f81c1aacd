"""The facts that the containers of one Pod share, worked out once: a Pod may have thousands, and rules ask of each about all."""

from collections import Counter
from functools import cached_property
from typing import Any

import msgspec

from webhook.workload.annotations import injections
from webhook.workload.podspec import FileModes, Volume
from webhook.workload.workload import Slot, Workload, effective


class Writer(msgspec.Struct, frozen=True, gc=False):
    """A container that writes a volume under a known uid above 0; `place` is its number in the Pod."""

    place: int
    name: str
    uid: int


class PodFacts:
    """The uids, volumes and earlier injections of a Pod.

    `planned` is each container's runAsUser after injection (None: unset), empty where none is.
    """

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        self.planned: tuple[int | None, ...] = ()

    @cached_property
    def volumes(self) -> dict[str, Volume]:
        """The Pod's volumes by name."""
        return {each.name: each for each in self._workload.spec.volumes or ()}

    @cached_property
    def kept_volumes(self) -> dict[str, Volume]:
        """Those that outlive the Pod's containers and can be written."""
        return {name: each for name, each in self.volumes.items() if _outlives(each)}

    @cached_property
    def files(self) -> dict[str, FileModes]:
        """The modes of the files in volumes of Secrets and ConfigMaps."""
        found = {name: each.secret or each.config_map for name, each in self.volumes.items()}
        return {name: files for name, files in found.items() if files}

    @cached_property
    def injections(self) -> dict[str, list[dict[str, Any]]]:
        """What earlier passes have injected, by container."""
        return injections(self._workload.metadata.annotations)

    def place(self, slot: Slot) -> int:
        """The number of a container in the order of `Workload.slots`."""
        spec = self._workload.spec
        init, regular = len(spec.init_containers or ()), len(spec.containers or ())
        return slot.index + {"initContainers": 0, "containers": init}.get(slot.list, init + regular)

    def uid(self, slot: Slot) -> int | None:
        """The runAsUser that a container says or is given; None where there is none."""
        if self.planned:
            return self.planned[self.place(slot)]
        return effective(slot.container, self._workload.context).run_as_user

    def only_uid_beside(self, slot: Slot, name: str) -> int | None:
        """The one uid above 0 that other containers of that name have, any name where it is empty; None: none, or several."""
        if self._workload.size == 1:
            return None
        found = self._uids.get(name)
        if found is None or len(found) > 2:
            return None
        own = self.uid(slot) if name in {"", slot.container.name} else None
        others = [uid for uid, number in found.items() if number > (uid == own)]
        return others[0] if len(others) == 1 else None

    @cached_property
    def uids(self) -> frozenset[int]:
        """The uids above 0 that containers say or are given."""
        return frozenset([uid for slot in self._workload.slots() if (uid := self.uid(slot))])

    def first_other_writer(self, volume: str, uid: int) -> Writer | None:
        """The first container that writes a volume under another uid."""
        return next((each for each in self._writers.get(volume, ()) if each.uid != uid), None)

    @cached_property
    def _uids(self) -> dict[str, Counter[int]]:
        """How many containers of a name have each uid above 0; under no name, of all."""
        found: dict[str, Counter[int]] = {}
        for slot in self._workload.slots():
            if uid := self.uid(slot):
                for name in ("", slot.container.name):
                    found.setdefault(name, Counter())[uid] += 1
        return found

    @cached_property
    def _writers(self) -> dict[str, list[Writer]]:
        """Of each volume its first writer, and the first that has another uid: whoever asks differs from one of them."""
        found: dict[str, list[Writer]] = {}
        for place, slot in enumerate(self._workload.slots()):
            if uid := self.uid(slot):
                for mount in slot.container.volume_mounts or ():
                    writers = found.setdefault(mount.name, [])
                    if not mount.read_only and len(writers) < 2 and all(each.uid != uid for each in writers):
                        writers.append(Writer(place, slot.container.name, uid))
        return found


def _outlives(volume: Volume) -> bool:
    """Whether a volume outlives the container and can be written."""
    sources = (volume.persistent_volume_claim, volume.csi, volume.nfs)
    if any(each is not None and each.read_only for each in sources):
        return False
    return volume.ephemeral is not None or volume.host_path is not None or any(each is not None for each in sources)
