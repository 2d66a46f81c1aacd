"""What a policy says, by itself."""

from typing import Any

import msgspec
import pytest

from tests.support.tables import table
from webhook.image.source import Cause
from webhook.policy.types import Action, Expression, LabelSelector, OnUnknown, PolicySpec


@table(
    ("inject", "mode", "expected"),
    {
        "unset in Enforce": (None, "Enforce", True),
        "unset in Warn": (None, "Warn", False),
        "unset in Audit": (None, "Audit", False),
        "Never in Enforce": ("Never", "Enforce", False),
        "Always in Audit": ("Always", "Audit", True),
    },
)
def test_injection_is_settable_apart_from_the_mode(inject: Any, mode: Any, expected: bool) -> None:
    """Audit with Always cures and never refuses."""
    assert PolicySpec(inject=inject).injects(mode) is expected


@table(
    ("given", "cause", "action"),
    {
        "the default": ({}, "notFound", "Verify"),
        "invalid content": ({}, "invalid", "Deny"),
        "another default": ({"default": "Deny"}, "tooLarge", "Deny"),
        "a default does not soften invalid": ({"default": "Allow"}, "invalid", "Deny"),
        "a cause of its own": ({"default": "Deny", "rateLimited": "Allow"}, "rateLimited", "Allow"),
        "of two words": ({"notFound": "Deny"}, "notFound", "Deny"),
        "null is the default": ({"invalid": None}, "invalid", "Verify"),
    },
)
def test_what_to_do_about_the_unknown(given: dict[str, Any], cause: str, action: Action) -> None:
    """By cause, else by default."""
    assert msgspec.convert(given, OnUnknown).action(cause) == action


def test_what_is_not_set_is_verified_where_it_is_enforced_and_else_warned_of() -> None:
    """Whatever is not set; a default holds in every mode."""
    unset, denied = OnUnknown(), OnUnknown(default="Deny")
    assert [unset.default_action(enforced=each) for each in (True, False)] == ["Verify", "Warn"]
    assert [unset.action("pending", enforced=each) for each in (True, False)] == ["Verify", "Warn"]
    assert denied.action("pending", enforced=False) == "Deny"


def test_every_cause_has_a_setting() -> None:
    """So that none can be forgotten when one is added."""
    for cause in Cause.__args__:  # type: ignore[attr-defined]  # a Literal has them
        assert msgspec.convert({cause: "Allow", "default": "Deny"}, OnUnknown).action(cause) == "Allow"


@table(
    ("operator", "values", "labels", "expected"),
    {
        "In with the value": ("In", ("a", "b"), {"k": "a"}, True),
        "In with another": ("In", ("a",), {"k": "b"}, False),
        "In without the label": ("In", ("a",), {}, False),
        "NotIn with the value": ("NotIn", ("a",), {"k": "a"}, False),
        "NotIn with another": ("NotIn", ("a",), {"k": "b"}, True),
        "NotIn without the label": ("NotIn", ("a",), {}, True),
        "Exists": ("Exists", (), {"k": ""}, True),
        "Exists without the label": ("Exists", (), {}, False),
        "DoesNotExist": ("DoesNotExist", (), {}, True),
        "DoesNotExist with the label": ("DoesNotExist", (), {"k": ""}, False),
    },
)
def test_a_requirement(operator: Any, values: tuple[str, ...], labels: dict[str, str], expected: bool) -> None:
    """As Kubernetes' own selectors."""
    assert Expression("k", operator, values).matches(labels) is expected


@pytest.mark.parametrize(
    ("operator", "values"), [("In", ()), ("NotIn", ()), ("Exists", ("a",)), ("DoesNotExist", ("a",))]
)
def test_a_requirement_whose_values_do_not_fit_is_refused(operator: Any, values: tuple[str, ...]) -> None:
    """As the API server refuses it."""
    with pytest.raises(ValueError, match=r"^values belong to In and NotIn, which need one at least$"):
        Expression("k", operator, values)


def test_a_selector_is_all_of_its_parts() -> None:
    """And an empty one selects everything."""
    assert LabelSelector().matches({})
    selector = LabelSelector({"a": "1"}, (Expression("b", "Exists"),))
    assert selector.matches({"a": "1", "b": ""})
    assert not selector.matches({"a": "1"})
    assert not selector.matches({"b": ""})
