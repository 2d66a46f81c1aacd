"""Prometheus and promtool as the tests use them, and the expressions that the chart hands to them."""

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from deploy.local import build
from deploy.local import prometheus as server
from deploy.local.prometheus import Prometheus
from tests.support.helm import CHART, TOOLS, pick, template

__all__ = ["Prometheus"]


class Panel(msgspec.Struct, frozen=True):
    """One query of the dashboard."""

    title: str
    expression: str
    legend: str


def dashboard() -> list[Panel]:
    """Every query of the dashboard, as the chart renders it."""
    return [
        Panel(panel["title"], server.filled_in(each["expr"]), each["legendFormat"])
        for panel in _dashboard()["panels"]
        for each in panel.get("targets", ())
    ]


def dashboard_variables() -> tuple[list[str], list[str]]:
    """The dashboard's variables, and its queries with them."""
    found = _dashboard()
    expressions = [each["expr"] for panel in found["panels"] for each in panel.get("targets", ())]
    return [each["name"] for each in found["templating"]["list"]], expressions


def _dashboard() -> dict[str, Any]:
    build.ensure(TOOLS)
    data = pick(template(CHART / "ci/all-values.yaml"), "ConfigMap", "nonroot-webhook-dashboard")["data"]
    found: dict[str, Any] = json.loads(data["nonroot-webhook.json"])
    return found


def rules() -> dict[str, Any]:
    """The alert rules, as Prometheus' own rule file."""
    build.ensure(TOOLS)
    spec: dict[str, Any] = pick(template(CHART / "ci/all-values.yaml"), "PrometheusRule", "nonroot-webhook")["spec"]
    return spec


def alerts() -> dict[str, str]:
    """The alerts by name, and what fires them."""
    return {each["alert"]: each["expr"] for group in rules()["groups"] for each in group["rules"]}


def selectors(expression: str) -> list[tuple[str, str]]:
    """The metrics of ours in an expression, each with its matchers in braces, or nothing."""
    return re.findall(r"\b(nonroot_[a-z_]+)((?:\{[^}]*\})?)", expression)


def promtool(*arguments: str | Path) -> str:
    """What promtool prints; AssertionError with that where it fails."""
    server.install()
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def prometheus(targets: Sequence[str], folder: Path) -> Iterator[Prometheus]:
    """Run it in a folder, with the chart's alerts; every target, HOST:PORT, has then been scraped some times."""
    with server.prometheus(targets, folder, rules()) as running:
        yield running
