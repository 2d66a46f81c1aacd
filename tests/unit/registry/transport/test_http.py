"""Connections: where they may go, what they carry, how they fail."""

import asyncio
import json
import socket
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from deploy.dev.oci import file, image, layer
from deploy.dev.registry import Fault, Headers, Login, Redirect, Registry, Replace, Reset, Slow, Status
from tests.unit.registry.clients import Client
from tests.unit.registry.samples import ACCOUNTS, BASE, NAMED, Connect, docker_config
from webhook.image.source import Unknown
from webhook.registry.settings import Timeouts
from webhook.registry.transport.http import _mapped
from webhook.registry.transport.messages import RegistryError, Response, retry_after

APP = image(BASE, user="1")


# Redirects.


async def test_redirects_come_to_an_end(registry: Registry, client: Client) -> None:
    """Five at most."""
    registry.lie(Redirect("{path}"))
    assert "more than 5 times" in await client.detail(f"{registry.host}/team/app:1")
    assert len(registry.requests) == 6


async def test_no_password_crosses_to_another_host(registry: Registry, connect: Connect) -> None:
    """A blob store gets none, and none when it asks for one."""
    async with Registry() as store:
        store.push("team/app:1", NAMED)
        registry.push("team/app:1", NAMED)
        registry.login = Login({"u": "p"}, scheme="Basic")
        registry.lie(Redirect(f"{store.url}{{path}}?signature=x"), path="blobs")
        config = docker_config(registry.host, "u", "p")
        client = connect(None, config, insecure=frozenset({registry.host, store.host}))
        found = await client.image(f"{registry.host}/team/app:1")
        assert found.platforms[0].accounts == ACCOUNTS
        assert store.requests
        assert all(not each.authorization for each in store.requests)
        store.login = Login({"u": "p"}, scheme="Basic")
        other = connect(None, config, insecure=frozenset({registry.host, store.host}))
        assert await other.cause(f"{registry.host}/team/app:1") == "unauthorized"
        assert all(not each.authorization for each in store.requests)


async def test_within_a_host_the_password_stays(registry: Registry, connect: Connect) -> None:
    """A redirect to another path of the registry."""
    registry.push("team/app:1", APP)
    registry.push("moved/app:1", APP)
    registry.login = Login({"u": "p"}, scheme="Basic")
    registry.lie(Redirect("/v2/moved/app/manifests/1"), path="team/app/manifests")
    client = connect(None, docker_config(registry.host, "u", "p"))
    await client.image(f"{registry.host}/team/app:1")
    assert registry.asked("GET", "moved") > 0


async def test_a_form_with_a_password_is_not_redirected(registry: Registry, connect: Connect) -> None:
    """It would be sent again, to wherever."""
    registry.push("team/app:1", APP)
    registry.login = Login({"u": "p"}, oauth="post")
    registry.lie(Redirect("/token"), method="POST")
    client = connect(None, docker_config(registry.host, "u", "p"))
    assert "carries a password" in await client.detail(f"{registry.host}/team/app:1")
    registry.honest()
    registry.push("team/other:1", APP)
    await client.image(f"{registry.host}/team/other:1")


# How they fail.


@pytest.mark.parametrize("fault", [Reset(), Reset(10), Status(503), Status(500), Status(408), Status(429)])
@pytest.mark.parametrize("path", ["manifests", "blobs"])
async def test_what_may_pass_is_tried_again(registry: Registry, client: Client, fault: Any, path: str) -> None:
    """Twice; a layer begins anew."""
    registry.push("team/app:1", NAMED)
    registry.lie(fault, method="GET", path=path, times=2)
    assert (await client.image(f"{registry.host}/team/app:1")).platforms[0].accounts == ACCOUNTS


