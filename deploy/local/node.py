"""The machine that runs the Pods: containerd and the kubelet, on this very machine.

The settings that differ from a default say why; each was needed where there is little
privilege to spare, such as inside a virtual machine of a CI service.
"""

import contextlib
from datetime import UTC, datetime
from pathlib import Path

from . import mounts, survivors
from .api import Api
from .build import program
from .certificates import Authority
from .commands import run
from .control_plane import node_credentials
from .errors import ClusterError
from .layout import BRIDGE, HOST, NODE, PODS, Layout

CONTAINERD = "containerd"
KUBELET = "kubelet"
SOCKET = "/run/containerd/containerd.sock"
PLUGINS = "/usr/lib/cni"

# Version 2 is what containerd 1.7 reads; 2.x reads it as well, and migrates it to the same as one of version 3 would be.
CONTAINERD_CONFIG = """\
version = 2
# NRI and the opt plugin would create folders outside the node's own.
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.internal.v1.opt"]

[grpc]
address = "{socket}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# Without CAP_SYS_RESOURCE nothing may lower its OOM score, and every sandbox would fail.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".registry]
config_path = "{hosts}"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{cni}"
"""


def configure_network(layout: Layout) -> None:
    """Tell the runtime how a Pod gets its address: a port on our bridge, a number of our range."""
    layout.write(
        "cni/10-nonroot.conflist",
        {
            "cniVersion": "1.0.0",
            "name": "nonroot",
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": BRIDGE,
                    "isGateway": True,
                    "hairpinMode": True,  # a Pod may reach itself through its Service
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{"subnet": PODS, "gateway": HOST}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
            ],
        },
    )


def start_containerd(layout: Layout, pause: str) -> None:
    """Start the runtime, and return when it answers."""
    configure_network(layout)
    config = layout.write(
        "containerd.toml",
        CONTAINERD_CONFIG.format(
            socket=SOCKET,
            pause=pause,
            hosts=layout.registry_hosts,
            plugins=PLUGINS,
            cni=layout.config / "cni",
        ),
    )
    layout.processes.start(
        CONTAINERD,
        [
            *mounts.inside(layout),
            program("containerd", "containerd"),
            f"--config={config}",
        ],
        env=survivors.mark(layout),
    )
    layout.processes.wait(CONTAINERD, lambda: _answers(layout))


def ctr(layout: Layout, *words: str) -> str:
    """Ask the runtime itself, in the namespace of its Kubernetes containers."""
    address = f"--address={layout.containerd}"
    return run(program("containerd", "ctr"), address, "--namespace=k8s.io", *words)


def _answers(layout: Layout) -> bool:
    try:
        return bool(ctr(layout, "version"))
    except ClusterError:
        return False


def start_kubelet(layout: Layout, authority: Authority, api: Api) -> None:
    """Start the kubelet, and return when its node takes Pods."""
    serving = authority.issue("kubelet-serving", f"system:node:{NODE}", addresses=[NODE, HOST])
    credentials = node_credentials(layout, authority)
    layout.static_pods.mkdir(exist_ok=True)
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "address": HOST,
        "port": layout.port("kubelet"),
        "healthzPort": 0,
        "tlsCertFile": str(serving.certificate),
        "tlsPrivateKeyFile": str(serving.key),
        "authentication": {
            "anonymous": {"enabled": False},
            "x509": {"clientCAFile": str(authority.pair.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "staticPodPath": str(layout.static_pods),
        # No cluster DNS runs: Pods ask the host's servers, and names outside the cluster resolve.
        # A CoreDNS would be a Service at 10.96.0.10, and that address would stand here.
        "clusterDNS": _nameservers(),
        "clusterDomain": "cluster.local",
        # Plain cgroups, no accounting per Pod class: works on cgroup v1, v2 and the mixture.
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        # The registry is ours: no need to protect it from tests that pull ten images at once.
        "registryPullQPS": 0,
        "serializeImagePulls": False,
        # The disk is the developer's: never evict Pods or images because it is rather full.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {
            "memory.available": "50Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
    }
    # A kubelet that is started again finds a node that its predecessor called ready.
    since = None if layout.processes.running(KUBELET) else datetime.now(UTC)
    layout.processes.start(
        KUBELET,
        [
            *mounts.inside(layout),
            program("kubernetes", "kubelet"),
            f"--config={layout.write('kubelet.json', config)}",
            f"--kubeconfig={credentials}",
            f"--hostname-override={NODE}",
            f"--node-ip={HOST}",
        ],
    )
    layout.processes.wait(KUBELET, lambda: api.node_ready(NODE, since))


def _nameservers() -> list[str]:
    """The host's DNS servers that a Pod can reach; a resolver on the host's loopback is none."""
    resolved = Path("/run/systemd/resolve/resolv.conf")
    source = resolved if resolved.exists() else Path("/etc/resolv.conf")
    words = [line.split() for line in source.read_text().splitlines()]
    servers = [line[1] for line in words if line[:1] == ["nameserver"] and len(line) > 1]
    return [server for server in servers if not server.startswith(("127.", "::1"))][:3]


def stop(layout: Layout) -> None:
    """End the kubelet first, so that it starts nothing again; then containers; then containerd."""
    layout.processes.stop(KUBELET)
    if layout.processes.running(CONTAINERD):
        with contextlib.suppress(ClusterError):
            for task in ctr(layout, "tasks", "list", "--quiet").split():
                with contextlib.suppress(ClusterError):
                    ctr(layout, "tasks", "delete", "--force", task)
    layout.processes.stop(CONTAINERD)
    survivors.end(layout)
    layout.processes.stop(mounts.HOLDER)
