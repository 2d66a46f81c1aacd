"""Images and pull secrets that tests of several modules use."""

import base64
import json
from collections.abc import Callable

import msgspec

from deploy.dev.oci import accounts_layer, file, image, index, layer
from tests.unit.registry.clients import Client
from webhook.image.passwd import AccountFiles
from webhook.image.source import Unknown

BASE = accounts_layer("root:x:0:0::/:", "app:x:1000:1000::/:", groups=["video:x:44:app"])
APP = layer(file("app/bin", b"x" * 5000), compression="zstd")
NAMED = image(BASE, APP, user="app")
BOTH = index(NAMED, image(BASE, user="1000", architecture="arm64"))
ACCOUNTS = AccountFiles(b"root:x:0:0::/:\napp:x:1000:1000::/:\n", b"video:x:44:app\n")

Connect = Callable[..., Client]


class Secret(msgspec.Struct, frozen=True):
    """A pull secret."""

    type: str
    data: dict[str, bytes]


class Secrets:
    """Pull secrets by name."""

    def __init__(self, **secrets: Secret | Unknown | None) -> None:
        self.secrets = secrets
        self.asked: list[str] = []
        self.accounts: dict[str, tuple[str, ...] | Unknown] = {}

    async def names(self, namespace: str, service_account: str) -> tuple[str, ...] | Unknown:
        """As the cluster would answer."""
        return self.accounts.get(f"{namespace}/{service_account}", ())

    async def get(self, namespace: str, name: str) -> Secret | Unknown | None:
        """As the cluster would answer."""
        self.asked.append(f"{namespace}/{name}")
        return self.secrets.get(name)


def secret(host: str, user: str, password: str) -> Secret:
    """One user's pull secret for a registry."""
    return Secret("kubernetes.io/dockerconfigjson", {".dockerconfigjson": docker_config(host, user, password)})


def docker_config(host: str, user: str, password: str) -> bytes:
    """A docker config file with one user."""
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    return json.dumps({"auths": {host: {"auth": auth}}}).encode()
