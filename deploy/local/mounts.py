"""The node's own view of the file system.

A runtime and a kubelet write to fixed places (/var/lib/kubelet, /run/netns, ...) and mount
hundreds of things there. Ours run in a mount namespace in which those places are folders of
the cluster's state. So the machine may have a container runtime of its own, our sockets can
be reached in the state folder, and every mount goes when the last process has gone.
"""

import contextlib
import shlex
import shutil
from pathlib import Path

from .errors import ClusterError
from .layout import Layout

HOLDER = "mounts"
FOLDERS = (
    "/run/containerd",
    "/run/netns",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)


def hold(layout: Layout) -> None:
    """Make the namespace, kept by a process that only sleeps."""
    if layout.processes.running(HOLDER):
        return
    shutil.rmtree(layout.node / "run", ignore_errors=True)  # as after any restart of a machine
    script = ["set -e"]
    for folder in FOLDERS:
        source = Path(f"{layout.node}{folder}")
        source.mkdir(parents=True, exist_ok=True)
        Path(folder).mkdir(parents=True, exist_ok=True)
        script.append(f"mount --bind {shlex.quote(str(source))} {folder}")
    script.append("exec sleep infinity")
    layout.processes.start(HOLDER, ["unshare", "--mount", "sh", "-c", "\n".join(script)])
    layout.processes.wait(HOLDER, lambda: _mounted(layout), 10)


def _mounted(layout: Layout) -> bool:
    holder = layout.processes.running(HOLDER)
    if holder is None:
        return False
    table = Path(f"/proc/{holder.pid}/mountinfo").read_text().splitlines()
    return set(FOLDERS) <= {line.split()[4] for line in table}


def inside(layout: Layout) -> list[str]:
    """The command prefix that runs a command on the node."""
    holder = layout.processes.running(HOLDER)
    if holder is None:
        raise ClusterError("the node's mount namespace is gone: down, then up")
    return ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--"]


def release() -> None:
    """Remove the places that we had to create on the host; those in use are not empty, and stay."""
    for folder in FOLDERS:
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
