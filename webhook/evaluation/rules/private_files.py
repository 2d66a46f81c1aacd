"""A non-root process cannot read the files of a Secret or ConfigMap that it mounts.

Why: the kubelet writes these files as root's. With a mode such as 0400 nobody else can read them, unless the Pod's
`fsGroup` gives them to a group of the process.
Fails: a container that runs as non-root, in a Pod without `fsGroup`, and mounts a Secret or ConfigMap with a
`defaultMode`, or a mode of an item, that others cannot read.
Passes: mode 0644, which is the default, or 0444; an `fsGroup`.
Fix: set `spec.securityContext.fsGroup`, such as the container's uid, or `defaultMode: 0444`.
Dockerfile: none.
Source: kubernetes pkg/volume/secret/secret.go, pkg/volume/volume_linux.go (SetVolumeOwnership)
"""

from typing import Final

from webhook.evaluation.finding import Finding, finding, image_user
from webhook.evaluation.subject import Subject
from webhook.text import quoted

NAME: Final = "private-files"

_OTHERS, _GROUP = 0o004, 0o040


def check(subject: Subject) -> Finding | None:
    """A mounted Secret or ConfigMap with a file that the uid cannot read."""
    context, mounts = subject.workload.context, subject.slot.container.volume_mounts
    if not mounts or not subject.pod.files or subject.os != "linux" or not subject.uid or context.fs_group is not None:
        return None
    groups = {subject.effective.run_as_group, *(context.supplemental_groups or ())}
    readable = _OTHERS | (_GROUP if 0 in groups else 0)
    for mount in mounts:
        files = subject.pod.files.get(mount.name)
        if files and not files.strictest & readable:
            pod = subject.workload.path
            return finding(
                subject,
                NAME,
                "files may not be readable",
                f"{image_user(subject)} runs as uid {subject.uid} and mounts {quoted(mount.name)} at "
                f"{quoted(mount.mount_path)}, whose files are root's with mode {files.strictest:04o}",
                f"set {pod}.securityContext.fsGroup, such as {subject.uid}, or the volume's defaultMode: 0444",
                severity="warning",
            )
    return None
