"""The image's USER name is somebody else on another platform.

Why: which image of an index runs is the node's choice. Where `USER app` is 999 on amd64 and 1000 on arm64, no one
number is right for the Pod, and a name is what the kubelet does not verify.
Fails: two platforms on which the Pod may land, with different uids, of which one is a name's; or with one uid that
needs other groups on one of them.
Passes: the same uid and groups everywhere; different numbers, each of which the kubelet verifies by `runAsNonRoot: true`;
a Pod bound to one architecture by nodeSelector or required node affinity.
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
    """Not the same identity everywhere, and a name somewhere."""
    if subject.os != "linux" or subject.effective.run_as_user is not None or len(subject.identities) < 2:
        return None
    known = [
        (answer.platform, answer.identity) for answer in subject.identities if isinstance(answer.identity, Identity)
    ]
    if len(subject.uids_of_platforms) > 1:
        if subject.numeric:
            return None
        each = ", ".join(f"{platform} uid {identity.uid}" for platform, identity in known)
    elif len(known) == len(subject.identities) and subject.planned is None and known[0][1].uid:
        if not (subject.injects or subject.effective.run_as_non_root):
            return None  # by its name it runs with the right groups everywhere
        each = ", ".join(
            f"{platform} uid {identity.uid} with gid {identity.gid}"
            + ("" if identity.groups is None else f" and groups {list(identity.groups)}")
            for platform, identity in known
        )
    else:
        return None
    return finding(
        subject,
        NAME,
        "platforms disagree",
        f"{image_user(subject)} has not one identity: {each}",
        f"bind the Pod by nodeSelector kubernetes.io/arch, or set {subject.field('runAsUser')}, "
        "or give the user the same uid on every platform in the Dockerfile",
        field="runAsUser",
    )
