"""Every rule, in the order in which findings are listed. A rule is a module: NAME, and check(subject) -> Finding | None."""

from collections.abc import Callable

from webhook.evaluation.finding import Finding
from webhook.evaluation.rules import (
    group_without_user,
    identity_drift,
    invalid_user,
    named_user,
    platforms_disagree,
    private_files,
    program_privileges,
    root_image,
    root_user,
    shared_volume,
    token_file_mode,
    unknown_image,
    unmapped_uid,
    unpinned_user,
    unresolvable_user,
    volume_permissions,
    windows_administrator,
    working_directory,
)
from webhook.evaluation.subject import Subject

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
    group_without_user,
    unknown_image,
    unpinned_user,
    program_privileges,
    token_file_mode,
    volume_permissions,
    shared_volume,
    private_files,
    working_directory,
)

# Those about the whole Pod: reported for its first container that is not exempt from them, so that they vanish only where all are.
POD_RULES = frozenset({group_without_user.NAME, token_file_mode.NAME})

# Most containers of most Pods say their uid, and then nobody asked for the image; most images that are asked for have no
# fault: these have nothing to look at then.
_FAULTS_OF_IMAGES = (
    root_image,
    invalid_user,
    unresolvable_user,
    platforms_disagree,
    identity_drift,
    unknown_image,
)

Check = Callable[[Subject], Finding | None]
_CHECKS: tuple[Check, ...] = tuple(rule.check for rule in RULES)
_OF_FAULT_FREE_IMAGES: tuple[Check, ...] = tuple(rule.check for rule in RULES if rule not in _FAULTS_OF_IMAGES)
_OF_ANY_IMAGE: tuple[Check, ...] = (named_user.check, program_privileges.check, working_directory.check)
_WITHOUT_IMAGE: tuple[Check, ...] = tuple(check for check in _OF_FAULT_FREE_IMAGES if check not in _OF_ANY_IMAGE)


def check(subject: Subject) -> tuple[Finding, ...]:
    """The findings of all rules about one container."""
    if subject.image is None:
        checks = _WITHOUT_IMAGE if subject.layers is None else _OF_FAULT_FREE_IMAGES
    else:
        checks = _OF_FAULT_FREE_IMAGES if subject.fault_free else _CHECKS
    return tuple([found for each in checks if (found := each(subject)) is not None])
