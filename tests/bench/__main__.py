"""`make bench`: what the product costs, beside others in the same run; SECTIONS="throughput cold" runs some of it.

PEERS=all adds the policy engines, which take half an hour to build. Each section is a module with a `main` that returns the
lines of its part; parts that are not run again stay in results.md. The documentation's figures are written anew from all of it.
"""

import asyncio
import importlib
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime

from tests.bench import load, quoted
from tests.bench.quoted import RESULTS

SECTIONS = {
    "throughput": "Beside Kubernetes' own Pod Security webhook",
    "mixture": "As clusters send them",
    "engines": "Beside Gatekeeper and Kyverno",
    "scaling": "As the work grows",
    "cold": "Cold images",
    "layers": "Layers, read beside the libraries alone",
    "apiserver": "Through a real API server",
    "footprint": "Memory, start, replicas",
    "large": "In a large cluster",
    "scan": "A scan from outside: `nonroot scan`",
    "start": "The command line",
    "linters": "Files: `nonroot check` beside checkov and hadolint",
}


def main(wanted: list[str]) -> None:
    """Run some sections, and write all."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    parts = {name: _part(text, title) for name, title in SECTIONS.items()}
    for name in wanted or [name for name in SECTIONS if name != "engines" or os.environ.get("PEERS") == "all"]:
        print(f"{name} …", flush=True)
        lines = asyncio.run(importlib.import_module(f"tests.bench.{name}").main())
        parts[name] = "\n".join([f"## {SECTIONS[name]}", "", f"Measured {_machine()}.", "", *lines]).rstrip() + "\n"
        print(parts[name], flush=True)
        RESULTS.write_text("\n".join(["# What it costs\n", *filter(None, parts.values())]), encoding="utf-8")
    quoted.write()


def _part(text: str, title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[0].rstrip() + "\n" if found else ""


def _machine() -> str:
    cores = len(os.sched_getaffinity(0))
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return (
        f"{datetime.now(UTC):%Y-%m-%d} at {commit}: {cores} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load by oha {load.VERSION} on the same machine, loopback; "
        f"load average {os.getloadavg()[0]:.1f} at the end"
    )


if __name__ == "__main__":
    main(sys.argv[1:] or os.environ.get("SECTIONS", "").split())
