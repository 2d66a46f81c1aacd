"""Which objects a document holds, and which of them are workloads."""

from typing import Any

import pytest

from webhook.check.manifest.objects import KNOWN_TEMPLATE_KINDS, objects, parse_template_kind, workload
from webhook.check.manifest.parser import documents
from webhook.errors import InvalidSetting, MalformedReview

POD = "{metadata: {name: p}, spec: {containers: [{name: c, image: i}]}}"


def found(text: str) -> list[Any]:
    """(kind, pointer in the document, pointer of the Pod spec in the object) of every object."""
    result = []
    for root in documents(text):
        for each in objects(root):
            verdict = workload(each)
            result.append((each.kind, each.pointer, verdict and verdict.pointer))
    return result


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{apiVersion: v1, kind: Pod, " + POD[1:], [("Pod", "", "/spec")]),
        (f"{{apiVersion: apps/v1, kind: Deployment, spec: {{template: {POD}}}}}", [("Deployment", "", "/spec/template/spec")]),
        (f"{{apiVersion: batch/v1, kind: CronJob, spec: {{jobTemplate: {{spec: {{template: {POD}}}}}}}}}",
         [("CronJob", "", "/spec/jobTemplate/spec/template/spec")]),
        (f"{{apiVersion: v1, kind: PodTemplate, template: {POD}}}", [("PodTemplate", "", "/template/spec")]),
        (f"{{apiVersion: argoproj.io/v1alpha1, kind: Rollout, spec: {{template: {POD}}}}}",
         [("Rollout", "", "/spec/template/spec")]),
        (f"{{apiVersion: batch.volcano.sh/v1alpha1, kind: Job, spec: {{template: {POD}}}}}", [("Job", "", None)]),
        ("{apiVersion: v1, kind: ConfigMap}", [("ConfigMap", "", None)]),
        ("{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Service}, {apiVersion: v1, kind: Pod, " + POD[1:] + "]}",
         [("Service", "/items/0", None), ("Pod", "/items/1", "/spec")]),
        ("{apiVersion: v1, kind: PodList, items: [{apiVersion: v1, kind: Pod, " + POD[1:] + "]}", [("Pod", "/items/0", "/spec")]),
        ("{apiVersion: v1, kind: List, items: null}", [("List", "", None)]),
        ("{kind: Pod}", []),
        ("{apiVersion: 1, kind: Pod}", []),
        ("[1, 2]", []),
        ("text", []),
        ("replicas: 2\nimage: {tag: x}", []),
    ],
)  # fmt: skip
def test_objects_and_their_workloads_are_found(text: str, expected: list[Any]) -> None:
    """Lists are opened, groups matter, and values files are no objects."""
    assert found(text) == expected


def test_lists_within_lists_end_somewhere() -> None:
    """At a depth that nobody writes."""
    text = "{apiVersion: v1, kind: Pod}"
    for _ in range(12):
        text = f"{{apiVersion: v1, kind: List, items: [{text}]}}"
    assert found(text) == []


def test_a_malformed_workload_says_so() -> None:
    """As the API server would."""
    with pytest.raises(MalformedReview, match=r"spec\.containers: must be a list, not a whole number"):
        found("{apiVersion: v1, kind: Pod, metadata: {}, spec: {containers: 5}}")


def test_custom_kinds_are_named_with_the_place_of_their_template() -> None:
    """And anything else is refused with an example."""
    assert parse_template_kind("example.com/Worker=/spec/pod/") == (("example.com", "Worker"), "/spec/pod")
    kinds = {**KNOWN_TEMPLATE_KINDS, **dict([parse_template_kind("example.com/Worker=/spec/pod")])}
    root = next(documents(f"{{apiVersion: example.com/v1, kind: Worker, metadata: {{name: w}}, spec: {{pod: {POD}}}}}"))
    verdict = workload(next(objects(root)), kinds)
    assert verdict is not None
    assert (verdict.kind, verdict.name, verdict.pointer) == ("Worker", "w", "/spec/pod/spec")
    for text in ("Worker=/spec", "example.com/Worker", "example.com/=/spec", "example.com/Worker=spec"):
        with pytest.raises(InvalidSetting, match="GROUP/KIND=POINTER"):
            parse_template_kind(text)


def test_a_custom_kind_without_the_template_is_no_workload() -> None:
    """Nothing is guessed."""
    root = next(documents("{apiVersion: argoproj.io/v1alpha1, kind: Rollout, spec: {workloadRef: {name: x}}}"))
    assert workload(next(objects(root))) is None
