"""A registry on loopback that stands for the public one: it has its name, TLS by an authority made for it, and a log-in."""

import os
import secrets
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from deploy.local import apt
from deploy.local.certificates import Authority
from deploy.local.processes import Processes

NAME = "ghcr.io"
USER, PASSWORD = "rehearsal", "secret"  # of a registry that exists for minutes, on loopback
ACCOUNTS = f"{USER}:$2b$04$aw.OfUD2H56bSsBsY9Zjru1muAxFMf/zttZ5rQYbWX5RqcGQ/OYZy\n"  # its bcrypt

HOSTS = """\
server = "https://{address}"

[host."https://{address}"]
capabilities = ["pull", "resolve"]
ca = "{authority}"
"""


@dataclass(frozen=True)
class Registry:
    """Where it keeps what it needs."""

    folder: Path
    address: str

    @property
    def authority(self) -> Path:
        """Whose certificates its clients trust."""
        return Authority(self.folder / "pki").pair.certificate

    def environment(self) -> dict[str, str]:
        """What clients need: whom to trust beside the machine's own authorities, and where they keep what they logged in with.

        That is not the home of whoever runs this, whose own log-ins stay as they are.
        """
        bundle = self.folder / "bundle.crt"
        own = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().openssl_cafile
        bundle.write_text((Path(own).read_text() if Path(own).exists() else "") + self.authority.read_text())
        direct = os.environ.get("NO_PROXY") or os.environ.get("no_proxy")
        return {
            "SSL_CERT_FILE": str(bundle),
            "NO_PROXY": f"{direct},{NAME}" if direct else NAME,
            "DOCKER_CONFIG": str(self.folder / "docker"),
            "REGISTRY_AUTH_FILE": str(self.folder / "docker" / "config.json"),
            "HELM_REGISTRY_CONFIG": str(self.folder / "helm.json"),
        }

    @property
    def inside(self) -> Sequence[str]:
        """The command that runs another where the name means this registry."""
        return "unshare", "--mount", "sh", "-c", f'mount --bind {self.folder}/hosts /etc/hosts && exec "$@"', "sh"

    def known_to(self, nodes: Path) -> None:
        """Let nodes pull by its address: a folder per registry, as containerd reads them."""
        (nodes / self.address).mkdir()
        (nodes / self.address / "hosts.toml").write_text(HOSTS.format(address=self.address, authority=self.authority))


@contextmanager
def serving(folder: Path, address: str | None = None) -> Iterator[Registry]:
    """The registry, Debian's docker-registry, for the length of a `with`; at any address of the loopback network."""
    apt.install("docker-registry")
    address = address or ".".join(["127", *(str(1 + secrets.randbelow(254)) for _ in range(3))])
    registry = Registry(folder, address)
    authority = Authority(folder / "pki")
    authority.create()
    server = authority.issue("server", NAME, addresses=[NAME, address])
    (folder / "docker").mkdir(parents=True)
    (folder / "hosts").write_text(f"127.0.0.1 localhost\n{address} {NAME}\n")
    (folder / "accounts").write_text(ACCOUNTS)
    config = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {
            "addr": f"{address}:443",
            "tls": {"certificate": str(server.certificate), "key": str(server.key)},
        },
        "auth": {"htpasswd": {"realm": NAME, "path": str(folder / "accounts")}},
    }
    (folder / "config.json").write_bytes(msgspec.json.encode(config))
    processes = Processes(folder / "processes", folder / "logs")
    command = ["setpriv", "--pdeathsig", "TERM", "docker-registry", "serve"]  # however we end
    processes.start("registry", [*command, str(folder / "config.json")])
    try:
        processes.wait("registry", lambda: _answers(registry))
        yield registry
    finally:
        processes.stop("registry")


def _answers(registry: Registry) -> bool:
    """Whether it is this registry that answers, and not another one at its address."""
    trust = ssl.create_default_context(cafile=str(registry.authority))
    try:
        with (
            socket.create_connection((registry.address, 443), timeout=5) as asking,
            trust.wrap_socket(asking, server_hostname=NAME),
        ):
            return True
    except OSError:
        return False
