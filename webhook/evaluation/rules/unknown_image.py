"""The image could not be read, so it is not known who the container runs as.

Why: a guess would be worth nothing. The policy's `onUnknown` decides, by cause, what becomes of such a Pod. With Verify,
the default of mode Enforce, `runAsNonRoot: true` is injected and nothing else, so that the kubelet decides: it starts an
image whose USER is a number above 0, and neither root nor a name.
Fails: no `runAsUser`, and an image that the registry refused, does not have, or could not deliver intact and in time.
Passes: an image that was read, now or before, or that a node has shown, unless `runAsNonRoot` asks whether its USER is
a number; any image where the spec sets a `runAsUser`.
Fix: what the cause says: a pull secret, a reachable registry, an existing tag; or set `securityContext.runAsUser`.
Dockerfile: none.
Source: opencontainers/distribution-spec spec.md; kubernetes pkg/kubelet/images/image_manager.go
"""

from typing import Final

from webhook.evaluation.finding import Finding, finding, image_user
from webhook.evaluation.subject import Subject
from webhook.image.source import Image, Unknown
from webhook.image.user import Injection

NAME: Final = "unknown-image"

_NEXT = {
    "unauthorized": "name a pull secret for its registry in spec.imagePullSecrets that the webhook may read",
    "notFound": "check the image's name and tag; if only nodes have it, name it in the policy's knownImages",
    "unreachable": "check the registry's name and the way to it (proxy, mirrors and CAs: the chart's registry values)",
    "rateLimited": "wait, or give the webhook credentials for the registry",
    "invalid": "rebuild and push the image",
    "tooLarge": "rebuild the image within the limits",
    "pending": "try again in a moment",
    "local": "name the image in the policy's knownImages, or push it to a registry",
}


def check(subject: Subject) -> Finding | None:
    """The image, or what a USER name needs of it, is not known."""
    found = subject.unknown
    if found is None and subject.unverified and not (subject.injects and isinstance(subject.planned, Injection)):
        found = _unverified(subject)
    if found is None:
        return None
    return finding(
        subject,
        NAME,
        "image could not be read",
        f"{image_user(subject)}: {found.cause}: {found.detail}{_left_to_kubelet(subject, found)}",
        f"{_NEXT[found.cause]}, or set {_field(subject)}",
        severity="unknown",
        field="runAsUser",
        cause=found.cause,
    )


def _field(subject: Subject) -> str:
    """The field that says the user itself; Windows has no uid, and the API server refuses one."""
    return subject.field("windowsOptions.runAsUserName" if subject.os == "windows" else "runAsUser")


def _left_to_kubelet(subject: Subject, found: Unknown) -> str:
    """The consequences where the kubelet decides by `runAsNonRoot`, for each kind of image that it may find."""
    if subject.policy.on_unknown.action(found.cause, enforced=subject.enforced) != "Verify":
        return ""
    if not (subject.verifies or subject.effective.run_as_non_root):
        return ""
    if subject.os == "windows":
        return "; the kubelet decides: it does not start ContainerAdministrator, and any other user runs"
    return (
        "; the kubelet decides: a numeric USER above 0 runs, and a named one or root does not start "
        "(CreateContainerConfigError)"
    )


def _unverified(subject: Subject) -> Unknown:
    """A node has shown the uid, and not whether the USER is a number: so the kubelet's answer is not known."""
    fallback_reason = subject.image.fallback_reason if isinstance(subject.image, Image) else None
    detail = f"; {fallback_reason.detail}" if fallback_reason else ""
    return Unknown(
        fallback_reason.cause if fallback_reason else "local",
        f"runAsNonRoot asks for a number as the image's USER, which was not read{detail}",
    )
