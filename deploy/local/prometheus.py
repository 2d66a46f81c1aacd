"""Debian's Prometheus, installed if it is not there, and what the chart's dashboard asks it."""

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from . import apt
from .errors import ClusterError

START_LIMIT = 60.0  # seconds
_LISTENING = re.compile(r'msg="Listening on" address=127\.0\.0\.1:(\d+)')
RATE_INTERVAL = "1m"  # what Grafana would put in for $__rate_interval


def filled_in(expression: str) -> str:
    """An expression with what Grafana puts in for its variables: of those that are chosen from a list, all."""
    return re.sub(r"\$(cluster|namespace)\b", ".*", expression.replace("$__rate_interval", RATE_INTERVAL))


def install() -> None:
    """Prometheus and promtool."""
    if shutil.which("prometheus") is None:
        apt.install("prometheus")


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
def prometheus(targets: Sequence[str], folder: Path, rules: Mapping[str, Any]) -> Iterator[Prometheus]:
    """Run it in a folder, with some alerts; every target, HOST:PORT, has then been scraped some times."""
    install()
    (folder / "alerts.yaml").write_text(yaml.safe_dump(dict(rules)))
    jobs = [{"job_name": "nonroot", "static_configs": [{"targets": list(targets)}]}]
    config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "scrape_configs": jobs}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config | {"rule_files": ["alerts.yaml"]}))
    listen = "--web.listen-address=127.0.0.1:0"  # the log says which port it is
    command = ["prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data", listen]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            running = None
            deadline = time.monotonic() + START_LIMIT
            while running is None or not _scraped(running, len(targets)):
                ended = process.poll() is not None or time.monotonic() > deadline
                said = (folder / "log").read_text()
                if ended:
                    raise ClusterError(f"Prometheus does not scrape:\n{said}")
                port = _LISTENING.search(said)
                running = Prometheus(int(port[1])) if port else None
                time.sleep(0.5)
            yield running
        finally:
            process.terminate()


def _scraped(running: Prometheus, targets: int) -> bool:
    try:
        return len(running.query("sum_over_time(up[1m]) >= 4")) == targets
    except OSError:
        return False
