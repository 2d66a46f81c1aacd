"""Which exceptions have ended, for a denial names them, and by which kinds a workload is named. Others are in test_selection.py."""

import re
import weakref
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tests.support.pods import effective_policy, first, minimal, tweak, workload
from tests.support.tables import table
from tests.unit.policy.test_selection import BY_OWNER, NOW, excuse, owned
from webhook.policy.exemptions import (
    NAMESPACE_WEIGHT,
    ExceptionIndex,
    LapsedException,
    find_exemption,
    find_lapsed,
    select_exceptions,
)
from webhook.policy.types import ExceptionSpec, NonRootException, WorkloadSelector

HOUR = timedelta(hours=1)


def test_an_exception_has_ended_from_its_very_minute_on() -> None:
    """Others before it that have not are passed over, and of its rules and reason nothing is lost."""
    work = workload()
    found = [
        excuse("endless"), excuse("later", expires=NOW + HOUR), excuse("other", containers=["x"], expires=NOW - HOUR),
        excuse("now", rules=["root-user"], expires=NOW), excuse("before", expires=NOW - HOUR),
    ]  # fmt: skip
    assert find_lapsed(effective_policy(), found, first(work), NOW) == (
        LapsedException("now", "because", frozenset({"root-user"}), NOW),
        LapsedException("before", "because", frozenset(), NOW - HOUR),
    )


def test_an_exception_would_not_have_helped_where_another_exempts_or_none_is_allowed() -> None:
    work, ended = workload(), [excuse(expires=NOW)]
    assert find_lapsed(effective_policy(exceptions="Forbid"), ended, first(work), NOW) == ()
    assert find_lapsed(effective_policy(exemptions={"images": ["*"]}), ended, first(work), NOW) == ()


def test_an_exception_by_owner_would_have_helped_its_controller_alone() -> None:
    work = workload(tweak(minimal(), owned("DaemonSet", "node-agent")))
    ended = [excuse(workloads=BY_OWNER, expires=NOW)]
    controller = "system:serviceaccount:kube-system:daemon-set-controller"
    found = [
        find_lapsed(effective_policy(), select_exceptions(ended, work, each), first(work), NOW)
        for each in (controller, "jane", None)
    ]
    assert [len(each) for each in found] == [1, 0, 1]


@table(
    ("kind", "own", "covered"),
    {
        "a kind with its group": ("Deployment.apps", "Deployment", True),
        "with another": ("Deployment.batch", "Deployment", False),
        "with none, which it has": ("Deployment.", "Deployment", False),
        "one of no group": ("Pod.", "Pod", True),
        "one that is not Kubernetes' own": ("Tenant", "Tenant", True),
        "of which no group is known": ("Tenant.example.com", "Tenant", False),
        "or is said to be none": ("Tenant.", "Tenant", True),
    },
)
def test_a_workload_is_named_by_its_own_kind(kind: str, own: str, covered: bool) -> None:
    work = msgspec.structs.replace(workload(), kind=own)
    exceptions = [excuse(workloads=[{"kind": kind, "name": "web"}])]
    assert (find_exemption(effective_policy(), exceptions, work, first(work), NOW) is not None) == covered


