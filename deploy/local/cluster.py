"""A whole cluster, up and down: the order in which things start, and the reverse of it.

Each step does nothing when it has been done, so `up` repairs a cluster of which a part died,
and `down` clears whatever a broken `up` left.
"""

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import apt, build, control_plane, images, mounts, network, node, paths, registry
from .certificates import Authority
from .errors import ClusterError
from .layout import Layout

NEEDED = ("kubernetes", "containerd", "etcd")
PROCESSES = (
    mounts.HOLDER,
    registry.REGISTRY,
    control_plane.ETCD,
    control_plane.APISERVER,
    control_plane.CONTROLLERS,
    control_plane.SCHEDULER,
    node.CONTAINERD,
    node.KUBELET,
    network.PROXY,
)

Say = Callable[[str], None]


def silent(_: str) -> None:
    """For callers that have nobody to talk to."""


@dataclass(frozen=True)
class Cluster:
    """A running cluster, as its users see it."""

    kubeconfig: Path
    registry: str  # HOST:PORT, plain HTTP, the same from the host, the node and Pods
    containerd: Path  # the runtime's socket, for ctr
    registry_hosts: Path  # a folder per registry that the node reaches in an unusual way, read at each pull
    audit: Path  # the API server's audit log
    static_pods: Path  # the folder of the kubelet's static Pods
    etcd: str  # the store's address, for whoever wants it to forget

    def environment(self) -> dict[str, str]:
        """The environment to export to use it, and the tools that were built beside it."""
        return {
            "KUBECONFIG": str(self.kubeconfig),
            "NONROOT_REGISTRY": self.registry,
            "CONTAINERD_ADDRESS": str(self.containerd),
            "NONROOT_REGISTRY_HOSTS": str(self.registry_hosts),
            "NONROOT_AUDIT_LOG": str(self.audit),
            "NONROOT_STATIC_PODS": str(self.static_pods),
            "NONROOT_ETCD": self.etcd,
            "HELM_PLUGINS": str(build.tools()["helm-unittest"].folder),
            "PATH": tools_path(),
        }


def tools_path() -> str:
    """The search path, with the tools that were built first on it."""
    tools = ("kubernetes", "containerd", "helm", "kubeconform")
    folders = [str(build.tools()[name].folder) for name in tools if build.tools()[name].built]
    return os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)])


def up(state: Path | None = None, say: Say = silent) -> Cluster:
    """Start a cluster, or complete one that runs, and return when it takes Pods."""
    layout = _layout(state)
    _must_be_root()
    with _alone(layout):
        build.ensure(NEEDED, say)
        for name in apt.install():
            say(f"installed {name}")
        _start(layout, say)
    return _cluster(layout)


def down(state: Path | None = None, say: Say = silent) -> None:
    """End everything that `up` started and remove its state; only the logs stay."""
    layout = _layout(state)
    _must_be_root()
    with _alone(layout):
        if not network.owned(layout):
            return  # never started, or kept from starting by another cluster
        node.stop(layout)
        say("containers and node ended")
        network.remove(layout)
        for name in reversed(PROCESSES):
            layout.processes.stop(name, seconds=1)  # nothing that they would save is kept
        say("control plane ended")
        mounts.release()
        for entry in layout.state.iterdir():
            if entry == layout.logs:
                continue
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def running(state: Path | None = None) -> Cluster | None:
    """The cluster, if all of it runs."""
    layout = _layout(state)
    if all(layout.processes.running(name) for name in PROCESSES):
        return _cluster(layout)
    return None


def status(state: Path | None = None) -> dict[str, int | None]:
    """The process number of each part; None for a part that does not run."""
    processes = _layout(state).processes
    found = {name: processes.running(name) for name in PROCESSES}
    return {name: identity.pid if identity else None for name, identity in found.items()}


@contextlib.contextmanager
def borrowed(state: Path | None = None, say: Say = silent) -> Iterator[Cluster]:
    """A cluster for the length of a `with`: one that runs already is used and left running."""
    if cluster := running(state):
        yield cluster
        return
    try:
        yield up(state, say)
    finally:
        down(state)  # without a word: the last one belongs to whoever used the cluster


def _start(layout: Layout, say: Say) -> None:
    began = time.monotonic()

    def result(what: str) -> None:
        say(f"{time.monotonic() - began:5.1f} s  {what}")

    network.create(layout)
    layout.choose_ports()
    authority = Authority(layout.pki)
    authority.create()
    result("network and certificates")

    control_plane.start_etcd(layout)
    registry.start(layout)
    pause = images.pause(layout.registry)
    result(f"registry at {layout.registry}")

    if not layout.processes.running(mounts.HOLDER):
        node.stop(layout)  # what is left of it could not be reached from new mounts
    mounts.hold(layout)
    node.start_containerd(layout, pause)
    result("containerd")

    api = control_plane.start_apiserver(layout, authority)
    result(f"API server at {layout.apiserver}")
    control_plane.start_controllers(layout, authority)
    network.start_proxy(layout, authority)
    node.start_kubelet(layout, authority, api)
    result("node ready")


def _layout(state: Path | None) -> Layout:
    return Layout((state or paths.default_state()).absolute())


def _cluster(layout: Layout) -> Cluster:
    return Cluster(
        layout.kubeconfig,
        layout.registry,
        layout.containerd,
        layout.registry_hosts,
        layout.audit,
        layout.static_pods,
        layout.etcd,
    )


def _must_be_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError("a node mounts, routes and starts containers: this has to run as root")


@contextlib.contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """Let nobody else start or end this cluster meanwhile; whoever tries, waits."""
    layout.lock.parent.mkdir(parents=True, exist_ok=True)
    with layout.lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
