"""The processes of the installed release, from outside: found by their container, stopped, killed, cut off, starved.

This works wherever the nodes' processes are this machine's too: on deploy/local, and on kind.
"""

import contextlib
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec

from deploy.release import NAMESPACE
from tests.e2e.target import Target, eventually

REVIEWS = re.compile(r"^nonroot_reviews_total\{.*\} (\S+)$", re.MULTILINE)
ADMISSION, CONTROLLER = "admission", "controller"
SHARED = Path("/dev/shm")  # noqa: S108  # memory is what it is for


class Replica(msgspec.Struct, frozen=True):
    """A Pod of ours and the first process of its container."""

    pod: str
    address: str
    pid: int

    @property
    def memory(self) -> int:
        """MiB resident."""
        return int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())[0]) // 1024

    @property
    def reviews(self) -> float:
        """How many it has answered so far."""
        with urllib.request.urlopen(f"http://{self.address}:8080/metrics", timeout=10) as reply:
            return sum(float(each) for each in REVIEWS.findall(reply.read().decode()))

    def kill(self) -> None:
        """SIGKILL: what a node's own kill or a crash is."""
        os.kill(self.pid, signal.SIGKILL)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP meanwhile: alive, and answering nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):  # the kubelet lost its patience
                os.kill(self.pid, signal.SIGCONT)

    def cut_off(self) -> AbstractContextManager[None]:
        """Drop every packet to and from the Pod but its own loopback's."""
        return self._filtered("iif != lo drop", "oif != lo drop")

    def behind_a_policy(self, caller: str) -> AbstractContextManager[None]:
        """What the chart's NetworkPolicy does where a network enforces it: the review port is for one caller alone."""
        return self._filtered(f"tcp dport 10250 ip saddr != {caller} drop")

    def without_names(self) -> AbstractContextManager[None]:
        """Whatever a name server answers is lost, and so is the word that there is none."""
        return self._filtered("meta l4proto { tcp, udp } th sport 53 drop; icmp type destination-unreachable drop")

    @contextlib.contextmanager
    def _filtered(self, incoming: str, outgoing: str = "") -> Iterator[None]:
        rules = f"""table inet survive {{
            chain in {{ type filter hook input priority 0; {incoming}; }}
            chain out {{ type filter hook output priority 0; {outgoing}{";" if outgoing else ""} }}
        }}"""
        self.run("nft", "-f", "-", text=rules)
        try:
            yield
        finally:
            with contextlib.suppress(subprocess.CalledProcessError):  # the network namespace is gone
                self.run("nft", "delete", "table", "inet", "survive")

    def run(self, *command: str, text: str = "") -> str:
        """What a program of this machine prints in the Pod's network."""
        entered = ["nsenter", f"--net=/proc/{self.pid}/ns/net", *command]
        return subprocess.run(entered, input=text, text=True, check=True, capture_output=True).stdout

    def exhaust_memory(self) -> None:
        """Fill the container's memory from beside it, with pages that are no process's, until the kernel kills for it."""
        groups = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{self.pid}/cgroup").read_text().splitlines())
        unified = "memory" not in groups
        folder = Path(
            "/sys/fs/cgroup", *(() if unified else ("memory",)), groups["" if unified else "memory"].lstrip("/")
        )
        limit = int((folder / ("memory.max" if unified else "memory.limit_in_bytes")).read_text())
        file = SHARED / f"survive-{self.pid}"
        hog = f"echo $$ > {folder / 'cgroup.procs'} && head -c {limit} /dev/zero > {file}; sleep 2"
        try:
            subprocess.run(["sh", "-c", hog], check=False, stderr=subprocess.DEVNULL, timeout=60)
        finally:
            file.unlink(missing_ok=True)


def replicas(target: Target, component: str = ADMISSION) -> list[Replica]:
    """Those that are ready now, and whose processes are where their Pods say, which may be a moment behind."""
    found = target.get("pods", NAMESPACE, labels=f"app.kubernetes.io/component={component}")
    return [
        Replica(each["metadata"]["name"], each["status"]["podIP"], pid)
        for each in found
        if _ready(each) and (pid := _pid(each))
    ]


def busiest(target: Target) -> Replica:
    """The one that answers most just now: the API server keeps to the connections that it has, and those may lead to one."""
    found = replicas(target)
    before = [each.reviews for each in found]
    time.sleep(1)
    return max(zip(found, before, strict=True), key=lambda each: each[0].reviews - each[1])[0]


def whole(target: Target, component: str = ADMISSION) -> list[Replica]:
    """The same, once all that there should be are ready."""
    deployment = f"nonroot-webhook-{component}"

    def probe() -> list[Replica] | None:
        (found,) = (each for each in target.get("deployments", NAMESPACE) if each["metadata"]["name"] == deployment)
        wanted = found["spec"]["replicas"]
        alive = replicas(target, component)
        settled = found["status"].get("updatedReplicas") == found["status"].get("replicas") == wanted
        return alive if settled and len(alive) == wanted else None

    return eventually(probe, f"every replica of {deployment} ready")


def _ready(pod: dict[str, Any]) -> bool:
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def _pid(pod: dict[str, Any]) -> int | None:
    """The process of this machine that is number 1 in the Pod's container."""
    identifier = pod["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and identifier in (entry / "cgroup").read_text() and _first(entry):
                return int(entry.name)
    return None


def _first(process: Path) -> bool:
    (line,) = (each for each in (process / "status").read_text().splitlines() if each.startswith("NSpid:"))
    return line.split()[-1] == "1"
