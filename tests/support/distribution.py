"""The real Distribution registry as a process of its own, alone or as a pull-through cache of another."""

import asyncio
import contextlib
import json
import os
import secrets
import socket
import subprocess
from pathlib import Path
from typing import Any

from deploy.dev.oci import Blob, Content
from tests.support.authority import Authority

USERS = "app:$2b$04$aw.OfUD2H56bSsBsY9Zjru1muAxFMf/zttZ5rQYbWX5RqcGQ/OYZy\n"  # bcrypt of "secret"


PORTS = range(20_000, 30_000)  # below those that Linux gives to connections that go out (ip_local_port_range)


def free_port() -> int:
    """A port that nobody listens on, and that no connection takes until somebody does."""
    while True:
        with socket.socket() as holder, contextlib.suppress(OSError):
            port = secrets.choice(PORTS)
            holder.bind(("127.0.0.1", port))
            return port


async def listening(authority: str) -> bool:
    """Whether somebody takes connections at HOST:PORT, within ten seconds."""
    host, _, port = authority.partition(":")
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return True
    return False


class Distribution:
    """The registry's process, over TLS where an authority is given. With `upstream` it is a cache of that one."""

    def __init__(
        self, folder: Path, authority: Authority | None = None, auth: dict[str, Any] | None = None, upstream: str = ""
    ) -> None:
        self.host = f"127.0.0.1:{free_port()}"
        self._folder = folder
        config: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
            "http": {"addr": self.host},
        }
        environment = dict(os.environ)
        if authority:
            config["http"]["tls"] = {"certificate": str(authority.certificate), "key": str(authority.key)}
            environment["SSL_CERT_FILE"] = str(authority.certificate)
        if auth:
            config["auth"] = auth
        if upstream:
            config["proxy"] = {"remoteurl": f"https://{upstream}"}
        folder.mkdir(exist_ok=True)
        (folder / "config.yml").write_text(json.dumps(config))
        self._log = (folder / "log").open("w")
        self.process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")],
            stdout=self._log,
            stderr=self._log,
            env=environment,
        )

    async def ready(self) -> None:
        """Returns once it takes connections."""
        assert await listening(self.host), (self._folder / "log").read_text()

    async def push(self, name: str, content: Content) -> None:
        """Copy an image there with skopeo, out of an OCI layout."""
        layout = self._folder / secrets.token_hex(4)
        write_layout(layout, content)
        destination = f"docker://{self.host}/{name}"
        options = ("--all", "--dest-tls-verify=false", "--dest-creds", "app:secret", "--quiet")
        process = await asyncio.create_subprocess_exec(
            "skopeo", "copy", *options, f"oci:{layout}:latest", destination, stderr=subprocess.PIPE
        )
        _, problem = await process.communicate()
        assert process.returncode == 0, problem.decode()

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait(10)
        self._log.close()


def write_layout(folder: Path, content: Content) -> None:
    """An OCI layout with that image, named latest."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    every: tuple[Blob, ...] = (content.manifest, *content.children, *content.blobs)
    for blob in every:
        (blobs / blob.digest.removeprefix("sha256:")).write_bytes(blob.data)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    entry = content.manifest.descriptor(annotations={"org.opencontainers.image.ref.name": "latest"})
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))


def trusting(authority: Authority, host: str = "127.0.0.1") -> dict[str, Any]:
    """The settings under which its certificate and its address are accepted."""
    return {
        "insecure": frozenset(),
        "allowed": frozenset({host}),
        "authorities": {host: authority.pem},
    }


def password_file(folder: Path) -> dict[str, Any]:
    """The `auth` of a registry that knows its one user itself, `app` with `secret`."""
    (folder / "users").write_text(USERS)
    return {"htpasswd": {"realm": "test", "path": str(folder / "users")}}
