"""The rows about a workload of Kubernetes, as parsed from its manifest.

Source: kubernetes/website content/en/docs/concepts/workloads and .../security/pod-security-standards.md.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from webhook.check.manifest.objects import Object
from webhook.check.practices.row import Row, failed, not_applicable, passed
from webhook.errors import InvalidReference
from webhook.image import reference
from webhook.text import many, quoted
from webhook.workload import json_pointer
from webhook.workload.workload import Slot, Workload, effective

_DISKS = (
    "awsElasticBlockStore",
    "gcePersistentDisk",
    "azureDisk",
)  # volumes that are written, beside those of `PodSpec`


class Manifest(msgspec.Struct, frozen=True):
    """A workload and the object that it is in: `data` has the fields that who it runs as does not depend on.

    `autoscaler` is the spec of the HorizontalPodAutoscaler that scales it, empty where there is none.
    """

    found: Object
    workload: Workload
    data: Mapping[str, Any]
    autoscaler: Mapping[str, Any] = {}

    @property
    def pod(self) -> Mapping[str, Any]:
        """The Pod spec as it is written."""
        return _map(json_pointer.value(self.data, self.workload.pointer))

    def containers(self) -> Iterator[tuple[Slot, str, Mapping[str, Any]]]:
        """Every container, its path, and it as it is written."""
        for slot in self.workload.slots():
            pointer = self.found.place(f"{self.workload.pointer}/{slot.list}/{slot.index}")
            yield slot, json_pointer.field_path(pointer), _map(json_pointer.value(self.data, pointer))


def rows(manifest: Manifest) -> tuple[Row, ...]:
    """Every row about one workload."""
    return tuple(row(manifest) for row in _ROWS)


def replicas(manifest: Manifest) -> Row:
    """More than one, replaced one after the other."""
    practice = "Replicas and a rolling update"
    if manifest.workload.kind != "Deployment":
        return not_applicable(practice, "No Deployment.")
    spec = _map(manifest.data.get("spec"))
    strategy = _map(spec.get("strategy"))
    if strategy.get("type") == "Recreate":
        return failed(practice, "Recreate: everything goes down first.", "spec.strategy.type")
    count = spec.get("replicas", manifest.autoscaler.get("minReplicas", 1))
    if isinstance(count, int) and count < 2:
        return failed(
            practice, f"{many(count, 'replica')}. Every update and every drained node is an outage.", "spec.replicas"
        )
    unavailable = _map(strategy.get("rollingUpdate")).get("maxUnavailable")
    if unavailable == "100%" or (isinstance(unavailable, int) and isinstance(count, int) and unavailable >= count):
        return failed(
            practice, "maxUnavailable takes all of them at once.", "spec.strategy.rollingUpdate.maxUnavailable"
        )
    return passed(practice, "Rolling.", "spec.replicas")


def numeric_user(manifest: Manifest) -> Row:
    """A number and runAsNonRoot, for every container."""
    practice = "runAsNonRoot with runAsUser"
    for slot, place, _ in manifest.containers():
        context = effective(slot.container, manifest.workload.context)
        if context.run_as_user == 0:
            return failed(practice, "runAsUser: 0 is root.", f"{place}.securityContext.runAsUser")
        if not context.run_as_non_root:
            return failed(
                practice, "runAsNonRoot is not set: nothing refuses root.", f"{place}.securityContext.runAsNonRoot"
            )
        if context.run_as_user is None:
            return failed(
                practice,
                "No runAsUser: an image with a named USER will not start.",
                f"{place}.securityContext.runAsUser",
            )
    return passed(practice, "Both, everywhere.")


def fs_group(manifest: Manifest) -> Row:
    """A group for the volumes that somebody other than root writes."""
    practice = "fsGroup with writable volumes"
    writable = set(_disks(manifest))
    mounts = [
        mount
        for slot, _, _ in manifest.containers()
        for mount in slot.container.volume_mounts or ()
        if mount.name in writable and mount.read_only is not True
    ]
    if not mounts:
        return not_applicable(practice, "No persistent volume is written.")
    place = f"{manifest.workload.path}.securityContext.fsGroup"
    if manifest.workload.context.fs_group is None:
        return failed(
            practice, f"{quoted(mounts[0].mount_path, 60)} belongs to root. The first write is denied.", place
        )
    return passed(practice, "Set.", place)


def _disks(manifest: Manifest) -> Iterator[str]:
    """The volumes that are written and stay."""
    for each in manifest.workload.spec.volumes or ():
        if any(kind is not None for kind in (each.persistent_volume_claim, each.ephemeral, each.nfs, each.csi)):
            yield each.name
    for volume in manifest.pod.get("volumes") or ():
        if any(kind in volume for kind in _DISKS):
            yield volume.get("name", "")


def probes(manifest: Manifest) -> Row:
    """Readiness and liveness for what serves."""
    practice = "Readiness and liveness probes"
    if manifest.workload.kind in ("Job", "CronJob"):
        return not_applicable(practice, "Nothing that serves.")
    for slot, place, container in manifest.containers():
        for probe in ("readinessProbe", "livenessProbe"):
            if slot.kind == "regular" and not container.get(probe):
                return failed(practice, f"No {probe}.", f"{place}.{probe}")
    return passed(practice, "Both.")


def read_only(manifest: Manifest) -> Row:
    """A root filesystem that nobody writes to."""
    practice = "Read-only root filesystem"
    for _, place, container in manifest.containers():
        if _map(container.get("securityContext")).get("readOnlyRootFilesystem") is not True:
            return failed(practice, "Writable.", f"{place}.securityContext.readOnlyRootFilesystem")
    return passed(practice, "Read-only.")


def exact_image(manifest: Manifest) -> Row:
    """No image by `latest` or by nothing."""
    practice = "Exact image tag or digest"
    for slot, place, _ in manifest.containers():
        image = slot.container.image or ""
        try:
            parsed = reference.parse(image)
        except InvalidReference:
            return failed(practice, "No image reference.", f"{place}.image")
        if parsed.digest is None and parsed.tag == reference.DEFAULT_TAG:
            return failed(practice, f"{quoted(image, 60)} is whatever was pushed last.", f"{place}.image")
    return passed(practice, "Named.")


_ROWS: tuple[Callable[[Manifest], Row], ...] = (
    replicas,
    numeric_user,
    fs_group,
    probes,
    read_only,
    exact_image,
)


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
