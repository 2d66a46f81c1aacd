"""A client that is asked with the longest values that can be, of a registry that answers with as long ones.

What its caches hold stays within their limits, whatever the keys are. NONROOT_MEMORY_SECONDS goes on for so many seconds with
each; without it each is asked for a few dozen times.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from deploy.dev.oci import OCI_MANIFEST, document, file, image, layer
from deploy.dev.registry import Headers, Login, Registry, Status
from tests.support.growth import growth
from tests.unit.registry.samples import Connect, Secret, Secrets
from webhook.image.reference import NAME_LIMIT
from webhook.image.source import Query
from webhook.registry.settings import CacheLimits

ROUNDS = 30
LIMIT = 256 << 10  # bytes of each cache
GROWTH = 8 << 20  # bytes: the caches, what the estimate leaves out, and 4096 parsed references of a kilobyte
PATH = 200  # characters of a repository
NAMES = 1000  # of one Pod


def long(number: int, length: int) -> str:
    """A text of its own for each number."""
    return f"{number}".ljust(length, "a")


class Many(Secrets):
    """Every Secret is there, for a registry that nobody asks."""

    async def get(self, namespace: str, name: str) -> Secret:
        config = f'{{"auths": {{"other.example": {{"username": "{name}", "password": "{name}"}}}}}}'
        return Secret("kubernetes.io/dockerconfigjson", {".dockerconfigjson": config.encode()})


def ask(**more: Callable[[int], Any]) -> Callable[[Registry, int], dict[str, Any]]:
    """A query about an image that is not there."""
    return lambda _registry, number: {name: value(number) for name, value in more.items()}


def answer(*faults: Callable[[int], Any]) -> Callable[[Registry, int], dict[str, Any]]:
    """A query that is answered so."""

    def prepare(registry: Registry, number: int) -> dict[str, Any]:
        for fault in faults:
            registry.lie(fault(number))
        return {}

    return prepare


def have(content: Callable[[int], Any]) -> Callable[[Registry, int], dict[str, Any]]:
    """A query about an image that is."""

    def prepare(registry: Registry, number: int) -> dict[str, Any]:
        registry.push(f"{long(number, PATH)}:{long(number, 128)}", content(number))
        return {"accounts": True}

    return prepare


def challenge(registry: Registry, number: int) -> dict[str, Any]:
    """Wants a token, with a scope and a realm of kilobytes."""
    realm = f"http://{registry.host}/token?{long(number, 3000)}"
    registry.login = Login({}, anonymous=True, realm=realm, expires_in=10**9)
    return {}


KINDS: dict[str, Callable[[Registry, int], dict[str, Any]]] = {
    "reference": ask(),
    "namespace": ask(namespace=lambda number: long(number, NAME_LIMIT)),
    "pull secrets": ask(pull_secrets=lambda number: tuple(long(number * NAMES + each, 253) for each in range(NAMES))),
    "service account": ask(service_account=lambda number: long(number, NAME_LIMIT)),
    "architectures": ask(architectures=lambda number: frozenset(long(number * NAMES + n, 63) for n in range(NAMES))),
    "a refusal": answer(
        lambda number: Status(418, {}, json.dumps({"errors": [{"message": long(number, 60_000)}]}).encode())
    ),
    "headers": answer(lambda number: Headers({"Docker-Content-Digest": long(number, 8000)})),
    "a challenge": challenge,
    "a manifest": have(
        lambda number: document(
            {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "annotations": {"a": long(number, 1 << 20)}, "layers": []}
        )
    ),
    "a configuration": have(lambda number: image(user="app", settings={"Labels": {"a": long(number, 1 << 20)}})),
    "a passwd": have(lambda number: image(layer(file("etc/passwd", long(number, 1 << 20))), user="app")),
}


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_keeps_the_longest_values(registry: Registry, connect: Connect, kind: str) -> None:
    names = CacheLimits.__struct_fields__
    client = connect(Many(), cache_limits=CacheLimits(**dict.fromkeys(names, LIMIT)))

    async def send(number: int) -> None:
        more = KINDS[kind](registry, number)
        reference = f"{registry.host}/{long(number, PATH)}:{long(number, 128)}"
        await client.find(Query(reference, **{"budget": 20.0, "namespace": "a", **more}))
        registry.honest()
        for grown in (registry.requests, registry._blobs, registry._manifests, registry._tags, registry._tokens):
            grown.clear()

    grown, number = await growth(
        f"a registry client with caches of 256 KiB and the longest value of: {kind}", send, ROUNDS
    )
    assert grown < GROWTH, f"{grown >> 20} MiB after {number} questions"
