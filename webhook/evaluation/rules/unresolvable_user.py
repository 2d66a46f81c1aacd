"""The image's USER is a name that the image's own /etc/passwd does not have.

Why: a name that the image's own /etc/passwd does not have cannot be run: the runtime fails to create the container
(CreateContainerError), or with `runAsNonRoot: true` the kubelet refuses it before. No other source of names is
consulted.
Fails: `USER app` with no such line, with no /etc/passwd at all, or with a line of more than 64 KiB in the file.
Passes: a name with a line of its own, or a number.
Fix: set `securityContext.runAsUser` of the container to a uid above 0 under which the image can run.
Dockerfile: create the user (`RUN useradd --uid 1001 app`) before `USER 1001`, in the last stage.
Source: containerd/containerd pkg/oci/spec_opts.go (WithUsername); moby/sys user/user.go
"""

from typing import Final

from webhook.evaluation import advice
from webhook.evaluation.finding import Finding, finding, image_user
from webhook.evaluation.subject import Subject
from webhook.image.user import ResolutionError

NAME: Final = "unresolvable-user"


def check(subject: Subject) -> Finding | None:
    """Some platform's USER resolves to nobody."""
    if subject.os != "linux" or subject.effective.run_as_user is not None:
        return None
    for answer in subject.identities:
        if isinstance(answer.identity, ResolutionError) and answer.identity.kind == "unresolvable":
            return finding(
                subject,
                NAME,
                "image's user does not exist",
                f"{image_user(subject, answer)} cannot start: {answer.identity.detail}",
                advice.other_os(subject)
                or f"set {subject.field('runAsUser')} to a uid above 0, "
                "or create the user in the last stage of the Dockerfile and end it with its number, such as: USER 1001",
                field="runAsUser",
            )
    return None
