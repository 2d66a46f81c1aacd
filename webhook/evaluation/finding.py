"""Findings: what a rule says about a container, in the words of every message."""

from collections.abc import Iterable
from typing import Literal

import msgspec

from webhook.evaluation.subject import Subject
from webhook.image.config import User
from webhook.image.golang import parse_decimal
from webhook.image.source import Image, Unknown
from webhook.image.user import Identity, Injection, PlatformIdentity, ResolutionError
from webhook.policy.types import Rule
from webhook.text import ago, quoted

Severity = Literal["error", "warning", "unknown", "note"]  # a note is recorded, and never shown at kubectl apply


class Finding(msgspec.Struct, frozen=True, gc=False):
    """A fault that a rule found in a container. `reason` is fixed per rule, `detail` says who and why, `fix` the lines to write.

    `fixable` is a fault of the Pod as it stands that injection removes; `pointer` is where in the object it shows.
    """

    rule: Rule
    severity: Severity
    reason: str
    detail: str
    fix: str
    container: str
    image: str
    user: str | None
    pointer: str
    fixable: bool = False
    cause: str = ""

    @property
    def message(self) -> str:
        """The finding as one text, for a person."""
        return f"{self.reason}: {self.detail}; {self.fix}"


def finding(
    subject: Subject,
    rule: Rule,
    reason: str,
    detail: str,
    fix: str,
    *,
    severity: Severity = "error",
    field: str = "",
    fixable: bool = False,
    cause: str = "",
) -> Finding:
    """A finding about a subject; `detail` goes on after the container's name."""
    container = subject.slot.container
    kind = "" if subject.slot.kind == "regular" else f"{subject.slot.kind} "
    return Finding(
        rule=rule,
        severity=severity,
        reason=reason,
        detail=f"{kind}container {quoted(container.name)} {detail}",
        fix=fix,
        container=container.name,
        image=container.image or "",
        user=subject.user,
        pointer=f"{subject.pointer}/securityContext/{field}" if field else subject.pointer,
        fixable=fixable,
        cause=cause,
    )


def image_user(subject: Subject, answer: PlatformIdentity | None = None) -> str:
    """`(image "x", USER "app")`, for messages; of the platform in question where that is not the first or only one."""
    image = quoted(subject.slot.container.image or "")
    if not subject.identities:
        return f"(image {image})"
    shown = answer or subject.identities[0]
    user, platform = shown.user, shown.platform
    built_for = ""
    if answer is not None and len(subject.identities) > 1 and _differs(answer, subject.identities):
        built_for = f" on {quoted(str(platform))}"
    elif platform.os and platform.os != subject.os:
        built_for = f", built for {quoted(platform.os)}"
    return f"(image {image}, {_user(user)}{built_for}{_provenance(subject.image)})"


def _differs(answer: PlatformIdentity, identities: Iterable[PlatformIdentity]) -> bool:
    """Whether the image is somebody else on another platform."""
    return any((each.user, each.identity) != (answer.user, answer.identity) for each in identities)


def describe_user(subject: Subject) -> str:
    """A container's user and who set it, in a few words: `uid 1000 (USER "app" in the image's /etc/passwd)`."""
    if subject.os == "windows" and subject.effective.windows_user is not None:
        return f"Windows user {quoted(subject.effective.windows_user)}"
    if subject.os != "windows" and subject.effective.run_as_user is not None:
        said_by = "container" if subject.effective.user_source == "container" else "Pod"
        return f"uid {subject.effective.run_as_user} (runAsUser of the {said_by})"
    if not subject.identities:
        return f"unknown ({subject.image.cause})" if isinstance(subject.image, Unknown) else "unknown"
    if len(subject.identities) == 1:
        return _user_on(subject.identities[0], subject)
    platforms: dict[str, list[str]] = {}
    for answer in subject.identities:
        platforms.setdefault(_user_on(answer, subject), []).append(str(answer.platform))
    if len(platforms) == 1:
        return next(iter(platforms))
    return ", ".join(f"{user} on {quoted(' '.join(each))}" for user, each in platforms.items())


def _user_on(answer: PlatformIdentity, subject: Subject) -> str:
    user, identity = answer.user, answer.identity
    if identity is None:
        return f"Windows user {quoted(user.name)}" if user.name else "the image's Windows user"
    if isinstance(identity, Unknown):
        return f"unknown ({identity.cause})"
    if isinstance(identity, ResolutionError):
        return f"no user (USER {quoted(user.text)}: {identity.detail})"
    resolved = " in the image's /etc/passwd" if user.uid is None and user.name else ""
    ignored = _ignored_group(user, identity, subject) if ":" in user.text else ""
    return f"uid {identity.uid} ({_user(user)}{resolved}{ignored}{_provenance(subject.image)})"


def _ignored_group(user: User, identity: Identity, subject: Subject) -> str:
    """The group that the USER names, unless it is that of the process anyway, or will be."""
    group = parse_decimal(user.text.partition(":")[2])
    planned = subject.planned.gid if isinstance(subject.planned, Injection) else None
    return "" if group in {None, identity.gid, planned} else f", whose group {group} Kubernetes ignores"


def _user(user: User) -> str:
    if user.unread:
        return "USER not read"
    return f"USER {quoted(user.text)}" if user.text else "no USER"


def _provenance(found: Image | Unknown | None) -> str:
    """Where an answer comes from and how old it is, unless the registry has just said so."""
    if not isinstance(found, Image):
        return ""
    if found.source == "observed":
        return f", observed on a node {ago(found.age)}"
    return f", as of {ago(found.age)}" if found.age else ""
