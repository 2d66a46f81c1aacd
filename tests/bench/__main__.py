"""`make bench`: reviews a second, latency and CPU a review, ours beside Kubernetes' own Pod Security webhook, interleaved.

Each figure is the median of ROUNDS runs of SECONDS each; what to hold is the ratio, for both run in turn on the same machine.
"""

import asyncio
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from deploy.demo.images import DEBIAN
from deploy.local.paths import cache
from tests.bench import servers
from tests.bench.servers import Server
from tests.support.oci import accounts_layer, image
from tests.support.registry import Registry
from webhook import certificates

HERE = Path(__file__).parent
RESULTS = HERE / "results.md"
ROUNDS = 3
SECONDS = 2
CONNECTIONS = (1, 16, 64)
OHA = "1.16.0"
PEER = "k8s.io/pod-security-admission/cmd/webhook"


class Case(NamedTuple):
    """One kind of review, at one door."""

    name: str
    body: Path
    door: str = "validate"


class Figure(NamedTuple):
    """One run."""

    rate: float  # reviews a second
    p50: float  # milliseconds
    p99: float
    cpu: float  # milliseconds a review


async def main() -> None:
    """Build what is needed, run, print and write."""
    program, oha = _peer(), _oha()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        _, cert, key = certificates.self_signed(("localhost", "127.0.0.1"), datetime.now(UTC))
        (folder / "tls.crt").write_bytes(cert)
        (folder / "tls.key").write_bytes(key)
        async with Registry() as registry:
            layer = accounts_layer(*DEBIAN, "app:x:1000:1000::/:/bin/sh")
            registry.push("bench/app:1", image(layer, user="app"))
            cases = _cases(folder, f"{registry.host}/bench/app:1")
            ports = iter(_ports(3))
            running = [
                stack.enter_context(servers.ours(folder, next(ports), registry.host)),
                stack.enter_context(servers.floor(folder, next(ports))),
            ]
            _namespace()
            running.append(stack.enter_context(servers.pod_security(folder, next(ports), program)))
            idle = {server.name: server.rss for server in running}
            figures = await asyncio.to_thread(_measure, running, cases, oha)
    text = _report(figures, idle)
    print(text)
    RESULTS.write_text(text, encoding="utf-8")


def _measure(running: list[Server], cases: list[Case], oha: Path) -> dict[tuple[str, int, str], Figure]:
    runs: defaultdict[tuple[str, int, str], list[Figure]] = defaultdict(list)
    for case in cases:
        for server in running:
            _run(oha, server, case, 16, 1)  # warm: images read, code compiled, connections tried
    for _ in range(ROUNDS):
        for case in cases:
            for connections in CONNECTIONS:
                for server in running:
                    if getattr(server, case.door):
                        runs[case.name, connections, server.name].append(_run(oha, server, case, connections, SECONDS))
    return {
        key: Figure(*(statistics.median(each[index] for each in found) for index in range(4)))
        for key, found in runs.items()
    }


def _run(oha: Path, server: Server, case: Case, connections: int, seconds: int) -> Figure:
    url = getattr(server, case.door)
    if not url:
        return Figure(0, 0, 0, 0)
    command = [
        str(oha),
        "--no-tui",
        "--insecure",
        "--output-format",
        "json",
        "-z",
        f"{seconds}s",
        "-c",
        str(connections),
    ]
    command += ["-m", "POST", "-H", "Content-Type: application/json", "-D", str(case.body), f"{url}?timeout=5s"]
    before = server.cpu
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    spent = server.cpu - before
    found: dict[str, Any] = json.loads(done.stdout)
    count = sum(found["statusCodeDistribution"].values())
    if set(found["statusCodeDistribution"]) != {"200"}:
        raise SystemExit(f"{server.name} answered {found['statusCodeDistribution']} to {case.name}")
    percentiles = found["latencyPercentiles"]
    return Figure(
        count / found["summary"]["total"], percentiles["p50"] * 1000, percentiles["p99"] * 1000, spent / count * 1000
    )


def _report(figures: dict[tuple[str, int, str], Figure], idle: dict[str, float]) -> str:
    cores = len(os.sched_getaffinity(0))
    lines = [
        (
            f"Measured {datetime.now(UTC):%Y-%m-%d} by `make bench`: {cores} cores, {platform.system()} {platform.release()}, "
            f"Python {platform.python_version()}; medians of {ROUNDS} interleaved runs of {SECONDS} s, TLS, keep-alive, loopback, "
            f"load by oha {OHA} on the same machine."
        ),
        "",
        "| review | connections | server | reviews/s | p50 ms | p99 ms | CPU ms/review | ours against it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (case, connections, server), figure in figures.items():
        own = figures[case, connections, "nonroot-webhook"]
        ratio = "" if figure is own else f"{own.rate / figure.rate:.2f} × rate, {own.cpu / figure.cpu:.2f} × CPU"
        lines.append(
            f"| {case} | {connections} | {server} | {figure.rate:,.0f} | {figure.p50:.2f} | {figure.p99:.2f} | "
            f"{figure.cpu:.3f} | {ratio} |"
        )
    memory = ", ".join(f"{name} {size:.0f} MiB" for name, size in idle.items())
    return "\n".join([*lines, "", f"Memory when idle: {memory}.", ""])


def _cases(folder: Path, named: str) -> list[Case]:
    """The captured reviews; the violating one names an image of our registry, so that its USER has to be looked up."""
    violating = json.loads((HERE / "reviews" / "bad.json").read_text())
    for container in violating["request"]["object"]["spec"]["containers"]:
        container["image"] = named
    body = folder / "violating.json"
    body.write_text(json.dumps(violating, separators=(",", ":")))
    return [
        Case("compliant, 4 KB", HERE / "reviews" / "good.json"),
        Case("violating, image known", body),
        Case("13 containers, 31 KB", HERE / "reviews" / "fat.json"),
        Case("mutate, full patch", body, "mutate"),
    ]


def _namespace() -> None:
    """The namespace of the captured reviews, where the peer enforces `restricted`."""
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "peers"}}
    made["metadata"] |= {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}  # type: ignore[operator]
    subprocess.run(["kubectl", "apply", "-f", "-"], input=json.dumps(made), text=True, check=True, capture_output=True)


def _peer() -> Path:
    program = cache() / "bench" / "pod-security-webhook"
    if not program.exists():
        print("building the Pod Security webhook (minutes, once)")
        subprocess.run(["go", "build", "-o", str(program), PEER], cwd=HERE / "peers", check=True)
    return program


def _oha() -> Path:
    if found := shutil.which("oha"):
        return Path(found)
    root = cache() / "bench"
    program = root / "bin" / "oha"
    if not program.exists():
        print("building oha (minutes, once)")
        subprocess.run(["cargo", "install", "--quiet", "--locked", "--root", str(root), f"oha@{OHA}"], check=True)
    return program


def _ports(count: int) -> Iterable[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return found


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
