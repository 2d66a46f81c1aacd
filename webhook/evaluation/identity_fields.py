"""The fields that decide who a container runs as: where each is set, to what, and what it does.

Sources: kubernetes pkg/kubelet/kuberuntime/security_context_others.go (verifyRunAsNonRoot) and helpers.go (getImageUser);
k8s.io/api core/v1/types.go (SecurityContext, PodSecurityContext).
"""

from collections.abc import Iterator

import msgspec

from webhook.evaluation import kubelet
from webhook.image.config import User
from webhook.text import quoted
from webhook.workload.podspec import SecurityContext
from webhook.workload.workload import Effective, Slot, Workload, effective

USER = "the image's USER"
_NONE = SecurityContext()


class IdentityField(msgspec.Struct, frozen=True):
    """A field as one writes it, its value (null where it is not set, or the image was not read), and what it does there."""

    field: str
    value: str | None
    effect: str


def identity_fields(workload: Workload, slot: Slot, user: User | None, os: str) -> Iterator[IdentityField]:
    """The fields in the order in which they decide; `user` is the image's USER, None where nobody has read it."""
    own = effective(slot.container, workload.context)
    if os == "windows":
        yield _windows(workload, slot, own)
    else:
        yield _run_as_user(workload, slot, own)
        if own.run_as_user is None:
            yield _image(user)
    yield _run_as_non_root(workload, slot, own)
    if os == "windows":
        return
    group = (slot.container.security_context or _NONE).run_as_group
    place = _place(workload, slot if group is not None or own.run_as_group is None else None, "runAsGroup")
    if own.run_as_group is not None:
        yield IdentityField(place, str(own.run_as_group), "its primary group")
    else:
        yield IdentityField(
            place, None, "its primary group is the one that the image's /etc/passwd gives the uid, else 0"
        )
    context = workload.context
    if context.fs_group is not None:
        effect = "a group of every process; volumes that support it are given to this group"
        yield IdentityField(_place(workload, None, "fsGroup"), str(context.fs_group), effect)
    if context.supplemental_groups:
        groups = ", ".join(map(str, context.supplemental_groups))
        yield IdentityField(_place(workload, None, "supplementalGroups"), groups, "further groups of every process")
    if workload.spec.host_users is False:
        place = f"{workload.path}.hostUsers"
        yield IdentityField(place, "false", "uids are mapped: root in the container is nobody on the node")


def refusal(workload: Workload, slot: Slot, user: User | None, os: str) -> str | None:
    """The kubelet's refusal of a container as it stands; empty where it starts it, None where that is not known."""
    own = effective(slot.container, workload.context)
    if own.run_as_non_root and user is None and kubelet.needs_image(own, os):
        return None
    return kubelet.refusal(own, user, os) or ""


def _run_as_user(workload: Workload, slot: Slot, own: Effective) -> IdentityField:
    if own.run_as_user is None:
        return IdentityField(_place(workload, slot, "runAsUser"), None, "the image's USER decides")
    place = _place(workload, slot if own.user_source == "container" else None, "runAsUser")
    who = "it runs as root" if own.run_as_user == 0 else "it runs as this uid"
    return IdentityField(place, str(own.run_as_user), f"{who}, whatever the image's USER is")


def _image(user: User | None) -> IdentityField:
    if user is None or user.unread:
        return IdentityField(USER, None, "the image was not read")
    if not user.text:
        return IdentityField(USER, '""', "an image without USER runs as root")
    if user.uid is None:
        effect = "a name: the runtime looks it up in the image's /etc/passwd, the kubelet does not and cannot verify it"
    elif user.uid == 0:
        effect = "it runs as root"
    else:
        effect = "a number, which the kubelet can verify"
    return IdentityField(USER, quoted(user.text), effect)


def _run_as_non_root(workload: Workload, slot: Slot, own: Effective) -> IdentityField:
    set_by_container = (slot.container.security_context or _NONE).run_as_non_root is not None
    place = _place(workload, slot if set_by_container or own.run_as_non_root is None else None, "runAsNonRoot")
    if own.run_as_non_root:
        return IdentityField(place, "true", "the kubelet starts it only where it can verify that it is not root")
    value = None if own.run_as_non_root is None else "false"
    return IdentityField(place, value, "the kubelet verifies nothing: it starts root as well")


def _windows(workload: Workload, slot: Slot, own: Effective) -> IdentityField:
    options = (slot.container.security_context or _NONE).windows_options
    set_by_container = options is not None and options.run_as_user_name is not None
    place = _place(
        workload, slot if set_by_container or own.windows_user is None else None, "windowsOptions.runAsUserName"
    )
    if own.windows_user is None:
        return IdentityField(place, None, "the image's Windows user decides; numbers do not count on Windows")
    return IdentityField(place, quoted(own.windows_user), "it runs as this Windows user, whatever the image says")


def _place(workload: Workload, slot: Slot | None, name: str) -> str:
    """A field of the container's security context, or of the Pod's where no slot is given."""
    return f"{workload.path_of(slot) if slot else workload.path}.securityContext.{name}"
