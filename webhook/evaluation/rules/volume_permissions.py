"""A non-root process may not be able to write its volume.

Why: a new persistent volume belongs to root. Without an `fsGroup` the kubelet leaves it so, and a process with another
uid gets "permission denied" at its first write.
Fails: a container that runs as non-root and mounts a persistent, ephemeral or CSI volume for writing, in a Pod without
`fsGroup`.
Passes: an `fsGroup` in the Pod, a read-only mount, or a policy whose `fsGroup` is injected.
Fix: set `spec.securityContext.fsGroup` to a gid, such as the container's uid, with `fsGroupChangePolicy:
OnRootMismatch`.
Dockerfile: none.
Source: kubernetes pkg/volume/volume_linux.go (SetVolumeOwnership)
"""

from typing import Final

from webhook.evaluation.finding import Finding, finding, image_user
from webhook.evaluation.subject import Subject
from webhook.text import quoted

NAME: Final = "volume-permissions"


def check(subject: Subject) -> Finding | None:
    """A writable mount of a volume that is root's by default."""
    owned = {
        volume.name
        for volume in subject.workload.spec.volumes or ()
        if volume.persistent_volume_claim is not None or volume.ephemeral is not None or volume.csi is not None
    }
    if not owned or subject.os != "linux" or subject.workload.context.fs_group is not None or not subject.uid:
        return None
    for mount in subject.slot.container.volume_mounts or ():
        if mount.name in owned and not mount.read_only:
            pod = subject.workload.pointer.strip("/").replace("/", ".")
            return finding(
                subject,
                NAME,
                "volume may not be writable",
                f"{image_user(subject)} runs as uid {subject.uid} and mounts {quoted(mount.name)} "
                f"at {quoted(mount.mount_path)}, a volume that is root's until an fsGroup says otherwise",
                f"set {pod}.securityContext.fsGroup, such as {subject.uid}, with fsGroupChangePolicy: OnRootMismatch",
                severity="warning",
                fixable=subject.policy.fs_group is not None,
            )
    return None
