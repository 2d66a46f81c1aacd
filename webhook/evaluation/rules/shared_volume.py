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
from webhook.evaluation.subject import Subject, pod_uids
from webhook.text import quoted
from webhook.workload.podspec import Container

NAME: Final = "shared-volume"


def check(subject: Subject) -> Finding | None:
    """One finding for the later container of the two."""
    if subject.os != "linux" or not subject.uid or not subject.slot.container.volume_mounts:
        return None
    kept = {
        each.name
        for each in subject.workload.spec.volumes or ()
        if any(
            source is not None for source in (each.persistent_volume_claim, each.ephemeral, each.csi, each.empty_dir)
        )
    }
    mine = _written(subject.slot.container) & kept
    if not mine:
        return None
    for slot, uid in pod_uids(subject):
        if slot.container is subject.slot.container:
            return None
        shared = sorted(mine & _written(slot.container))
        if shared and uid and uid != subject.uid:
            return finding(
                subject,
                NAME,
                "two users write one volume",
                f"runs as uid {subject.uid} and writes {quoted(shared[0])}, as does {quoted(slot.container.name)} with uid {uid}",
                f"give both the same runAsUser, such as {subject.field('runAsUser')}: {uid}",
                severity="warning",
                field="runAsUser",
            )
    return None


def _written(container: Container) -> set[str]:
    return {each.name for each in container.volume_mounts or () if not each.read_only}
