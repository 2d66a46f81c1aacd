"""An image registry on the bridge: one address for it in Pods, on the node and on the host.

It is the Distribution registry, over plain HTTP: a loopback name would mean something else
in every Pod, and an address that only exists on this machine needs no secrecy.
"""

from .api import fetch
from .layout import Layout

REGISTRY = "registry"

HOSTS = """\
server = "http://{address}"

[host."http://{address}"]
capabilities = ["pull", "resolve"]
"""


def start(layout: Layout) -> None:
    """Start the registry, and return when it answers; the node is told that it speaks HTTP."""
    layout.write(
        f"registries/{layout.registry}/hosts.toml",
        HOSTS.format(address=layout.registry),
    )
    config = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(layout.state / "registry")},
            "delete": {"enabled": True},
        },
        "http": {"addr": layout.registry},
    }
    layout.processes.start(REGISTRY, ["docker-registry", "serve", layout.write("registry.json", config)])
    layout.processes.wait(REGISTRY, lambda: fetch(f"http://{layout.registry}/v2/") is not None)
