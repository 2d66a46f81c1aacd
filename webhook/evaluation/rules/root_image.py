"""The image's USER is root: absent, 0, or a name whose uid is 0.

Why: without a `runAsUser` the container runs as the image says, and an image that says nothing says root. With
`runAsNonRoot: true` the kubelet refuses it only after scheduling and pulling.
Fails: no USER, `USER 0`, `USER root`, `USER app` where the image's /etc/passwd gives app the uid 0 or an unreadable
one.
Passes: a USER that is, or stands for, a uid above 0; any image where the spec sets `runAsUser`.
Fix: set `securityContext.runAsUser` of the container to the uid under which the image can run.
Dockerfile: create a user with a fixed uid and end the last stage with its number, such as `USER 1001`.
Source: kubernetes pkg/kubelet/kuberuntime/helpers.go (getImageUser)
"""

from typing import Final

from webhook.evaluation import advice
from webhook.evaluation.finding import Finding, finding, image_user
from webhook.evaluation.subject import Subject
from webhook.image.user import Identity
from webhook.text import quoted

NAME: Final = "root-image"


def check(subject: Subject) -> Finding | None:
    """Some platform's image runs as uid 0, and policy does not let it."""
    if subject.os != "linux" or subject.effective.run_as_user is not None:
        return None
    roots = [
        answer for answer in subject.identities if isinstance(answer.identity, Identity) and answer.identity.uid == 0
    ]
    if not roots:
        return None
    demanded = subject.effective.run_as_non_root is True
    if subject.policy.root_images == "Allow" and not demanded:
        return None
    root = roots[0]
    why = f": {quoted(root.user.name)} is uid 0 in the image's /etc/passwd" if root.user.name else ""
    return finding(
        subject,
        NAME,
        "image runs as root",
        f"{image_user(subject, root)} would run as root{why}"
        + (", and runAsNonRoot is true, so that the kubelet would refuse it" if demanded else ""),
        advice.other_os(subject) or advice.non_root(subject, of_image=True),
        field="runAsUser",
        fixable=subject.assigned,
    )
