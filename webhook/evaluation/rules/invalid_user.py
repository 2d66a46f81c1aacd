"""The image's USER is a number that the runtimes do not agree on.

Why: a signed or huge number, in USER or in the uid field of /etc/passwd, has run as root before (CVE-2024-40635,
CVE-2026-46680): it is cut to 32 bits, or looked up as a name. It is never guessed here. A negative gid becomes one with
which no process starts, and whose Pod can never report a status again.
Fails: `USER -1`, `USER 4294967296`, `USER app` with `app:x:4294967296:…` or `app:x:1000:-1:…` in /etc/passwd.
Passes: 1 to 2147483647.
Fix: set `securityContext.runAsUser` of the container to a uid from 1 to 2147483647.
Dockerfile: end the last stage with a number from 1 to 2147483647, such as `USER 1001`.
Source: containerd/containerd pkg/oci/spec_opts.go (WithUser); kubernetes
pkg/kubelet/kuberuntime/security_context_others.go, pkg/apis/core/validation/validation.go
(validateLinuxContainerUser)
"""

from typing import Final

from webhook.evaluation.finding import Finding, finding, image_user
from webhook.evaluation.subject import Subject
from webhook.image.user import Identity, ResolutionError, gid_out_of_range

NAME: Final = "invalid-user"


def check(subject: Subject) -> Finding | None:
    """Some platform's USER, or a group that it gets from the image, is out of range."""
    if subject.os != "linux" or subject.effective.run_as_user is not None:
        return None
    strict = subject.workload.context.supplemental_groups_policy == "Strict"
    for answer in subject.identities:
        if isinstance(answer.identity, ResolutionError) and answer.identity.kind == "invalid":
            return finding(
                subject,
                NAME,
                "image's user is out of range",
                f"{image_user(subject, answer)} is refused: {answer.identity.detail}; "
                "kubelets before 1.34 and unpatched runtimes could run it as root",
                f"set {subject.field('runAsUser')} to a uid from 1 to 2147483647, "
                "or end the Dockerfile with: USER 1001",
                field="runAsUser",
            )
        if not isinstance(answer.identity, Identity):
            continue
        gid = gid_out_of_range(answer.identity, subject.effective.run_as_group, strict)
        if gid is not None:
            return finding(
                subject,
                NAME,
                "image's user is out of range",
                f"{image_user(subject)} cannot start: the image's /etc/passwd or /etc/group gives it the gid {gid}, "
                "which is beyond 2147483647",
                "correct the gid in the last stage of the Dockerfile, "
                f"or set {subject.field('runAsUser')} to a uid from 1 to 2147483647 that is not in these files",
                field="runAsUser",
            )
    return None
