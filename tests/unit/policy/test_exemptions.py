"""Which exceptions have ended, for a denial names them, and by which kinds a workload is named. Others are in test_selection.py."""

from datetime import timedelta

import msgspec

from tests.support.pods import effective_policy, first, minimal, tweak, workload
from tests.support.tables import table
from tests.unit.policy.test_selection import BY_OWNER, NOW, excuse, owned
from webhook.policy.exemptions import LapsedException, find_exemption, find_lapsed

HOUR = timedelta(hours=1)


def test_an_exception_has_ended_from_its_very_minute_on() -> None:
    """Others before it that have not are passed over, and of its rules and reason nothing is lost."""
    work = workload()
    found = [
        excuse("endless"), excuse("later", expires=NOW + HOUR), excuse("other", containers=["x"], expires=NOW - HOUR),
        excuse("now", rules=["root-user"], expires=NOW), excuse("before", expires=NOW - HOUR),
    ]  # fmt: skip
    assert find_lapsed(effective_policy(), found, work, first(work), NOW) == (
        LapsedException("now", "because", frozenset({"root-user"}), NOW),
        LapsedException("before", "because", frozenset(), NOW - HOUR),
    )


def test_an_exception_would_not_have_helped_where_another_exempts_or_none_is_allowed() -> None:
    work, ended = workload(), [excuse(expires=NOW)]
    assert find_lapsed(effective_policy(exceptions="Forbid"), ended, work, first(work), NOW) == ()
    assert find_lapsed(effective_policy(exemptions={"images": ["*"]}), ended, work, first(work), NOW) == ()


def test_an_exception_by_owner_would_have_helped_its_controller_alone() -> None:
    work = workload(tweak(minimal(), owned("DaemonSet", "node-agent")))
    ended = [excuse(workloads=BY_OWNER, expires=NOW)]
    controller = "system:serviceaccount:kube-system:daemon-set-controller"
    found = [
        find_lapsed(effective_policy(), ended, work, first(work), NOW, each) for each in (controller, "jane", None)
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
