"""Which namespaces the installed hooks reach is read from the hooks that the chart makes."""

import json
from pathlib import Path

import yaml

from webhook.policy.selection import Namespace
from webhook.scan import coverage

CHART = Path(__file__).parents[3] / "charts/nonroot-webhook"


def test_before_anything_is_installed_the_chart_s_defaults_count() -> None:
    """They are those of values.yaml."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())["webhook"]["managedNamespaces"]
    assert coverage.DEFAULT.covers(Namespace("shop"))
    for name in (*values["names"], *(f"{prefix}x" for prefix in values["prefixes"])):
        assert not coverage.DEFAULT.covers(Namespace(name))
    assert coverage.read([]) is None
    assert coverage.read([b'{"webhooks": []}']) is None


def test_a_condition_of_somebody_else_s_does_not_count() -> None:
    """It is CEL, about anything."""
    hook = {"matchConditions": [{"name": "mine", "expression": "request.namespace != 'shop'"}]}
    found = coverage.read([json.dumps({"webhooks": [hook]}).encode()])
    assert found is not None
    assert found.covers(Namespace("shop"))
