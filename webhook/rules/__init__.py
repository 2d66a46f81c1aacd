"""Every rule, in the order in which findings are told. A rule is a module: NAME, and check(subject) -> findings."""

from collections.abc import Callable, Iterator

from webhook.finding import Finding, Subject
from webhook.rules import (
    identity_drift,
    invalid_user,
    named_user,
    platforms_disagree,
    root_image,
    root_user,
    token_file_mode,
    unknown_image,
    unmapped_uid,
    unresolvable_user,
    volume_permissions,
    windows_administrator,
)

RULES = (
    root_user,
    root_image,
    windows_administrator,
    invalid_user,
    unresolvable_user,
    platforms_disagree,
    identity_drift,
    named_user,
    unmapped_uid,
    unknown_image,
    token_file_mode,
    volume_permissions,
)

_CHECKS: tuple[Callable[[Subject], Iterator[Finding]], ...] = tuple(rule.check for rule in RULES)


def check(subject: Subject) -> tuple[Finding, ...]:
    """All that all rules find in one container."""
    return tuple(found for rule in _CHECKS for found in rule(subject))
