"""One cluster's folders, addresses and ports: what every other module needs to know, and no more.

Everything that can be given an address of the cluster's own bridge listens there, and only
there: the host and the Pods reach it, the network that the machine is attached to does not.
"""

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .processes import Processes

NODE = "nonroot"
BRIDGE = "nonroot0"
HOST = "10.244.0.1"  # the bridge's own address: the node, seen from Pods and from itself
PODS = "10.244.0.0/24"
SERVICES = "10.96.0.0/16"
KUBERNETES_SERVICE = "10.96.0.1"
LOOPBACK = "127.0.0.1"

# the port to take if it is free, on the cluster's address and on loopback
AT_HOST = {"apiserver": 6443, "kubelet": 10250, "registry": 5000}
AT_LOOPBACK = {"etcd": 0, "etcd-peer": 0, "proxy-health": 0, "proxy-metrics": 0}


@dataclass(frozen=True)
class Layout:
    """The cluster whose state is in `state`; nothing here exists until somebody makes it."""

    state: Path
    host: str = HOST  # the address of the API server, the kubelet and the registry

    @property
    def kubeconfig(self) -> Path:
        return self.state / "kubeconfig"

    @property
    def pki(self) -> Path:
        return self.state / "pki"

    @property
    def config(self) -> Path:
        return self.state / "config"

    @property
    def node(self) -> Path:
        """The node's /run and /var, see mounts.py."""
        return self.state / "node"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def audit(self) -> Path:
        """The API server's audit log: one JSON object a line."""
        return self.logs / "audit.log"

    @property
    def lock(self) -> Path:
        return self.state.with_name(f"{self.state.name}.lock")

    @property
    def processes(self) -> Processes:
        return Processes(self.state / "processes", self.logs)

    @property
    def containerd(self) -> Path:
        """The runtime's socket, as the host sees it."""
        return self.node / "run/containerd/containerd.sock"

    @property
    def apiserver(self) -> str:
        return f"https://{self.host}:{self.port('apiserver')}"

    @property
    def etcd(self) -> str:
        return f"http://{LOOPBACK}:{self.port('etcd')}"

    @property
    def registry(self) -> str:
        return f"{self.host}:{self.port('registry')}"

    @property
    def registry_hosts(self) -> Path:
        """One folder per registry that the node must reach in an unusual way, read at each pull."""
        return self.config / "registries"

    @property
    def static_pods(self) -> Path:
        """The folder of the kubelet's static Pods, a file each."""
        return self.config / "static-pods"

    @property
    def _ports(self) -> Path:
        return self.state / "ports.json"

    def port(self, name: str) -> int:
        return int(json.loads(self._ports.read_text())[name])

    def choose_ports(self) -> None:
        """Settle the ports once; a cluster that is started again must find its own."""
        if self._ports.exists():
            return
        self.state.mkdir(parents=True, exist_ok=True)
        wishes = {name: (self.host, port) for name, port in AT_HOST.items()}
        wishes |= {name: (LOOPBACK, port) for name, port in AT_LOOPBACK.items()}
        self._ports.write_text(json.dumps(dict(zip(wishes, _free(wishes.values()), strict=True))))

    def write(self, name: str, content: object) -> str:
        """Write a configuration file and return its path; JSON is YAML to whoever reads it.

        A file that says so already is left alone: kube-proxy exits when its own is touched.
        """
        path = self.config / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content, indent=2)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
        return str(path)


def _free(wishes: Iterable[tuple[str, int]]) -> list[int]:
    """A free port for each wish; all are held until the last is found, so that none comes twice."""
    held: list[socket.socket] = []
    try:
        for address, port in wishes:
            held.append(_bound(address, port))
        return [sock.getsockname()[1] for sock in held]
    finally:
        for sock in held:
            sock.close()


def _bound(address: str, port: int) -> socket.socket:
    sock = socket.socket()
    # Connections of the last cluster may still be closing: they do not keep a port from us.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((address, port))
    except OSError:
        sock.bind((address, 0))
    return sock
