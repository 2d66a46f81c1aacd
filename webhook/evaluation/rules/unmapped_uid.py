"""A user namespace may not map the uid.

Why: with `hostUsers: false` the kubelet maps the container ids 0 to 65535, unless its configuration says more
(`userNamespaces.idsPerPod`), which no node reports. A process with a uid beyond fails at start ("cannot setuid to
unmapped uid"), so this is a warning and refuses nothing.
Fails: `hostUsers: false` and a uid above 65535, from the spec or the image.
Passes: a uid up to 65535, or `hostUsers` unset or true.
Fix: set `securityContext.runAsUser` of the container to a uid from 1 to 65535, remove `hostUsers: false`, or raise
`userNamespaces.idsPerPod` in the configuration of the kubelets.
Dockerfile: give the user a uid up to 65535 and end with its number.
Source: kubernetes pkg/kubelet/userns/userns_manager.go; opencontainers/runc libcontainer/init_linux.go
"""

from typing import Final

from webhook.evaluation.finding import Finding, finding, image_user
from webhook.evaluation.subject import Subject

NAME: Final = "unmapped-uid"
MAPPED = 65536  # the kubelet's default, and the least that it accepts


def check(subject: Subject) -> Finding | None:
    """A uid beyond what the user namespace maps by default."""
    if subject.workload.spec.host_users is not False or subject.os != "linux":
        return None
    uid = subject.uid
    if uid is None or uid < MAPPED:
        return None
    return finding(
        subject,
        NAME,
        "uid may not be mapped",
        f"{image_user(subject)} runs as uid {uid}: with hostUsers: false kubelets map 0 to {MAPPED - 1} and it cannot start, "
        "unless userNamespaces.idsPerPod of their configuration is larger",
        f"set {subject.field('runAsUser')} to a uid from 1 to {MAPPED - 1}, or remove hostUsers: false",
        severity="warning",
        field="runAsUser",
    )