async def test_a_layer_that_breaks_off_late_begins_anew(registry: Registry, client: Client) -> None:
    """With nothing of the first attempt in it."""
    big = layer(
        file("etc/passwd", "app:x:7:7::/:"),
        *(file(f"f{n}", bytes(range(256)) * 40) for n in range(300)),
        compression="none",
    )
    registry.push("team/app:1", image(big, user="app"))
    registry.lie(Reset(1_500_000), path=big.blob.digest, times=1)
    found = await client.image(f"{registry.host}/team/app:1")
    assert getattr(found.platforms[0].accounts, "passwd", found.platforms[0].accounts) == b"app:x:7:7::/:"
    assert registry.asked("GET", big.blob.digest) == 2


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the transport meant to wait; it does not."""
    meant: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        meant.append(seconds)
        await real(0)

    monkeypatch.setattr("webhook.registry.transport.http.asyncio.sleep", sleep)
    return meant


async def test_a_registry_that_says_when_is_heeded(registry: Registry, connect: Connect, pauses: list[float]) -> None:
    """Up to ten seconds; a longer wait is the caller's business."""
    client = connect(timeouts=Timeouts())
    registry.push("team/app:1", APP)
    registry.lie(Status(429, {"Retry-After": "7"}), times=1)
    await client.image(f"{registry.host}/team/app:1")
    assert 7.0 in pauses
    pauses.clear()
    registry.lie(Status(429, {"Retry-After": "11"}), times=1)
    assert await client.cause(f"{registry.host}/team/app:2") == "rateLimited"
    assert 11.0 not in pauses
    assert 0.3 not in pauses


_NOW = "Sat, 21 Nov 2026 15:00:00 GMT"


@pytest.mark.parametrize(
    ("said", "date", "seconds"),
    [
        ("120", _NOW, 120.0),
        ("Sat, 21 Nov 2026 15:00:07 GMT", _NOW, 7.0),
        ("Saturday, 21-Nov-26 15:01:00 GMT", _NOW, 60.0),
        ("Sat Nov 21 15:01:00 2026", _NOW, None),
        ("Sat, 21 Nov 2026 14:00:00 GMT", _NOW, 0.0),
        ("Sat, 21 Nov 2026 15:00:07 GMT", "", None),
        ("Sat, 31 Nov 2026 15:00:07 GMT", _NOW, None),
        ("-1", _NOW, None),
        ("1" * 400, _NOW, None),
        ("soon", _NOW, None),
        ("", _NOW, None),
    ],
)
def test_when_to_come_again_is_read_by_the_registrys_own_clock(said: str, date: str, seconds: float | None) -> None:
    """In seconds, or as a date that is compared with the answer's own."""
    assert retry_after(Response(429, {"retry-after": (said,), "date": (date,)})) == seconds


@pytest.mark.parametrize("path", ["manifests", "token"])
async def test_docker_hubs_rate_limit_is_named_as_one(connect: Connect, path: str) -> None:
    """On the manifest or already on the token, with the body and headers that it sends; no retry helps against hours."""
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your unauthenticated pull rate limit."}]}'
    headers = {"Content-Type": "application/json", "Retry-After": "3600", "ratelimit-limit": "100;w=21600"}
    async with Registry(Login({}, anonymous=True)) as hub:
        hub.push("library/app:1", APP)
        hub.lie(Status(429, headers, body), path=path)
        client = connect(insecure=frozenset({hub.host}), timeouts=Timeouts())
        assert await client.cause(f"{hub.host}/library/app:1") == "rateLimited"
        asked = len(hub.requests)
        client.clock.now += 599
        assert await client.cause(f"{hub.host}/library/app:1") == "rateLimited"
        assert len(hub.requests) == asked
        hub.honest()
        client.clock.now += 2
        await client.image(f"{hub.host}/library/app:1")


async def test_there_is_no_waiting_past_the_deadline(registry: Registry, connect: Connect) -> None:
    """The answer that there is counts."""
    client = connect(timeouts=Timeouts(backoff=(30.0,), look_up=20.0))
    registry.lie(Status(503))
    assert await client.cause(f"{registry.host}/team/app:1") == "unreachable"
    registry.honest()
    registry.lie(Reset())
    assert await client.cause(f"{registry.host}/team/app:2") == "unreachable"


async def test_a_body_without_end_is_cut_off(registry: Registry, client: Client) -> None:
    """Of a manifest, and of an error that nobody reads."""
    registry.push("team/app:1", APP)
    registry.lie(Replace(lambda body: body + b" " * 5_000_000), method="GET", path="manifests", times=1)
    assert await client.cause(f"{registry.host}/team/app:1") == "tooLarge"
    registry.lie(Status(404, {}, b"x" * 5_000_000), method="GET", times=1)
    assert await client.cause(f"{registry.host}/team/app@{NAMED.digest}") == "notFound"
    assert client.total.bytes_read < 10_000_000


