"""The Secret with the serving certificate, and our own kinds, are taken away under steady admissions."""

import asyncio
import base64
import json

import pytest

from deploy.release import NAMESPACE
from tests.e2e.target import Target, eventually
from tests.resilience.conftest import Scene, long
from tests.support.api_server import Refused
from tests.support.cluster import CRDS, OURS, served

pytestmark = [pytest.mark.survive, pytest.mark.timeout(600)]

SECRET = ("secret", "nonroot-webhook-tls", "--namespace", NAMESPACE)


def certificate(target: Target) -> bytes:
    """What is served now; nothing while there is no Secret."""
    try:
        return base64.b64decode(json.loads(target.kubectl("get", *SECRET, "-o", "json"))["data"]["tls.crt"])
    except Refused:
        return b""


def damage(target: Target) -> None:
    """Fill the TLS Secret with rubbish."""
    rubbish = base64.b64encode(b"rubbish").decode()
    target.kubectl("patch", *SECRET, "-p", json.dumps({"data": {"tls.crt": rubbish, "tls.key": rubbish}}))


def renewed(target: Target, former: bytes) -> None:
    """Wait until another than the former certificate is there."""

    def probe() -> bool:
        found = certificate(target)
        return found != former and found.startswith(b"-----BEGIN")

    eventually(probe, "another certificate")


async def restored(target: Target, former: bytes) -> None:
    """The same, while others go on."""
    await asyncio.to_thread(renewed, target, former)


async def test_the_secret_is_deleted(scene: Scene, installed: Target) -> None:
    former = certificate(installed)
    async with scene("the TLS Secret deleted", lost=0):
        await asyncio.to_thread(installed.kubectl, "delete", *SECRET)
        await restored(installed, former)


@long
async def test_the_secret_is_filled_with_rubbish(scene: Scene, installed: Target) -> None:
    former = certificate(installed)
    async with scene("the TLS Secret filled with rubbish", lost=0):
        await asyncio.to_thread(damage, installed)
        await restored(installed, former)


@long
async def test_the_ca_secret_is_deleted(scene: Scene, installed: Target) -> None:
    """A new CA, the former one trusted beside it."""
    former = certificate(installed)
    async with scene("the CA's Secret deleted", lost=0):
        await asyncio.to_thread(installed.kubectl, "delete", "secret", "nonroot-webhook-ca", "--namespace", NAMESPACE)
        await restored(installed, former)


@long
async def test_our_kinds_are_deleted_and_put_back(scene: Scene, installed: Target) -> None:
    """Namespaces that are labelled stay enforced; policies and exceptions are gone, as whoever deletes them wants."""
    async with scene("the CRDs deleted and put back", lost=0):
        await asyncio.to_thread(installed.kubectl, "delete", "crd", "-l", OURS)
        await asyncio.sleep(3)
        await asyncio.to_thread(installed.kubectl, "create", "-f", str(CRDS))
        await asyncio.to_thread(served, installed, "crd", "-l", OURS)
