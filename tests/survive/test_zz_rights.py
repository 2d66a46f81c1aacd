"""Least rights, proven: what the release may do, by its roles, beside what it did, by the API server's audit log.

The last test of the suite by its name: the more has happened, the more rights were used.
"""

import pytest

from deploy.release import NAMESPACE
from tests.e2e.target import Target
from tests.survive import rights
from tests.survive.conftest import long
from tests.survive.figures import Fact, record
from tests.survive.rights import REFUSED, USED, Right

pytestmark = [pytest.mark.survive, pytest.mark.timeout(120)]


def _granted(target: Target) -> set[Right]:
    label = "app.kubernetes.io/part-of=nonroot-webhook"
    roles = [*target.get("clusterroles", NAMESPACE, "-l", label), *target.get("roles", NAMESPACE, "-l", label)]
    return {
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@long
def test_no_right_is_missing_and_none_is_used_that_was_not_granted(installed: Target) -> None:
    """Nothing that we asked for was forbidden; which rights were not used is printed."""
    if not rights.LOG:
        pytest.skip("needs the API server's audit log (NONROOT_AUDIT_LOG)")
    rights.note()
    granted = _granted(installed)
    unused = sorted(granted - USED)
    named = ", ".join(f"{verb} {resource}" for _, resource, verb in unused)
    record(Fact("rights granted and used", f"{len(granted & USED)} of {len(granted)}; unused: {named or 'none'}"))
    assert not REFUSED - granted
    assert REFUSED <= USED
    assert not USED - granted
