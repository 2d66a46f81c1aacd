"""Reports in the cluster: what is written, of which kind, and that the same is never written twice."""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime

import pytest

from tests.support.controllers import Killed
from tests.support.objects import Objects
from webhook.cluster.errors import Conflict, Denied, Terminating
from webhook.controller.reports import Report, Reports
from webhook.scan.policyreport import Api

OPEN = "/apis/openreports.io/v1alpha1/reports"
OLD = "/apis/wgpolicyk8s.io/v1alpha2/policyreports"


def report(api_version: str, name: str, result: str = "pass") -> Report:
    metadata = {"name": name, "namespace": "shop", "labels": {"a": "b"}}
    return {"apiVersion": api_version, "kind": "Report", "metadata": metadata, "results": [{"result": result}]}


def making(**results: str) -> Callable[[Api], Iterable[Report]]:
    def make(api_version: Api) -> Iterable[Report]:
        return [report(api_version, name, result) for name, result in results.items()]

    return make


@pytest.fixture(params=[OPEN, OLD])
def objects(request: pytest.FixtureRequest) -> Objects:
    """A cluster with one of the two kinds."""
    return Objects(request.param)


def results(objects: Objects) -> dict[str, str]:
    (found,) = objects.stored.values()
    return {name: body["results"][0]["result"] for (_, name), body in found.items()}


async def test_reports_are_made_changed_and_deleted_and_otherwise_left_alone(objects: Objects) -> None:
    reports = Reports(objects)
    await reports.update(making(a="pass", b="fail"))
    assert results(objects) == {"a": "pass", "b": "fail"}
    assert reports.writes == 2
    await reports.update(making(a="pass", b="fail"))
    await Reports(objects).update(making(a="pass", b="fail"))
    assert reports.writes == 2
    assert len(objects.writes) == 2
    await reports.update(making(a="fail", c="pass"))
    assert results(objects) == {"a": "fail", "c": "pass"}
    assert objects.writes[2:] == ["PUT report shop/a", "POST report shop/c", "DELETE report shop/b"]
    await reports.update(None)
    assert results(objects) == {}


async def test_a_fact_that_only_grows_older_is_not_written_again(objects: Objects) -> None:
    reports = Reports(objects)
    for age in ("59 s ago", "2 min ago", "3 days ago"):
        await reports.update(making(a=f"uid 1000, observed on a node {age}"))
    assert reports.writes == 1
    await reports.update(making(a="uid 1001, observed on a node 3 days ago"))
    assert reports.writes == 2


async def test_what_a_scan_could_not_see_is_not_deleted(objects: Objects) -> None:
    reports = Reports(objects)
    await reports.update(making(a="pass", b="pass"))
    await reports.update(making(a="fail"), complete=False)
    assert results(objects) == {"a": "fail", "b": "pass"}


async def test_a_report_is_ours_by_its_labels_and_says_what_it_was_made_from(objects: Objects) -> None:
    await Reports(objects).update(making(a="pass"))
    (found,) = objects.stored.values()
    (made,) = found.values()
    assert made["metadata"]["labels"] == {
        "a": "b",
        "app.kubernetes.io/part-of": "nonroot-webhook",
        "app.kubernetes.io/managed-by": "nonroot-operate",
    }
    assert len(made["metadata"]["annotations"]["nonroot.dev/content"]) == 64


async def test_the_reports_of_others_are_left_alone(objects: Objects) -> None:
    (collection,) = objects.stored
    objects.put(collection, report("x", "theirs") | {"metadata": {"name": "a", "namespace": "shop"}})
    await Reports(objects).update(making(a="fail"))
    assert results(objects) == {"a": "pass"}
    await Reports(objects).update(None)
    assert results(objects) == {"a": "pass"}


async def test_open_reports_are_preferred_and_former_ones_of_the_other_kind_go() -> None:
    objects = Objects(OLD)
    await Reports(objects).update(making(a="pass"))
    objects.stored[OPEN] = {}
    await Reports(objects).update(making(a="pass"))
    assert [len(objects.stored[each]) for each in (OLD, OPEN)] == [0, 1]
    assert objects.all(OPEN)[0]["apiVersion"] == "openreports.io/v1alpha1"


async def test_where_neither_kind_is_installed_nothing_is_made() -> None:
    objects = Objects()
    await Reports(objects).update(making(a="pass"))
    assert objects.writes == []


async def test_a_namespace_that_ends_does_not_keep_the_others_waiting(objects: Objects) -> None:
    errors: Iterator[Exception | None] = iter([Terminating("it ends"), None])

    def before() -> None:
        error = next(errors)
        if error is not None:
            raise error

    objects.before = before
    reports = Reports(objects)
    await reports.update(making(a="pass", b="pass"))
    assert results(objects) == {"b": "pass"}
    assert reports.writes == 1


@pytest.mark.parametrize("error", [Conflict("changed"), Denied("422"), Denied("a policy is against it")])
async def test_a_report_that_is_not_taken_keeps_no_other_from_being_written(objects: Objects, error: Exception) -> None:
    refusals = [error]

    def before() -> None:
        if refusals:
            raise refusals.pop()

    objects.before = before
    await Reports(objects).update(making(a="pass", b="pass", c="pass"))
    assert len(results(objects)) == 2


async def test_it_goes_on_where_it_was_ended(objects: Objects) -> None:
    def end() -> None:
        if len(objects.writes) == 3:
            raise Killed

    objects.before = end
    wanted = {f"r{number}": "pass" for number in range(8)}
    with pytest.raises(BaseException, match=r"^$|unhandled"):
        await Reports(objects).update(making(**wanted))
    assert len(results(objects)) == 3
    objects.before = lambda: None
    await Reports(objects).update(making(**wanted))
    assert results(objects) == wanted
    assert len(objects.writes) == 8


async def test_a_result_says_since_when_it_is_the_same(objects: Objects, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another one of the same report has changed since; one that is back is new, and wording is no news."""

    def stamps() -> list[tuple[str, int]]:
        (body,) = next(iter(objects.stored.values())).values()
        return [(each["rule"], each["timestamp"]["seconds"]) for each in body["results"]]

    async def found(second: int, **rules: str) -> None:
        monkeypatch.setattr(objects, "now", lambda: datetime.fromtimestamp(second, UTC))

        def make(api_version: Api) -> Iterable[Report]:
            about = [{"rule": rule, "result": "fail", "message": message} for rule, message in rules.items()]
            return [report(api_version, "web") | {"results": about}]

        await Reports(objects).update(make)

    await found(100, root="a", volume="b")
    assert stamps() == [("root", 100), ("volume", 100)]
    await found(200, root="a, said otherwise", group="c")
    assert stamps() == [("root", 100), ("group", 200)]
    await found(300, root="a", volume="b")
    assert stamps() == [("root", 100), ("volume", 300)]
    written = len(objects.writes)
    await found(400, root="a", volume="b")
    assert len(objects.writes) == written
