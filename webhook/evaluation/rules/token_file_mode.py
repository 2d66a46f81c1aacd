"""Injection gives every container the same uid, which closes the token files to all others.

Why: when all containers of a Pod have one effective `runAsUser`, the kubelet writes projected service account tokens
with mode 0600 for that uid instead of 0644. A process that changes its user later, or a debug container with another
uid, cannot read them any more.
Fails: a Pod with projected volumes in which injection makes all uids set and equal, where they were not before.
Passes: different uids, a Pod that set them itself, or one without projected volumes.
Fix: set `runAsUser` in the Pod yourself, once you know that nothing in it changes its user.
Dockerfile: none.
Source: kubernetes pkg/volume/util/util.go (FsUserFrom), pkg/volume/projected/projected.go
"""

from typing import Final

from webhook.evaluation.finding import Finding, finding
from webhook.evaluation.subject import Subject

NAME: Final = "token-file-mode"


def check(subject: Subject) -> Finding | None:
    """One finding a Pod, for the container that the Pod-level pass has chosen."""
    uids = subject.pod.planned
    if NAME not in subject.pod_rules or not subject.injects or not uids or subject.os != "linux":
        return None
    if None in uids or len(set(uids)) != 1:
        return None
    if not any(volume.projected is not None for volume in subject.workload.spec.volumes or ()):
        return None
    return finding(
        subject,
        NAME,
        "token files become private",
        f"and all others get uid {uids[0]}, so that projected tokens become readable to it alone (mode 0600)",
        f"nothing to do unless a process changes its user; to decide yourself, set {subject.field('runAsUser')}",
        severity="note",
        field="runAsUser",
    )
