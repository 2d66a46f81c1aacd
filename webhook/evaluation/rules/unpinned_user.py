"""Nothing in the Pod keeps the container from running as root.

Why: an image that runs as non-root today may be another one when the kubelet pulls it: a moved tag, another platform, a
registry that tells the webhook one thing and the node another. In mode Enforce every container therefore has a
`runAsUser` above 0, or `runAsNonRoot: true`, which the kubelet checks at every start.
Fails: in mode Enforce, a container without either, where injection does not write one: with `inject: Never`, on an
update of a Pod, or with `runAsNonRoot: false` beside an image whose uid is not known.
Passes: either of them, its own or the Pod's, injected or not; a container that an exception, a preset or the policy's
`rootImages: Allow` exempts. On Windows `runAsNonRoot: true`, or a `runAsUserName` other than ContainerAdministrator.
Fix: set `securityContext.runAsNonRoot: true` of the container, and `runAsUser` where the image's USER is a name.
Dockerfile: none; the Pod says it.
Source: kubernetes pkg/kubelet/kuberuntime/security_context_others.go
"""

from typing import Final

from webhook.evaluation import kubelet
from webhook.evaluation.finding import Finding, finding, image_user
from webhook.evaluation.subject import Subject
from webhook.image.user import GroupMismatch, ResolutionError

NAME: Final = "unpinned-user"


def check(subject: Subject) -> Finding | None:
    """Mode Enforce, and neither the Pod nor injection keeps the kubelet from starting root."""
    if not subject.enforced or subject.pinned or subject.permits_root or _is_root(subject) or subject.pins:
        return None
    if not subject.slot.container.image:
        return None  # a template's, which somebody fills in before there is a Pod
    if _is_refused(subject) - subject.exempt_rules:
        return None
    unknown = subject.unknown
    if unknown is None:
        detail = "may run as root: no field of the Pod keeps it from that if its image changes"
    elif subject.effective.run_as_non_root is False:
        detail = f"may run as root: it says runAsNonRoot: false, and its image could not be read ({unknown.cause})"
    elif subject.policy.on_unknown.action(unknown.cause) != "Verify":
        return None  # refused by its cause, or exempted by it
    else:
        detail = f"may run as root: its image could not be read ({unknown.cause}), and no field of the Pod keeps it from that"
    return finding(
        subject,
        NAME,
        "root is not ruled out",
        f"{image_user(subject)} {detail}",
        f"set {fields_to_write(subject)}",
        field="runAsNonRoot",
        cause="pending" if subject.injects and unknown is not None and unknown.cause == "pending" else "",
    )


def missed(subject: Subject) -> Finding:
    """The message about a container that injection would have pinned, had /mutate been called."""
    return finding(
        subject,
        NAME,
        "the Pod was not patched",
        f"{image_user(subject)} has neither runAsUser nor runAsNonRoot: the API server did not reach the mutating webhook, "
        "or one that comes after it added the container or took away what it wrote",
        f"try again, or set {fields_to_write(subject)}",
        field="runAsNonRoot",
    )


def fields_to_write(subject: Subject) -> str:
    """The lines that pin the container, as its author writes them."""
    non_root = f"{subject.field('runAsNonRoot')}: true"
    if subject.os == "windows":
        return non_root
    uids = subject.uids_of_platforms
    uid = str(*uids) if len(uids) == 1 else "to the uid above 0 under which the image runs"
    return (
        f"{subject.field('runAsUser')}: {uid} and {non_root}"
        if uid.isdigit()
        else (f"{non_root}, and {subject.field('runAsUser')} {uid}")
    )


def _is_refused(subject: Subject) -> set[str]:
    """The rules that refuse the container for who its image's USER is."""
    refused = set()
    if subject.os == "linux":
        for each in subject.identities:
            if isinstance(each.identity, ResolutionError):
                refused.add("invalid-user" if each.identity.kind == "invalid" else "unresolvable-user")
        if isinstance(subject.planned, GroupMismatch) and (subject.injects or subject.effective.run_as_non_root):
            refused.add("identity-drift")
        if len(subject.uids_of_platforms) > 1 and not subject.numeric:
            refused.add("platforms-disagree")
    return refused


def _is_root(subject: Subject) -> bool:
    """Whether another rule says that it is root."""
    if subject.os == "windows":
        return any(kubelet.is_administrator(name) for name in subject.windows_users)
    if subject.effective.run_as_user is not None:
        return True  # 0, or it would be pinned
    return 0 in subject.uids_of_platforms
