"""A user namespace does not map the uid.

Why: with `hostUsers: false` the kubelet maps the container ids 0 to 65535; a process with a larger one fails at start
("cannot setuid to unmapped uid").
Fails: `hostUsers: false` and a uid above 65535, from the spec or the image.
Passes: a uid up to 65535, or `hostUsers` unset or true.
Fix: set `securityContext.runAsUser` of the container to a uid from 1 to 65535, or remove `hostUsers: false`.
Dockerfile: give the user a uid up to 65535 and end with its number.
Source: kubernetes pkg/kubelet/userns/userns_manager.go; opencontainers/runc libcontainer/init_linux.go
"""

from typing import Final

from webhook.evaluation.finding import Finding, finding, image_user
from webhook.evaluation.subject import Subject

NAME: Final = "unmapped-uid"
MAPPED = 65536


def check(subject: Subject) -> Finding | None:
    """A uid beyond what the user namespace maps."""
    if subject.workload.spec.host_users is not False or subject.os != "linux":
        return None
    uid = subject.uid
    if uid is None or uid < MAPPED:
        return None
    return finding(
        subject,
        NAME,
        "uid is not mapped",
        f"{image_user(subject)} cannot start: it runs as uid {uid}, and hostUsers: false maps only 0 to {MAPPED - 1}",
        f"set {subject.field('runAsUser')} to a uid from 1 to {MAPPED - 1}, or remove hostUsers: false",
        field="runAsUser",
    )
