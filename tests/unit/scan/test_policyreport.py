"""What Policy Reporter shows of our reports."""

from datetime import UTC, datetime

import pytest

from tests.support import policy_reporter
from tests.support.images import image, unknown
from tests.support.made_up_cluster import of
from tests.support.pods import IMAGE, Object
from tests.support.tables import table
from tests.unit.cli.output.test_scan import REPORTED
from tests.unit.scan.test_evaluate import predicted
from webhook.image.source import Image, Unknown
from webhook.scan.policyreport import KINDS, report, reports, stamped

AT = datetime(2026, 11, 29, tzinfo=UTC)
WEIGHTS = {"pass": "info", "fail": "error", "warn": "warning", "error": "error", "skip": "debug"}


@pytest.mark.parametrize("api_version", KINDS)
def test_every_result_is_shown_with_what_it_is_about(api_version: str) -> None:
    """It has its object, policy, rule, category, weight, text and time, and is filtered by its source."""
    kinds = set()
    for made in (stamped(each, {}, AT) for each in reports(REPORTED.workloads, api_version)):
        read, shown = policy_reporter.read(made)
        assert read.source == "nonroot-webhook"
        assert [each.result.message for each in shown] == [each["message"] for each in made["results"]]
        scope = made["scope"]
        for each in shown:
            kinds.add(each.result.result)
            assert each.resource == f"{scope['namespace']}/{scope['kind'].lower()}/{scope['name']}"
            assert each.category == "Pod Security"
            assert each.result.policy
            assert each.result.rule
            assert each.result.priority == WEIGHTS[each.result.result]
            assert each.result.timestamp.seconds == AT.timestamp()
            assert {"container", "image", "outcome"} <= set(each.result.properties)
        counts = [read.summary.passed, read.summary.fail, read.summary.warn, read.summary.error, read.summary.skip]
        assert counts == [made["summary"][name] for name in WEIGHTS]
    assert kinds == set(WEIGHTS)


def _twice() -> Object:
    """A workload with three containers that are as good or bad as each other."""
    made = of("Deployment")
    spec = made["spec"]["template"]["spec"]
    spec["containers"] = [{"name": name, "image": IMAGE} for name in ("app", "web", "log")]
    return made


@table(
    ("found",),
    {
        "fixed": (image("app"),),
        "root": (image(""),),
        "a user of nobody's": (image("ghost"),),
        "not read": (unknown("unauthorized"),),
        "a lie": (unknown("invalid"),),
    },
)
async def test_no_container_stands_for_another(found: Image | Unknown) -> None:
    """It takes results of one object with the same policy, rule, result, category and text for one."""
    made = stamped(report(await predicted(_twice(), images=found)), {}, AT)
    _, shown = policy_reporter.read(made)
    assert len(shown) == len(made["results"])
    assert {each.result.properties["container"] for each in shown} == {"app", "web", "log"}


def test_a_field_of_another_type_is_not_read() -> None:
    """The model decodes as Go does."""
    made = {"results": [{"policy": "p", "properties": {"count": 1}}]}
    with pytest.raises(ValueError, match="Expected `str`"):
        policy_reporter.read(made)
