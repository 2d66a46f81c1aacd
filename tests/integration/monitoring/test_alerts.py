"""Every alert fires when it should, and not when it nearly should: by promtool's unit tests."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import prometheus

pytestmark = pytest.mark.prometheus

CASES: dict[str, dict[str, dict[str, Any]]] = yaml.safe_load(Path(__file__).with_name("alerts.yaml").read_text())


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The alerts as a rule file."""
    path = tmp_path_factory.mktemp("rules") / "alerts.yaml"
    path.write_text(yaml.safe_dump(prometheus.rules()))
    return path


def _test(alert: str, case: dict[str, Any], *, fires: bool) -> dict[str, Any]:
    """A unit test of promtool's: the alert is firing, or is not."""
    firing = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)'
    return {
        "interval": "1m",
        "input_series": [{"series": series, "values": str(values)} for series, values in case["series"].items()],
        "promql_expr_test": [
            {"expr": firing, "eval_time": f"{case['at']}m", "exp_samples": [{"labels": "{}", "value": int(fires)}]}
        ],
    }


def test_the_rules_are_well_formed(rules: Path) -> None:
    assert f"SUCCESS: {len(CASES)} rules found" in prometheus.promtool("check", "rules", rules)


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    assert {alert: set(cases) for alert, cases in CASES.items()} == {
        alert: {"fires", "quiet"} for alert in prometheus.alerts()
    }


@pytest.mark.parametrize("outcome", ["fires", "quiet"])
@pytest.mark.parametrize("alert", CASES)
def test_an_alert(rules: Path, alert: str, outcome: str) -> None:
    result = _test(alert, CASES[alert][outcome], fires=outcome == "fires")
    path = rules.with_name(f"{alert}-{outcome}.yaml")
    path.write_text(yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [result]}))
    prometheus.promtool("test", "rules", path)
