"""A non-root process may not be able to write its volume.

Why: a new persistent volume belongs to root. Without an `fsGroup` the kubelet leaves it so, and a process with another
uid gets "permission denied" at its first write. Of hostPath, NFS and some CSI drivers the kubelet never changes the
owner, whatever `fsGroup` says. A scan asks the cluster (CSIDriver, StorageClass).
Fails: a container that runs as non-root and mounts a persistent, ephemeral or CSI volume for writing, in a Pod without
`fsGroup`. Where an `fsGroup` has no effect that is a note, with what helps instead.
Passes: an `fsGroup` in the Pod, a read-only mount or volume, or a policy whose `fsGroup` is injected.
Fix: set `spec.securityContext.fsGroup` to a gid, such as the container's uid, with `fsGroupChangePolicy:
OnRootMismatch`.
Dockerfile: none.
Source: kubernetes pkg/volume/volume_linux.go (SetVolumeOwnership), pkg/volume/csi/csi_mounter.go (supportsFSGroup)
"""

from typing import Final

from webhook.evaluation.finding import Finding, finding, image_user
from webhook.evaluation.subject import Subject
from webhook.text import quoted
from webhook.workload.podspec import Volume

NAME: Final = "volume-permissions"

_NFS = "give the export's folder to the uid on the server, or map its clients to it (anonuid)"
_SHARE = "set the owner in the driver's mount options (uid, gid) or in its StorageClass"
_HOST = "give the folder to the uid on the nodes, or use a persistent volume"
# Drivers whose volumes are shared file systems: fsGroupPolicy None, or ReadWriteOnceWithFSType without an fsType.
_IGNORING = {
    "nfs.csi.k8s.io": _NFS,
    "smb.csi.k8s.io": _SHARE,
    "efs.csi.aws.com": _SHARE,
    "file.csi.azure.com": _SHARE,
    "rancher.io/local-path": _HOST,
}


def check(subject: Subject) -> Finding | None:
    """A writable mount of a volume that is root's by default."""
    mounts = subject.slot.container.volume_mounts
    if not mounts or not subject.pod.kept_volumes or subject.os != "linux" or not subject.uid:
        return None
    for mount in mounts:
        volume = subject.pod.kept_volumes.get(mount.name)
        if volume is None or mount.read_only:
            continue
        instead = _instead(volume, subject)
        if instead is None and subject.workload.context.fs_group is not None:
            continue
        pod = subject.workload.path
        owner = "a volume that is root's until an fsGroup says otherwise"
        return finding(
            subject,
            NAME,
            "volume may not be writable",
            f"{image_user(subject)} runs as uid {subject.uid} and mounts {quoted(mount.name)} "
            f"at {quoted(mount.mount_path)}, {'whose owner no fsGroup changes' if instead else owner}",
            instead
            or f"set {pod}.securityContext.fsGroup, such as {subject.uid}, with fsGroupChangePolicy: OnRootMismatch",
            severity="note" if instead else "warning",
            fixable=instead is None and subject.fs_group is not None,
        )
    return None


def _instead(volume: Volume, subject: Subject) -> str | None:
    """The remedy where an fsGroup has no effect: as the cluster says it of the driver, or else as it is known to be."""
    if volume.host_path is not None:
        return _HOST
    if volume.nfs is not None:
        return _NFS
    driver = subject.storage.driver(volume, subject.workload.metadata.namespace or "")
    changes = subject.storage.changes_owners(driver)
    if changes is None:
        return _IGNORING.get(driver)
    return None if changes else _IGNORING.get(driver, f"{_SHARE}: {quoted(driver)} has fsGroupPolicy None")
