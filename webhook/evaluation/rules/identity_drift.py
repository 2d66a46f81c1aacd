"""With the uid in place of the name the process would have other groups.

Why: a runtime that is given a uid takes gid and supplementary groups from the first line of /etc/passwd with that uid.
Where that line is another user's, `runAsUser` alone changes the groups; `runAsGroup` repairs the primary one only.
Fails: two lines with one uid, the second named by USER, whose supplementary groups differ from the first one's.
Passes: a uid of one's own; a shared one whose groups are the same, or differ in the primary group alone.
Fix: set `securityContext.runAsUser` (and `runAsGroup`) of the container to what the workload truly needs.
Dockerfile: give the user a uid of its own (`useradd --uid 1001 app`) and end with `USER 1001`.
Source: containerd/containerd pkg/oci/spec_opts.go (WithUserID, WithAppendAdditionalGroups)
"""

from typing import Final

from webhook.evaluation.finding import Finding, finding, image_user
from webhook.evaluation.subject import Subject
from webhook.image.user import GroupMismatch

NAME: Final = "identity-drift"


def check(subject: Subject) -> Finding | None:
    """The name cannot be replaced by numbers, and it would have to be."""
    if subject.os != "linux" or not isinstance(subject.planned, GroupMismatch):
        return None
    if not (subject.injects or subject.effective.run_as_non_root):
        return None
    return finding(
        subject,
        NAME,
        "no uid keeps the identity",
        f"{image_user(subject)} cannot be given a uid without changing its groups: {subject.planned.detail}",
        f"set {subject.field('runAsUser')} and runAsGroup to what it needs, "
        "or give the user a uid of its own in the Dockerfile",
        field="runAsUser",
    )
