"""Memory, the time to start, and what more replicas bring; what a replica holds of a large cluster is in `large`.

Each replica is bound to one core, of which there are fewer than replicas, and the load runs there, too. Connections are spread
over them as by a Service, which is no process between them: so rates are added, and CPU a review tells what more cores would
bring.
"""

import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

from tests.bench import load, servers
from tests.bench.load import Figure
from tests.bench.servers import Server
from tests.bench.throughput import REVIEWS

GOOD = REVIEWS / "good.json"
STARTS = 7
SECONDS = 2
ROUNDS = 5
CONNECTIONS = 16
REPLICAS = (1, 2, 4)


async def main() -> list[str]:
    """The section's lines."""
    return await asyncio.to_thread(_section)


def _section() -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers.certificate(folder)
        starts, idle = _starts(folder)
        replicas = _replicas(folder)
    one = replicas[1]
    return [
        (
            f"- Start to ready, standalone, with compiled bytecode as in the image: {statistics.median(starts):.2f} s "
            f"(median of {STARTS}, {min(starts):.2f} to {max(starts):.2f}), {idle[1]:.2f} s of CPU."
        ),
        f"- Memory idle, standalone: {idle[0]:.0f} MiB.",
        f"- {CONNECTIONS} connections, on {len(os.sched_getaffinity(0))} cores shared with the load:",
        "",
        "| replicas | reviews/s | against one | p99 ms | CPU ms/review |",
        "|---|---|---|---|---|",
        *(
            f"| {count} | {each.rate:,.0f} | {each.rate / one.rate:.2f} × | {each.p99:.2f} | {each.cpu:.3f} |"
            for count, each in replicas.items()
        ),
        "",
    ]


def _starts(folder: Path) -> tuple[list[float], tuple[float, float]]:
    """Seconds from fork to the first 200 of /readyz; and of the last one its memory, and CPU seconds until then."""
    found = []
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    for _ in range(1 + STARTS):  # the first compiles
        (policy := folder / "policy.yaml").write_text(servers.POLICY)
        port, probes = servers.ports(2)
        command = [sys.executable, "-m", "webhook", "serve", "--standalone", "--policy", str(policy)]
        command += ["--port", str(port), "--metrics-port", str(probes)]
        command += ["--cert", str(folder / "tls.crt"), "--key", str(folder / "tls.key")]
        started = time.monotonic()
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
        while not _ready(probes):
            time.sleep(0.005)
        found.append(time.monotonic() - started)
        server = servers.Server(servers.OURS, process.pid, "")
        last = server.rss, server.cpu()
        process.terminate()
        process.wait()
    return found[1:], last


def _ready(port: int) -> bool:
    with contextlib.suppress(OSError):
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1).status == 200)
    return False


def _replicas(folder: Path) -> dict[int, Figure]:
    """So many replicas, each under its share of the connections."""
    with ExitStack() as stack:
        most = max(REPLICAS)
        found = [stack.enter_context(servers.ours(folder, port, "127.0.0.1:1")) for port in servers.ports(most)]
        for server, core in zip(found, cycle(os.sched_getaffinity(0)), strict=False):
            os.sched_setaffinity(server.pid, {core})
        _loaded(found)  # warm
        rounds = [[_loaded(found[:count]) for count in REPLICAS] for _ in range(ROUNDS)]
    return {count: load.median(list(each)) for count, each in zip(REPLICAS, zip(*rounds, strict=True), strict=True)}


def _loaded(found: list[Server]) -> Figure:
    """The load on all of them at once: their rates together, the worst p99, the mean of the CPU a review."""
    with ThreadPoolExecutor(len(found)) as pool:
        share = CONNECTIONS // len(found)
        figures = list(pool.map(lambda server: load.run(server.validate, GOOD, share, SECONDS, cpu=server.cpu), found))
    return Figure(
        sum(each.rate for each in figures),
        statistics.mean(each.p50 for each in figures),
        max(each.p99 for each in figures),
        statistics.mean(each.cpu for each in figures),
    )


if __name__ == "__main__":
    print("\n".join(asyncio.run(main())))
