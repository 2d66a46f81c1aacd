"""What a review costs on one Python beside another: `python -m tests.bench.pythons PYTHON PYTHON…`.

Each interpreter has the packages of requirements.txt. The servers take turns, on one connection, so CPU and memory are
comparable on a busy machine, too; clocks are not, and are not shown.
"""

import http.client
import os
import re
import ssl
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REVIEWS = {
    name: (Path(__file__).parent / "reviews" / f"{name}.json").read_bytes() for name in ("good", "violating", "fat")
}
ROUNDS = 5
COUNT = 2000
TICK = os.sysconf("SC_CLK_TCK")


class Server:
    """A running `nonroot serve --standalone`."""

    def __init__(self, python: str) -> None:
        command = [
            python,
            "-m",
            "webhook",
            "serve",
            "--standalone",
            "--self-signed",
            "--port",
            "0",
            "--metrics-port",
            "0",
        ]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        ports: list[str] = []
        while len(ports) < 2:
            ports += re.findall(r"at https?://\S+:(\d+)$", self.process.stderr.readline().strip())
        self.start = self.cpu()
        with urllib.request.urlopen(f"http://127.0.0.1:{ports[1]}/ca.crt", timeout=10) as reply:
            context = ssl.create_default_context(cadata=reply.read().decode())
        self._connection = http.client.HTTPSConnection("localhost", int(ports[0]), timeout=30, context=context)

    def cpu(self) -> float:
        """Seconds of CPU that the process has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self) -> float:
        """MiB that are its own or shared with nobody: Pss."""
        text = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        (kilobytes,) = re.findall(r"^Pss: +(\d+) kB", text, re.MULTILINE)
        return int(kilobytes) / 1024

    def ask(self, body: bytes, count: int) -> float:
        """Microseconds of CPU that one of so many reviews takes."""
        before = self.cpu()
        for _ in range(count):
            self._connection.request("POST", "/validate?timeout=5s", body, {"Content-Type": "application/json"})
            reply = self._connection.getresponse()
            reply.read()
            assert reply.status == 200
        return (self.cpu() - before) / count * 1e6


@contextmanager
def _servers(pythons: list[str]) -> Iterator[list[Server]]:
    running: list[Server] = []
    try:
        running += [Server(python) for python in pythons]
        yield running
    finally:
        for each in running:
            each.process.terminate()
            each.process.wait()


def main(pythons: list[str]) -> list[str]:
    """A table: the median of some rounds."""
    lines = ["| Python | CPU to start, s | Pss, MiB | " + " | ".join(f"µs of CPU, {name}" for name in REVIEWS) + " |"]
    lines.append("|---" * (3 + len(REVIEWS)) + "|")
    starts: list[list[float]] = []
    for _ in range(ROUNDS):
        with _servers(pythons) as servers:
            starts.append([each.start for each in servers])
    with _servers(pythons) as servers:
        for each in servers:
            for body in REVIEWS.values():
                each.ask(body, COUNT // 3)  # what is compiled and kept at first
        costs = [[[each.ask(body, COUNT) for each in servers] for body in REVIEWS.values()] for _ in range(ROUNDS)]
        for place, (python, each) in enumerate(zip(pythons, servers, strict=True)):
            version = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout.split()[
                1
            ]
            start = statistics.median(round_[place] for round_ in starts)
            cells = [statistics.median(round_[row][place] for round_ in costs) for row in range(len(REVIEWS))]
            row = " | ".join(f"{cell:.0f}" for cell in cells)
            lines.append(f"| {version} | {start:.2f} | {each.memory():.1f} | {row} |")
    return lines


if __name__ == "__main__":
    print("\n".join(main(sys.argv[1:])))
