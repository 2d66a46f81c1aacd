"""The image's USER is a name, and the Pod demands runAsNonRoot.

Why: the kubelet does not look a name up. It refuses the container after scheduling and pulling: "container has
runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root".
Fails: `USER app` in the image, an effective `runAsNonRoot: true`, and no `runAsUser`.
Passes: the same with the uid in `runAsUser` (which injection writes), or a numeric USER in the image.
Fix: set `securityContext.runAsUser` of the container to the uid that the name has in the image's /etc/passwd.
Dockerfile: end the last stage with the number instead of the name, such as `USER 1001`, or `USER 1001:1002` where the
name stood before a group.
Source: kubernetes pkg/kubelet/kuberuntime/security_context_others.go
"""

from typing import Final

from webhook.evaluation import advice
from webhook.evaluation.finding import Finding, finding, image_user
from webhook.evaluation.subject import Subject
from webhook.image.user import Identity, Injection
from webhook.text import quoted

NAME: Final = "named-user"


def check(subject: Subject) -> Finding | None:
    """A resolvable, non-root name that the kubelet would not verify."""
    if subject.os != "linux" or subject.effective.run_as_user is not None or not subject.effective.run_as_non_root:
        return None
    if subject.unknown is not None:
        return None  # unknown-image reports it; what is not yet known on one platform may still be fixed on all
    if len(subject.uids_of_platforms) > 1:
        return None  # platforms-disagree says so; no one number is right
    for answer in subject.identities:
        if (
            answer.user.uid is None
            and answer.user.name
            and isinstance(answer.identity, Identity)
            and answer.identity.uid
        ):
            uid = answer.identity.uid
            planned = subject.planned if isinstance(subject.planned, Injection) else Injection(uid)
            return finding(
                subject,
                NAME,
                "image has a non-numeric user",
                f"{image_user(subject, answer)} has runAsNonRoot, and the kubelet cannot verify the user "
                f"{quoted(answer.user.name)}, which is uid {uid} in the image's /etc/passwd",
                f"{advice.set_uid(subject, uid, planned.gid)}, or end the Dockerfile with: USER {planned.replacing(answer.user)}",
                field="runAsUser",
                fixable=isinstance(subject.planned, Injection),
            )
    if subject.unverified and subject.injects and isinstance(subject.planned, Injection):
        uid = subject.planned.uid
        return finding(
            subject,
            NAME,
            "image may have a non-numeric user",
            f"{image_user(subject)} has runAsNonRoot, and of the image's USER no more is known than that it is uid {uid}: "
            "the kubelet would refuse a name",
            advice.set_uid(subject, uid),
            field="runAsUser",
            fixable=True,
        )
    return None
