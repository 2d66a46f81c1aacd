"""The reports of a scan, as the Go types of their readers decode them."""

import json

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from tests.support.reports import schema_of
from tests.unit.cli.output.test_scan import REPORTED
from webhook.scan.policyreport import KINDS, OPENREPORTS, reports


@pytest.mark.parametrize("api_version", KINDS)
def test_reports_are_valid_and_shaped_as_their_readers_expect(api_version: str) -> None:
    """One a workload, of the workload and owned by it; sums that are those of its results."""
    made = list(reports(REPORTED.workloads, api_version))
    assert len(made) == len(REPORTED.workloads)
    for each in made:
        jsonschema.validate(each, schema_of(api_version))
        assert (each["apiVersion"], each["kind"]) == (api_version, KINDS[api_version])
        results = [result["result"] for result in each["results"]]
        assert each["summary"] == {name: results.count(name) for name in ("pass", "fail", "warn", "error", "skip")}
        assert len({json.dumps(result) for result in each["results"]}) == len(results)
        (owner,) = each["metadata"]["ownerReferences"]
        assert each["scope"] == {**owner, "namespace": each["metadata"]["namespace"]}
    assert ("source" in made[0]) == (api_version == OPENREPORTS)
