"""The processes that a runtime leaves behind when it dies before its containers do.

Each container has a shim that outlives containerd on purpose. Shims inherit containerd's
environment, and ours carries a mark with the cluster's folder: that finds them, and the
processes that descend from them, without a guess.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from .layout import Layout
from .processes import Identity

CGROUPS = Path("/sys/fs/cgroup")
TASKS = "run/containerd/io.containerd.runtime.v2.task/k8s.io"


def mark(layout: Layout) -> dict[str, str]:
    """The mark in the runtime's environment."""
    return {"NONROOT_LOCAL_NODE": str(layout.node)}


def end(layout: Layout) -> None:
    """Kill every process of a container that is left, and remove the control groups."""
    for identity in _found(layout):
        identity.end(seconds=0)
    containers = [folder.name for folder in (layout.node / TASKS).glob("*")]
    for parent in (CGROUPS / "k8s.io", *CGROUPS.glob("*/k8s.io")):
        for folder in (*(parent / name for name in containers), parent):
            with contextlib.suppress(OSError):  # gone already, or another runtime's
                folder.rmdir()


def _found(layout: Layout) -> list[Identity]:
    ((name, value),) = mark(layout).items()
    wanted = f"{name}={value}".encode()
    parents = dict(_parents())
    found = {pid for pid in parents if wanted in _environment(pid)}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return [identity for pid in found if (identity := Identity.of(pid))]


def _parents() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                yield int(entry.name), int(fields[1])


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
