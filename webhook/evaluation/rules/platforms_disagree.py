"""The image's USER has another uid on another platform.

Why: which image of an index runs is the node's choice. Where `USER app` is 999 on amd64 and 1000 on arm64, no one
number is right for the Pod.
Fails: two platforms on which the Pod may land, with different uids.
Passes: the same uid everywhere, or a Pod bound to one architecture by nodeSelector or required node affinity.
Fix: bind the Pod with nodeSelector `kubernetes.io/arch`, or set `securityContext.runAsUser` of the container.
Dockerfile: give the user the same uid on every platform (`useradd --uid 1001 app`) and end with `USER 1001`.
Source: opencontainers/image-spec image-index.md; containerd/containerd core/images/image.go
"""

from typing import Final

from webhook.evaluation.finding import Finding, finding, image_user
from webhook.evaluation.subject import Subject
from webhook.image.user import Identity

NAME: Final = "platforms-disagree"


def check(subject: Subject) -> Finding | None:
    """Not the same uid everywhere."""
    if subject.os != "linux" or subject.effective.run_as_user is not None:
        return None
    uids = {answer.identity.uid for answer in subject.identities if isinstance(answer.identity, Identity)}
    if len(uids) < 2:
        return None
    each = ", ".join(
        f"{answer.platform} uid {answer.identity.uid}"
        for answer in subject.identities
        if isinstance(answer.identity, Identity)
    )
    return finding(
        subject,
        NAME,
        "platforms disagree",
        f"{image_user(subject)} has not one identity: {each}",
        f"bind the Pod by nodeSelector kubernetes.io/arch, or set {subject.field('runAsUser')}, "
        "or give the user the same uid on every platform in the Dockerfile",
        field="runAsUser",
    )
