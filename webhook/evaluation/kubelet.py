"""The kubelet's own decision about runAsNonRoot, word for word: every verdict is measured by it.

Source: kubernetes pkg/kubelet/kuberuntime/security_context_others.go and security_context_windows.go
(verifyRunAsNonRoot), helpers.go (getImageUser: an empty USER is uid 0).
"""

from webhook.image.config import UID_MAX, User
from webhook.workload.workload import Effective

ADMINISTRATOR = "containeradministrator"


def needs_image(effective: Effective, os: str) -> bool:
    """Whether the kubelet looks at the image at all; with a runAsUser it does not."""
    if os == "windows":
        return effective.windows_user is None
    return effective.run_as_user is None


def never_root(effective: Effective, os: str) -> bool:
    """Whether the spec alone keeps a container from running as root, whatever its image turns out to be.

    Then the kubelet starts it under a uid above 0, or refuses to start it. On Windows a uid means nothing.
    """
    if effective.run_as_non_root:
        return True
    if os == "windows":
        return effective.windows_user is not None and not is_administrator(effective.windows_user)
    return effective.run_as_user is not None and effective.run_as_user > 0


def is_administrator(name: str) -> bool:
    """Whether the kubelet takes a Windows user's name for root: strings.EqualFold, which also folds the long s."""
    return name.casefold() == ADMINISTRATOR


def refusal(effective: Effective, user: User | None, os: str) -> str | None:
    """The kubelet's error, without its closing "(pod: …, container: …)"; None where it starts the container.

    `user` is the image's USER, and may be None where `needs_image` is false. Of a signed number beyond int31 the
    kubelet before 1.34 let through; the answer here is that of the later ones, which is the safe side.
    """
    if not effective.run_as_non_root:
        return None
    if os == "windows":
        return _windows_refusal(effective, user)
    if effective.run_as_user is not None:
        return "container's runAsUser breaks non-root policy" if effective.run_as_user == 0 else None
    if user is None:
        raise ValueError("the image's USER is needed where no runAsUser is set")
    if user.uid is None and user.name:
        name = user.name
        return f"container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root"
    if not user.uid:
        return "container has runAsNonRoot and image will run as root"
    if not 0 <= user.uid <= UID_MAX:
        return (
            f"container has runAsNonRoot and image has an invalid user id ({user.uid}). "
            f"(Must be 1-({UID_MAX})): must be between 0 and {UID_MAX}, inclusive"
        )
    return None


def _windows_refusal(effective: Effective, user: User | None) -> str | None:
    if effective.windows_user is not None:
        if not is_administrator(effective.windows_user):
            return None
        name = f"runAsUserName ({effective.windows_user})"
    else:
        if user is None or not is_administrator(user.name):
            return None
        name = f"runAsUser ({user.name})"
    return f"container's {name} which will be regarded as root identity and will break non-root policy"
