"""The network of Pods, the host and Services: a bridge, two routes, one masquerading rule.

Everything has a name of its own (the bridge, the nftables table), so that removing it is one
command each, and the machine's other rules are neither read nor changed.
"""

import contextlib
from pathlib import Path

from . import sysctls
from .build import program, tools
from .certificates import Authority
from .commands import run
from .errors import ClusterError
from .layout import BRIDGE, HOST, LOOPBACK, NODE, PODS, SERVICES, Layout

PROXY = "kube-proxy"
TABLE = "nonroot_local"
MASQUERADE = f"""\
table ip {TABLE} {{
    chain postrouting {{
        type nat hook postrouting priority srcnat;
        ip saddr {PODS} oifname != "{BRIDGE}" masquerade
    }}
}}
"""


def bridge_exists() -> bool:
    """Whether some cluster's network is on this machine."""
    return Path(f"/sys/class/net/{BRIDGE}").exists()


def owned(layout: Layout) -> bool:
    """Whether the bridge, if there is one, is this cluster's; true from `create` to `down`."""
    return _sysctls(layout).exists()


def create(layout: Layout) -> None:
    """Make the bridge, whose address is the node's, and let Pods out through the host."""
    if not owned(layout):
        _must_be_alone()
        sysctls.remember(_sysctls(layout))
    if not bridge_exists():
        # A fixed MAC: a bridge otherwise takes its lowest port's, and Pods lose their gateway.
        run(
            "ip",
            "link",
            "add",
            BRIDGE,
            "address",
            "02:00:0a:f4:00:01",
            "type",
            "bridge",
        )
        run("ip", "address", "add", f"{HOST}/24", "dev", BRIDGE)
        run("ip", "link", "set", BRIDGE, "up")
    # Without this route a machine that has no default route could not even try a Service.
    run("ip", "route", "replace", SERVICES, "dev", BRIDGE)
    _drop_table(TABLE)
    run("nft", "-f", "-", stdin=MASQUERADE)


def start_proxy(layout: Layout, authority: Authority) -> None:
    """Start kube-proxy: Service addresses then answer in Pods and on the host alike."""
    pair = authority.issue("kube-proxy", "system:kube-proxy")
    path = layout.config / "kube-proxy.kubeconfig"
    # Stable since 1.33; alpha in 1.30, which has to be asked for it.
    gates = {"NFTablesProxyMode": True} if tools()["kubernetes"].version.startswith("v1.30.") else {}
    config = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": authority.kubeconfig(path, layout.apiserver, pair)},
        "hostnameOverride": NODE,
        "featureGates": gates,
        "mode": "nftables",
        # Two Pods of one bridge talk past the host, which would lose the way back from a Service.
        "nftables": {"masqueradeAll": True, "minSyncPeriod": "100ms"},
        "healthzBindAddress": f"{LOOPBACK}:{layout.port('proxy-health')}",
        "metricsBindAddress": f"{LOOPBACK}:{layout.port('proxy-metrics')}",
        # Zero means: leave the host's connection tracking as it is.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpCloseWaitTimeout": "0s",
            "tcpEstablishedTimeout": "0s",
        },
    }
    layout.processes.start(
        PROXY,
        [
            program("kubernetes", "kube-proxy"),
            f"--config={layout.write('kube-proxy.json', config)}",
        ],
    )


def remove(layout: Layout) -> None:
    """End kube-proxy and take away its rules, ours, the bridge and our kernel settings."""
    layout.processes.stop(PROXY)
    for family in ("ip", "ip6"):
        _drop_table("kube-proxy", family)
    _drop_table(TABLE)
    if bridge_exists():
        run("ip", "link", "delete", BRIDGE)
    sysctls.restore(_sysctls(layout))


def _drop_table(name: str, family: str = "ip") -> None:
    with contextlib.suppress(ClusterError):  # there is no "delete if it exists" before nft 1.0.8
        run("nft", "delete", "table", family, name)


def _sysctls(layout: Layout) -> Path:
    return layout.state / "sysctls.json"


def _must_be_alone() -> None:
    """One cluster per machine: a second kube-proxy would remove the rules of the first."""
    if bridge_exists():
        raise ClusterError(f"the network {BRIDGE} exists: another local cluster runs here")
    if "table ip kube-proxy" in run("nft", "list", "tables"):
        raise ClusterError("this machine is a Kubernetes node already: use that cluster")
