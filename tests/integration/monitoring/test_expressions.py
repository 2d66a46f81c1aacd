"""Dashboard and alerts ask for nothing that the code does not expose: no metric, no label, no label's value."""

import re
from collections.abc import Iterator

import pytest

from tests.support import prometheus
from webhook import metrics
from webhook.metrics import Family

pytestmark = pytest.mark.chart

FAMILIES = {each.name: each for each in (*metrics.ADMISSION, *metrics.CONTROLLER)}
SCRAPED = frozenset({"instance", "job", "pod", "namespace"})  # labels that Prometheus puts on everything


def complaints(expression: str, legend: str = "") -> Iterator[str]:
    """What is wrong with an expression, and with the labels that its legend, or an alert's text, speaks of."""
    found: dict[str, Family] = {}
    for name, matchers in prometheus.selectors(expression):
        family = FAMILIES.get(re.sub("_(bucket|sum|count)$", "", name)) or FAMILIES.get(name)
        if family is None:
            yield f"no metric {name}"
            continue
        found[name] = family
        for label, values in re.findall(r'(\w+)\s*[=!]~?\s*"([^"]*)"', matchers):
            if values == ".*":  # a variable of the dashboard, of which all are chosen
                if label not in {*family.labels, "cluster"}:
                    yield f"{name} has no label {label}"
            elif label not in family.labels:
                yield f"{name} has no label {label}"
            else:
                result = family.labels[label]
                yield from (f"{name} has no {label} {each}" for each in values.split("|") if f"`{each}`" not in result)
    if not found:
        return
    known = {label for family in found.values() for label in family.labels} | SCRAPED
    if any(family.kind == "histogram" for family in found.values()):
        known |= {"le"}
    for clause in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression):
        yield from (f"no label {each}" for each in clause.replace(" ", "").split(",") if each not in known)
    kept = {
        each for clause in re.findall(r"\bby \(([^)]*)\)", expression) for each in clause.replace(" ", "").split(",")
    }
    told_labels = re.findall(r"\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}", legend)
    yield from (f"the text names {each}, which is not kept" for each in told_labels if each not in kept | SCRAPED)


def test_the_dashboard_asks_for_what_there_is() -> None:
    panels = prometheus.dashboard()
    assert {each.title: list(complaints(each.expression, each.legend)) for each in panels} == {
        each.title: [] for each in panels
    }


def test_the_alerts_ask_for_what_there_is() -> None:
    rules = [each for group in prometheus.rules()["groups"] for each in group["rules"]]
    result = {each["alert"]: list(complaints(each["expr"], each["annotations"]["summary"])) for each in rules}
    assert result == {each["alert"]: [] for each in rules}


def test_the_dashboard_chooses_by_cluster_and_namespace() -> None:
    """Every query is of the clusters that are chosen, and what is known by namespace of the namespaces."""
    variables, expressions = prometheus.dashboard_variables()
    assert {"cluster", "namespace"} <= set(variables)
    for expression in expressions:
        for name, matchers in prometheus.selectors(expression):
            assert 'cluster=~"$cluster"' in matchers, expression
            assert ('resource_namespace=~"$namespace"' in matchers) == (name == "nonroot_workloads"), expression


def test_every_metric_of_ours_is_on_the_dashboard() -> None:
    asked = {name for panel in prometheus.dashboard() for name, _ in prometheus.selectors(panel.expression)}
    assert FAMILIES.keys() - {re.sub("_bucket$", "", name) for name in asked} == set()


@pytest.mark.parametrize(
    ("expression", "legend", "complaint"),
    [
        ("sum(nonroot_review_total)", "", "no metric nonroot_review_total"),
        ('nonroot_workloads{status="fixed"}', "", "nonroot_workloads has no label status"),
        ('nonroot_workloads{state="broken"}', "", "nonroot_workloads has no state broken"),
        ('nonroot_workloads{namespace=~".*"}', "", "nonroot_workloads has no label namespace"),
        ("sum by (outcome) (nonroot_workloads)", "", "no label outcome"),
        ("sum by (le) (nonroot_workloads)", "", "no label le"),
        ("sum by (mode) (nonroot_workloads)", "{{state}}", "the text names state, which is not kept"),
    ],
)
def test_the_check_can_fail(expression: str, legend: str, complaint: str) -> None:
    assert list(complaints(expression, legend)) == [complaint]
