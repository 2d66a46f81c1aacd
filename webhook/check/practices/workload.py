"""The rows about a workload of Kubernetes, as parsed from its manifest.

Source: kubernetes/website content/en/docs/concepts/workloads and .../security/pod-security-standards.md.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from webhook.check.practices.row import Row, failed, not_applicable, passed
from webhook.errors import InvalidReference
from webhook.image import reference
from webhook.text import many, quoted

SCALED = "autoscaler"
"""The key under which the spec of the HorizontalPodAutoscaler is put that scales the workload, where there is one."""

_WRITABLE = (
    "persistentVolumeClaim",
    "ephemeral",
    "nfs",
    "csi",
    "awsElasticBlockStore",
    "gcePersistentDisk",
    "azureDisk",
)


def rows(workload: Mapping[str, Any]) -> tuple[Row, ...]:
    """Every row about one object: a Pod, or anything whose spec holds a Pod template. Of other objects there is none."""
    pod, path = _pod(workload)
    if pod is None:
        return ()
    return tuple(row(workload, pod, path) for row in _ROWS)


def replicas(workload: Mapping[str, Any], _pod: Mapping[str, Any], _path: str) -> Row:
    """More than one, replaced one after the other."""
    practice = "Replicas and a rolling update"
    if workload.get("kind") != "Deployment":
        return not_applicable(practice, "No Deployment.")
    spec = _map(workload, "spec")
    strategy = _map(spec, "strategy")
    if strategy.get("type") == "Recreate":
        return failed(practice, "Recreate: everything goes down first.", "spec.strategy.type")
    count = spec.get("replicas", _map(workload, SCALED).get("minReplicas", 1))
    if isinstance(count, int) and count < 2:
        return failed(
            practice, f"{many(count, 'replica')}. Every update and every drained node is an outage.", "spec.replicas"
        )
    unavailable = _map(strategy, "rollingUpdate").get("maxUnavailable")
    if unavailable == "100%" or (isinstance(unavailable, int) and isinstance(count, int) and unavailable >= count):
        return failed(
            practice, "maxUnavailable takes all of them at once.", "spec.strategy.rollingUpdate.maxUnavailable"
        )
    return passed(practice, "Rolling.", "spec.replicas")


def numeric_user(_workload: Mapping[str, Any], pod: Mapping[str, Any], path: str) -> Row:
    """A number and runAsNonRoot, for every container."""
    practice = "runAsNonRoot with runAsUser"
    for place, container in _containers(pod, path):
        uid, demanded = _effective(pod, container, "runAsUser"), _effective(pod, container, "runAsNonRoot")
        if uid == 0:
            return failed(practice, "runAsUser: 0 is root.", f"{place}.securityContext.runAsUser")
        if demanded is not True:
            return failed(
                practice, "runAsNonRoot is not set: nobody objects to root.", f"{place}.securityContext.runAsNonRoot"
            )
        if not isinstance(uid, int):
            return failed(
                practice,
                "No runAsUser: an image with a named USER will not start.",
                f"{place}.securityContext.runAsUser",
            )
    return passed(practice, "Both, everywhere.")


def fs_group(_workload: Mapping[str, Any], pod: Mapping[str, Any], path: str) -> Row:
    """A group for the volumes that somebody other than root writes."""
    practice = "fsGroup with writable volumes"
    writable = {volume.get("name") for volume in _list(pod, "volumes") if any(kind in volume for kind in _WRITABLE)}
    mounts = [
        mount
        for _, container in _containers(pod, path)
        for mount in _list(container, "volumeMounts")
        if mount.get("name") in writable and mount.get("readOnly") is not True
    ]
    if not mounts:
        return not_applicable(practice, "No persistent volume is written.")
    if _map(pod, "securityContext").get("fsGroup") is None:
        comment = f"{quoted(str(mounts[0].get('mountPath')), 60)} belongs to root. The first write is denied."
        return failed(practice, comment, f"{path}.securityContext.fsGroup")
    return passed(practice, "Set.", f"{path}.securityContext.fsGroup")


def probes(workload: Mapping[str, Any], pod: Mapping[str, Any], path: str) -> Row:
    """Readiness and liveness for what serves."""
    practice = "Readiness and liveness probes"
    if workload.get("kind") in ("Job", "CronJob"):
        return not_applicable(practice, "Nothing that serves.")
    for index, container in enumerate(_list(pod, "containers")):
        for probe in ("readinessProbe", "livenessProbe"):
            if not container.get(probe):
                return failed(practice, f"No {probe}.", f"{path}.containers[{index}].{probe}")
    return passed(practice, "Both.")


def read_only(_workload: Mapping[str, Any], pod: Mapping[str, Any], path: str) -> Row:
    """A root filesystem that nobody writes to."""
    practice = "Read-only root filesystem"
    for place, container in _containers(pod, path):
        if _map(container, "securityContext").get("readOnlyRootFilesystem") is not True:
            return failed(practice, "Writable.", f"{place}.securityContext.readOnlyRootFilesystem")
    return passed(practice, "Read-only.")


def exact_image(_workload: Mapping[str, Any], pod: Mapping[str, Any], path: str) -> Row:
    """No image by `latest` or by nothing."""
    practice = "Exact image tag or digest"
    for place, container in _containers(pod, path):
        image = str(container.get("image") or "")
        try:
            parsed = reference.parse(image)
        except InvalidReference:
            return failed(practice, "No image reference.", f"{place}.image")
        if parsed.digest is None and parsed.tag == reference.DEFAULT_TAG:
            return failed(practice, f"{quoted(image, 60)} is whatever was pushed last.", f"{place}.image")
    return passed(practice, "Named.")


_ROWS: tuple[Callable[[Mapping[str, Any], Mapping[str, Any], str], Row], ...] = (
    replicas,
    numeric_user,
    fs_group,
    probes,
    read_only,
    exact_image,
)


def _pod(workload: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str]:
    """The Pod's spec and its path."""
    spec, path = _map(workload, "spec"), "spec"
    if workload.get("kind") == "CronJob":
        spec, path = _map(_map(spec, "jobTemplate"), "spec"), "spec.jobTemplate.spec"
    if "template" in spec:
        spec, path = _map(_map(spec, "template"), "spec"), f"{path}.template.spec"
    return (spec, path) if _list(spec, "containers") else (None, "")


def _containers(pod: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name in ("initContainers", "containers"):
        for index, container in enumerate(_list(pod, name)):
            yield f"{path}.{name}[{index}]", container


def _effective(pod: Mapping[str, Any], container: Mapping[str, Any], field: str) -> Any:
    own = _map(container, "securityContext").get(field)
    return _map(pod, "securityContext").get(field) if own is None else own


def _map(holder: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = holder.get(key)
    return value if isinstance(value, Mapping) else {}


def _list(holder: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = holder.get(key)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
