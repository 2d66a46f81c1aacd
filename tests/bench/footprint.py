"""Memory, the time to start, and what a second replica brings; what a replica holds of a large cluster is in `large`.

Each of two replicas has a core of its own as far as two cores allow, for the load runs there, too. Connections are spread over
them as by a Service, which is no process between them: so rates are added, and CPU a review tells what more cores would bring.
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


async def main() -> list[str]:
    """The section's lines."""
    return await asyncio.to_thread(_section)


def _section() -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers.certificate(folder)
        starts, idle = _starts(folder)
        one, two = _replicas(folder)
    return [
        (
            f"- Start to ready, standalone: {statistics.median(starts):.2f} s (median of {STARTS}, "
            f"{min(starts):.2f} to {max(starts):.2f}), {idle[1]:.2f} s of CPU."
        ),
        f"- Memory idle, standalone: {idle[0]:.0f} MiB.",
        (
            f"- {CONNECTIONS} connections: one replica {one.rate:,.0f} reviews/s, two {two.rate:,.0f} "
            f"({two.rate / one.rate:.2f} times, on {len(os.sched_getaffinity(0))} cores shared with the load); a review takes "
            f"{one.cpu:.3f} ms of CPU with one, {two.cpu:.3f} with two."
        ),
        "",
    ]


def _starts(folder: Path) -> tuple[list[float], tuple[float, float]]:
    """Seconds from fork to the first 200 of /readyz; and of the last one its memory, and CPU seconds until then."""
    found = []
    for _ in range(STARTS):
        (policy := folder / "policy.yaml").write_text(servers.POLICY)
        port, probes = servers.ports(2)
        command = [sys.executable, "-m", "webhook", "serve", "--standalone", "--policy", str(policy)]
        command += ["--port", str(port), "--metrics-port", str(probes)]
        command += ["--cert", str(folder / "tls.crt"), "--key", str(folder / "tls.key")]
        started = time.monotonic()
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while not _ready(probes):
            time.sleep(0.005)
        found.append(time.monotonic() - started)
        server = servers.Server(servers.OURS, process.pid, "")
        last = server.rss, server.cpu()
        process.terminate()
        process.wait()
    return found, last


def _ready(port: int) -> bool:
    with contextlib.suppress(OSError):
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1).status == 200)
    return False


def _replicas(folder: Path) -> tuple[Figure, Figure]:
    """One replica under all connections, and two under half of them each."""
    with ExitStack() as stack:
        found = [stack.enter_context(servers.ours(folder, port, "127.0.0.1:1")) for port in servers.ports(2)]
        for server, core in zip(found, cycle(os.sched_getaffinity(0)), strict=False):
            os.sched_setaffinity(server.pid, {core})
        _loaded(found)  # warm
        rounds = [(_loaded(found[:1]), _loaded(found)) for _ in range(ROUNDS)]
    one, two = (load.median(list(each)) for each in zip(*rounds, strict=True))
    return one, two


def _loaded(found: list[Server]) -> Figure:
    """The load on all of them at once: their rates together, the rest of the first."""
    with ThreadPoolExecutor(len(found)) as pool:
        share = CONNECTIONS // len(found)
        figures = list(pool.map(lambda server: load.run(server.validate, GOOD, share, SECONDS, cpu=server.cpu), found))
    return figures[0]._replace(rate=sum(each.rate for each in figures))


if __name__ == "__main__":
    print("\n".join(asyncio.run(main())))
