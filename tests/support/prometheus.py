"""Debian's Prometheus and promtool, installed if they are not there; and the expressions that the chart hands to them."""

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import yaml

from deploy.local import apt, build
from tests.support.helm import CHART, TOOLS, pick, template

START_LIMIT = 60.0  # seconds
WINDOW = "1m"  # what Grafana would put in for $__rate_interval


class Panel(msgspec.Struct, frozen=True):
    """One query of the dashboard."""

    title: str
    expression: str
    legend: str


def dashboard() -> list[Panel]:
    """Every query of the dashboard, as the chart renders it."""
    return [
        Panel(panel["title"], _filled_in(each["expr"]), each["legendFormat"])
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


def _filled_in(expression: str) -> str:
    """An expression with what Grafana puts in for its variables: of those that are chosen from a list, all."""
    return re.sub(r"\$(cluster|namespace)\b", ".*", expression.replace("$__rate_interval", WINDOW))


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
    _install()
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Prometheus:
    """A server that scrapes every second."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(self, path: str, **query: str) -> Any:
        """The data of an answer of its HTTP API."""
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as reply:
            return json.load(reply)["data"]

    def query(self, expression: str) -> list[Any]:
        """The series that an expression gives now."""
        result: list[Any] = self.ask("query", query=expression)["result"]
        return result


@contextmanager
def prometheus(targets: Sequence[str], folder: Path) -> Iterator[Prometheus]:
    """Run it in a folder, with the chart's alerts; every target, HOST:PORT, has then been scraped some times."""
    _install()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "alerts.yaml").write_text(yaml.safe_dump(rules()))
    jobs = [{"job_name": "nonroot", "static_configs": [{"targets": list(targets)}]}]
    config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "scrape_configs": jobs}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config | {"rule_files": ["alerts.yaml"]}))
    listen = f"--web.listen-address=127.0.0.1:{port}"
    command = ["prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data", listen]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            running = Prometheus(port)
            deadline = time.monotonic() + START_LIMIT
            while not _scraped(running, len(targets)):
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.5)
            yield running
        finally:
            process.terminate()


def _scraped(running: Prometheus, targets: int) -> bool:
    try:
        return len(running.query("sum_over_time(up[1m]) >= 4")) == targets
    except OSError:
        return False


def _install() -> None:
    if shutil.which("prometheus") is None:
        apt.install("prometheus")
