"""The label that makes enforcement fail closed, put and taken away as policies ask, and never where people have put one."""

from typing import Any

import pytest

from tests.unit.controller.test_policy_status import NAMESPACES, NOW, Scene
from webhook.controller.namespace_labels import LABELLED_BY
from webhook.controller.policy_status import PolicyStatusController

LABEL = "nonroot.dev/mode"


@pytest.fixture
def scene() -> Scene:
    made = Scene()
    made.statuses = PolicyStatusController(made.objects, made.events.append, labels_namespaces=True)
    made.namespace("shop", team="a")
    made.policy("shops", mode="Enforce", labelNamespaces=True)
    return made


def labels(scene: Scene, name: str = "shop") -> tuple[str | None, str | None]:
    """The mode label and who has put it."""
    (found,) = (each["metadata"] for each in scene.objects.all(NAMESPACES) if each["metadata"]["name"] == name)
    return found.get("labels", {}).get(LABEL), found.get("annotations", {}).get(LABELLED_BY)


async def test_a_namespace_that_a_policy_enforces_is_labelled_once_and_then_fails_closed(scene: Scene) -> None:
    await scene.round()
    assert labels(scene) == ("enforce", "shops")
    assert scene.objects.all(NAMESPACES)[0]["metadata"]["labels"]["team"] == "a"
    assert [each.type for each in scene.events if each.reason == "NamespaceLabelled"] == ["Normal"]
    await scene.round()
    scene.objects.writes.clear()
    await scene.round()
    assert scene.objects.writes == []
    policies = "/apis/nonroot.dev/v1alpha1/nonrootpolicies"
    assert scene.conditions(policies, "shops")["FailsOpen"] == "False NoneDoes"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"mode": "Audit", "labelNamespaces": True}, id="another mode"),
        pytest.param({"mode": "Enforce"}, id="no label any more"),
        pytest.param(
            {"mode": "Enforce", "labelNamespaces": True, "namespaceSelector": {"matchLabels": {"team": "b"}}},
            id="selects others",
        ),
    ],
)
async def test_the_label_goes_when_no_policy_asks_for_it_any_more(scene: Scene, change: dict[str, Any]) -> None:
    """Else a policy that is put back to Audit would go on enforcing by the label."""
    await scene.round()
    scene.policy("shops", **change)
    await scene.round()
    assert labels(scene) == (None, None)


async def test_a_policy_that_selects_by_the_labels_absence_is_not_confused_by_its_own(scene: Scene) -> None:
    unlabelled = {"matchExpressions": [{"key": LABEL, "operator": "DoesNotExist"}]}
    scene.policy("shops", mode="Enforce", labelNamespaces=True, namespaceSelector=unlabelled)
    for _ in range(3):
        await scene.round()
        assert labels(scene) == ("enforce", "shops")


async def test_another_policy_takes_the_label_over(scene: Scene) -> None:
    await scene.round()
    scene.policy("first", mode="Enforce", labelNamespaces=True, priority=1)
    await scene.round()
    assert labels(scene) == ("enforce", "first")


@pytest.mark.parametrize("own", ["audit", "enforce", "typo"])
async def test_a_label_that_somebody_has_put_is_left_alone(scene: Scene, own: str) -> None:
    scene.namespace("shop", **{LABEL: own})
    await scene.round()
    assert labels(scene) == (own, None)


async def test_where_no_hook_is_asked_nothing_is_labelled(scene: Scene) -> None:
    scene.policy("shops", mode="Enforce", labelNamespaces=True, exemptions={"namespaces": ["ci"]})
    for name in ("kube-system", "openshift-monitoring", "ci"):
        scene.namespace(name)
    await scene.round()
    assert [labels(scene, name) for name in ("kube-system", "openshift-monitoring", "ci")] == [(None, None)] * 3


async def test_without_the_right_nothing_is_labelled_and_the_condition_says_how(scene: Scene) -> None:
    scene.statuses = PolicyStatusController(scene.objects, scene.events.append)
    await scene.round(NOW)
    assert labels(scene) == (None, None)
    (policy,) = scene.objects.all("/apis/nonroot.dev/v1alpha1/nonrootpolicies")
    (open_,) = (each for each in policy["status"]["conditions"] if each["type"] == "FailsOpen")
    assert "let the controller do it by the chart's controller.labelNamespaces" in open_["message"]