def test_the_controller_need_not_be_the_first_owner() -> None:
    owners = [
        {"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "u"},
        *owned("DaemonSet", "node-agent")["metadata.ownerReferences"],
    ]
    work = workload(tweak(minimal(), {"metadata.ownerReferences": owners}))
    assert find_exemption(effective_policy(), [excuse(workloads=BY_OWNER)], work, first(work), NOW)


def patterns(name: str, count: int, **more: Any) -> NonRootException:
    """An exception of so many patterns."""
    return excuse(name, images=[f"registry.example.com/{number}/*" for number in range(count)], **more)


def test_the_patterns_of_a_namespace_are_limited_and_its_first_exceptions_count() -> None:
    """Anybody may write any number of them, and each is compiled where all wait for it."""
    many = [patterns(f"e{number:03}", 100) for number in range(100)]
    names_alone = [excuse(f"z{number}", workloads=[{"name": f"job-{number}"}]) for number in range(5000)]
    kept = [each.metadata.name for each in ExceptionIndex([*reversed(many), *names_alone]).all]
    assert 10 < sum(name.startswith("e") for name in kept) < 30
    assert {name for name in kept if name.startswith("e")} == {f"e{number:03}" for number in range(len(kept) - 5000)}
    assert sum(name.startswith("z") for name in kept) == 5000
    assert sum(each.spec.weight for each in many[: len(kept) - 5000]) <= NAMESPACE_WEIGHT


def test_exceptions_about_everything_are_limited_too() -> None:
    """Of which each is looked at for each container; a reason names some of them."""
    index = ExceptionIndex([excuse(f"e{number:04}") for number in range(3000)])
    work = workload()
    assert len(index.about(work)) == 128
    found = find_exemption(effective_policy(), index.about(work), work, first(work), NOW)
    assert found is not None
    assert found.reason.endswith("exception e0004: because; and 123 more")
    for count, end in ((5, "; exception e0004: because"), (6, "; exception e0004: because; and 1 more")):
        found = find_exemption(effective_policy(), index.all[:count], work, first(work), NOW)
        assert found is not None
        assert found.reason.endswith(end)


def test_exceptions_about_the_same_workload_are_limited() -> None:
    index = ExceptionIndex([excuse(f"e{number:04}", workloads=[{"name": "web"}]) for number in range(3000)])
    assert [each.metadata.name for each in index.all] == [f"e{number:04}" for number in range(128)]


@pytest.mark.parametrize("field", ["images", "containers", "workloads"])
def test_an_exception_of_too_many_patterns_says_so(field: str) -> None:
    """A glob of stars takes as long to compile as many."""
    globs = [f"{number}{'*a' * 100}" for number in range(5)]
    spec = {"reason": "x", field: [{"name": each} for each in globs] if field == "workloads" else globs}
    with pytest.raises(
        msgspec.ValidationError,
        match=r"too many or too long: .* may have 8192 characters, where each of \* \? \[ counts as 17;",
    ):
        msgspec.convert(spec, ExceptionSpec)
    assert msgspec.convert({"reason": "x", "images": [f"a.io/{number}" for number in range(128)]}, ExceptionSpec)


def test_the_most_that_an_exception_may_say() -> None:
    named = (WorkloadSelector("web"),)
    assert ExceptionSpec("x", named, images=("*" + "a" * 8175,)).weight == 8192
    with pytest.raises(ValueError, match="too many or too long"):
        ExceptionSpec("x", named, images=("*" + "a" * 8176,))


def test_what_is_compiled_goes_with_its_exception() -> None:
    """Whoever changes his exceptions again and again fills no cache."""
    work = workload()
    gone = []
    for number in range(10):
        each = patterns(f"e{number}", 100)
        assert find_exemption(effective_policy(), [each], work, first(work), NOW) is None
        gone.append(weakref.ref(each.spec.matches_image.__self__))  # type: ignore[attr-defined]  # a compiled expression's method
        del each
        re.purge()
    assert not [each for each in gone if each() is not None]


REPLICA_SETS = "system:serviceaccount:kube-system:replicaset-controller"
STATED = {"serviceAccount": "db:operator"}


@table(
    ("owner", "selector", "requester", "covered"),
    {
        "a Deployment with a dash in its name": (
            *(("ReplicaSet", "my-web-5d4f"), {"kind": "Deployment", "name": "my-web"}),
            *(REPLICA_SETS, True),
        ),
        "not half its name": (("ReplicaSet", "my-web-5d4f"), {"kind": "Deployment", "name": "my"}, REPLICA_SETS, False),
        "a ReplicaSet that nobody made": (
            *(("ReplicaSet", "web"), {"kind": "Deployment", "name": "*"}),
            *(REPLICA_SETS, False),
        ),
        "a kind of another group, by its name alone": (
            *(("ReplicaSet", "web-1", "evil/v1"), {"name": "web-1"}),
            *(REPLICA_SETS, False),
        ),
        "another group's kind, whoever is named": (
            *(("Deployment", "web", "evil/v1"), {"kind": "Deployment", "name": "web", **STATED}),
            *("system:serviceaccount:db:operator", False),
        ),
        "with that group": (
            *(("Deployment", "web", "evil/v1"), {"kind": "Deployment.evil", "name": "web", **STATED}),
            *("system:serviceaccount:db:operator", True),
        ),
    },
)
def test_an_owner_is_the_one_that_is_meant(
    owner: tuple[str, ...], selector: dict[str, str], requester: str, covered: bool
) -> None:
    work = workload(tweak(minimal(), {"metadata.name": "x", **owned(*owner)}))
    found = find_exemption(effective_policy(), [excuse(workloads=[selector])], work, first(work), NOW, requester)
    assert (found is not None) == covered