async def test_a_token_without_end_is_cut_off(registry: Registry, client: Client) -> None:
    """64 KiB are enough for any."""
    registry.login = Login({}, anonymous=True)
    registry.lie(Replace(lambda body: body + b" " * 100_000), path="/token")
    assert await client.cause(f"{registry.host}/team/app:1") == "tooLarge"


@pytest.mark.parametrize("path", ["manifests", "blobs"])
async def test_a_body_that_stands_still_times_out(registry: Registry, connect: Connect, path: str) -> None:
    """Long before the look-up would."""
    client = connect(timeouts=Timeouts(backoff=(), idle=0.05))
    registry.push("team/app:1", APP)
    registry.lie(Slow(), method="GET", path=path)
    assert "in time" in await client.detail(f"{registry.host}/team/app:1")


async def test_a_blob_that_trickles_is_given_up(registry: Registry, connect: Connect) -> None:
    """A byte now and then would hold a place for ever."""
    client = connect(timeouts=Timeouts(backoff=(), idle=10.0))
    registry.push("team/app:1", NAMED)
    release = asyncio.Event()
    registry.lie(Slow(release), path=BASE.blob.digest)
    asking = asyncio.create_task(client.image(f"{registry.host}/team/app:1"))
    while not registry.asked("GET", BASE.blob.digest):
        await asyncio.sleep(0)
    await asyncio.sleep(0.02)
    client.clock.now += 11
    release.set()
    found = await asking
    assert isinstance(found.platforms[0].accounts, Unknown)
    assert "KiB/s" in found.platforms[0].accounts.detail


async def test_a_blob_of_another_length_is_not_read(registry: Registry, client: Client) -> None:
    """The header is enough to know."""
    registry.push("team/app:1", NAMED)
    registry.lie(Replace(lambda body: body + b"x" * 1_000_000), path=BASE.blob.digest)
    found = await client.image(f"{registry.host}/team/app:1")
    assert isinstance(found.platforms[0].accounts, Unknown)
    assert "for a blob of" in found.platforms[0].accounts.detail
    assert client.total.bytes_read < 100_000


@pytest.mark.parametrize(
    "answer", [b"", b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 banana\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000]
)
async def test_what_is_no_http_is_unreachable(connect: Connect, answer: bytes) -> None:
    """Whatever else listens there."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await connect(insecure=frozenset({host})).cause(f"{host}/team/app:1") == "unreachable"


async def test_nobody_at_home_is_unreachable(connect: Connect) -> None:
    """No listener, no such name."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    assert "does not accept" in await connect(insecure=frozenset({host})).detail(f"{host}/team/app:1")
    client = connect(insecure=frozenset({"nowhere.invalid"}))
    assert "does not resolve" in await client.detail("nowhere.invalid/team/app:1")


def _subclasses(kind: type[BaseException]) -> Iterator[type[BaseException]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _subclasses(each)


@pytest.mark.parametrize(
    "kind", sorted(set(_subclasses(aiohttp.ClientError)) | {TimeoutError, OSError, ValueError}, key=repr)
)
def test_every_foreign_error_becomes_ours(kind: type[Exception]) -> None:
    """At the one boundary, and none of them shows what it carried."""
    error = kind.__new__(kind)
    error.args = ("hunter2",)
    if issubclass(kind, aiohttp.ClientConnectorError):
        error._os_error = OSError("hunter2")  # type: ignore[attr-defined]
    if issubclass(kind, aiohttp.ClientResponseError):
        error.status = 502  # type: ignore[attr-defined]
    with pytest.raises(RegistryError) as caught, _mapped("registry.example.com", own=True):
        raise error
    assert caught.value.cause == "unreachable"
    assert str(caught.value).startswith("registry.example.com ")
    assert "hunter2" not in str(caught.value)


async def test_messages_hold_no_secret(registry: Registry, connect: Connect) -> None:
    """Whatever goes wrong, with whatever credential."""
    registry.push("team/app:1", APP)
    registry.login = Login({"u": "hunter2"})
    client = connect(None, docker_config(registry.host, "u", "hunter2"))
    faults: list[Fault] = [Status(401), Status(500), Headers({"Docker-Content-Digest": "x"}), Reset()]
    for number, fault in enumerate(faults):
        registry.honest()
        registry.lie(fault, path="manifests|token")
        found = json.dumps(repr(await client.ask(f"{registry.host}/team/app:{number}")))
        assert "hunter2" not in found
        assert "dTpodW50ZXIy" not in found
