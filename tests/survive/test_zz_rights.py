"""Least rights, proven: what the release may do, by its roles, beside what it did, by the API server's audit log.

The last test of the suite by its name: the more has happened, the more rights were used.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.release import NAMESPACE
from tests.e2e.target import Target
from tests.survive.conftest import long
from tests.survive.figures import Fact, record

pytestmark = [pytest.mark.survive, pytest.mark.timeout(120)]

OURS = f"system:serviceaccount:{NAMESPACE}:"
Right = tuple[str, str, str]  # API group, resource, verb


def _entries() -> Iterator[dict[str, Any]]:
    log = os.environ.get("NONROOT_AUDIT_LOG", "")
    if not log:
        pytest.skip("needs the API server's audit log (NONROOT_AUDIT_LOG)")
    for file in Path(log).parent.glob("audit*.log"):
        for line in file.read_text(errors="replace").splitlines():
            if OURS in line and line.endswith("}"):
                yield json.loads(line)


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
    used: set[Right] = set()
    forbidden: set[Right] = set()
    for entry in _entries():
        about = entry.get("objectRef", {})
        if not (entry["user"]["username"].startswith(OURS) and about.get("resource")):
            continue
        resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
        right = (about.get("apiGroup", ""), resource, entry["verb"])
        (forbidden if entry.get("responseStatus", {}).get("code") == 403 else used).add(right)
    granted = _granted(installed)
    unused = sorted(granted - used)
    named = ", ".join(f"{verb} {resource}" for _, resource, verb in unused)
    record(Fact("rights granted and used", f"{len(granted & used)} of {len(granted)}; unused: {named or 'none'}"))
    assert not forbidden - granted
    assert not {each for each in forbidden if each not in used}
    assert not used - granted
