"""`make bench`: what the product costs, beside others in the same run; SECTIONS="throughput cold" runs some of it.

Some sections need an API server, which runs beside all of them, alone, unless KUBECONFIG names one; a node would take CPU from
what is measured.
PEERS=all adds the policy engines, which take half an hour to build. Each section is a module with a `main` that returns the
lines of its part; parts that are not run again stay in results.md. The documentation's figures are written anew from all of it.
"""

import asyncio
import contextlib
import importlib
import os
import platform
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from datetime import UTC, datetime

from deploy.local import build, cluster
from deploy.local.commands import interrupt_on_termination
from tests.bench import load, quoted
from tests.bench.quoted import RESULTS
from tests.support import control_plane

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


@contextlib.contextmanager
def _api_server() -> Iterator[None]:
    if "KUBECONFIG" in os.environ:
        yield
        return
    build.ensure(say=print)
    with control_plane.alone("127.0.0.1", controllers=True) as layout:
        os.environ |= {"KUBECONFIG": str(layout.kubeconfig), "PATH": cluster.tools_path()}
        yield


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
        f"{_python()}, load by oha {load.VERSION} on the same machine, loopback; "
        f"load average {os.getloadavg()[0]:.1f} at the end"
    )


def _python() -> str:
    """The interpreter, and whether it is optimised as that of the official image is."""
    given = shlex.split(sysconfig.get_config_var("CONFIG_ARGS") or "")
    options = [each for each in ("--enable-optimizations", "--with-lto") if each in given]
    return f"Python {platform.python_version()} built with {' '.join(options) or 'neither PGO nor LTO'}"


if __name__ == "__main__":
    interrupt_on_termination()
    with _api_server():
        main(sys.argv[1:] or os.environ.get("SECTIONS", "").split())
