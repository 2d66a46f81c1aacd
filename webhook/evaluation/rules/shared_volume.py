"""Two containers with different uids write to one volume.

Why: what one process writes belongs to its uid, mode 0644 by the usual umask. A process with another uid can read it
and not change it: the second container fails where the first one worked.
Fails: two containers of a Pod whose uids are known, above 0 and different, and that both mount a persistent, ephemeral
or CSI volume or an emptyDir for writing: everybody may make files in an emptyDir, and only change those of his own.
Passes: one uid, a read-only mount for one of them, or a uid that is not known.
Fix: give both containers the same `securityContext.runAsUser`, or mount it `readOnly` where it is not written.
Dockerfile: none.
Source: kubernetes pkg/volume/volume_linux.go (SetVolumeOwnership); umask(2)
"""

from typing import Final

from webhook.evaluation.finding import Finding, finding
from webhook.evaluation.pod_facts import Writer
from webhook.evaluation.subject import Subject
from webhook.text import quoted
from webhook.workload.podspec import Volume

NAME: Final = "shared-volume"


def check(subject: Subject) -> Finding | None:
    """One finding for the later container of the two."""
    mounts = subject.slot.container.volume_mounts
    if not mounts or subject.os != "linux":
        return None
    uid = subject.uid
    if not uid or subject.pod.uids <= {uid}:
        return None
    place = subject.pod.place(subject.slot)
    shared: list[tuple[int, str, Writer]] = []
    for mount in mounts:
        if not mount.read_only and _shareable(subject.pod.volumes.get(mount.name)):
            writer = subject.pod.first_other_writer(mount.name, uid)
            if writer is not None and writer.place < place:
                shared.append((writer.place, mount.name, writer))
    if not shared:
        return None
    _, name, writer = min(shared, key=lambda each: each[:2])
    return finding(
        subject,
        NAME,
        "two users write one volume",
        f"runs as uid {uid} and writes {quoted(name)}, as does {quoted(writer.name)} with uid {writer.uid}",
        f"give both the same runAsUser, such as {subject.field('runAsUser')}: {writer.uid}",
        severity="warning",
        field="runAsUser",
    )


def _shareable(volume: Volume | None) -> bool:
    return volume is not None and any(
        source is not None
        for source in (volume.persistent_volume_claim, volume.ephemeral, volume.csi, volume.empty_dir)
    )
