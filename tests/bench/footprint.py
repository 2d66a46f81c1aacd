"""Memory, the time to start, and what a second replica brings.

With a view: what a replica holds of 5,000 namespaces, 100 policies and 10,000 images' identities, in a process of its own.
Two replicas stand behind a balancer that only carries bytes; on two cores, with the load beside them, they cannot double.
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
from collections.abc import AsyncIterator
from pathlib import Path

from tests.bench import load, servers
from tests.bench.throughput import REVIEWS

STARTS = 7
SECONDS = 2
ROUNDS = 3
CONNECTIONS = 16
HELD = """
import gc, os, sys
from tests.bench import scaling, servers
from webhook.view import StaticView
from webhook.serve import server
from webhook.scope import Namespace
if sys.argv[1] == "cluster":
    from webhook.serve import watch
    from webhook import cluster
    import kubernetes.client
names = {f"n{number}": Namespace(f"n{number}", {"team": f"t{number}"}) for number in range(int(sys.argv[2]))}
view = StaticView(scaling._documents(policies=100), names)
for name in names:
    view.govern(name)
known = scaling.Known(f"{scaling.APP}-{number}:1" for number in range(int(sys.argv[3])))
gc.collect()
print(int(open("/proc/self/statm").read().split()[1]) * servers.PAGE / 2**20)
"""


async def main() -> list[str]:
    """The section's lines."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers.certificate(folder)
        starts, idle = await asyncio.to_thread(_starts, folder)
        one, two = await _replicas(folder)
    bare, full = await _held("0", "0"), await _held("5000", "10000")
    return [
        (
            f"- Start to ready, standalone: {statistics.median(starts):.2f} s (median of {STARTS}, "
            f"{min(starts):.2f} to {max(starts):.2f}), {idle[1]:.2f} s of CPU."
        ),
        f"- Memory idle, standalone: {idle[0]:.0f} MiB.",
        (
            f"- Memory with all that a replica in a cluster imports: {bare:.0f} MiB; with 5,000 namespaces, 100 policies and "
            f"10,000 identities besides: {full:.0f} MiB."
        ),
        (
            f"- Through a balancer, {CONNECTIONS} connections: one replica {one:,.0f} reviews/s, two {two:,.0f} "
            f"({two / one:.2f} times, on {len(os.sched_getaffinity(0))} cores shared with load and balancer)."
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


async def _held(namespaces: str, images: str) -> float:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HELD, "cluster", namespaces, images, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return float(out)


async def _replicas(folder: Path) -> tuple[float, float]:
    """Reviews a second of one replica and of two, through the same balancer."""
    ports = servers.ports(2)
    with contextlib.ExitStack() as stack:
        for port in ports:
            stack.enter_context(servers.ours(folder, port, "127.0.0.1:1"))
        rates: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(ROUNDS):
            for count, found in rates.items():
                async with _balancer(ports[:count]) as door:
                    url = f"https://127.0.0.1:{door}/validate?timeout=5s"
                    figure = await asyncio.to_thread(load.run, url, REVIEWS / "good.json", CONNECTIONS, SECONDS)
                    found.append(figure.rate)
    return statistics.median(rates[1]), statistics.median(rates[2])


@contextlib.asynccontextmanager
async def _balancer(ports: list[int]) -> AsyncIterator[int]:
    """A door that gives each connection to the next replica, as a Service does, and carries its bytes."""
    turn = 0

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        turn += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", ports[turn % len(ports)])
        await asyncio.gather(_carry(reader, far_writer), _carry(far_reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await source.read(1 << 16):
            sink.write(piece)
            await sink.drain()
    sink.close()


if __name__ == "__main__":
    print("\n".join(asyncio.run(main())))
