"""Hostile images from a hostile registry, asked for by a Pod: each ends in a refusal, at a bounded cost.

One by one these are in tests/registry (archives, compression, documents, links, addresses); here they meet a whole server.
"""

import asyncio
import contextlib
import hashlib
import json
import re
import tarfile
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard
from aiohttp import web

from deploy.dev.oci import Blob, Content, Layer, accounts_layer, document, file, hardlink, image, layer, symlink
from deploy.dev.registry import Redirect, Registry, Status
from tests.resilience.conftest import LONG
from tests.resilience.victim import LIMIT, MIB, Victim, result, serving
from tests.support.tables import table

pytestmark = [pytest.mark.survive, pytest.mark.timeout(300)]

GIB = 1024 * MIB
GZIP, ZSTD = "application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.layer.v1.tar+zstd"
ENTRIES = 10_000_000 if LONG else 2_100_000  # of which two million are read
WINDOWS = 12
ESCAPES = "\x1b[2J\x1b]0;owned\x07\r\n2026-01-01 00:00:00 INFO forged\u202e\u2028"


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    """Anything goes."""
    async with Registry() as running:
        yield running


@pytest.fixture
async def victim(tmp_path: Path, registry: Registry) -> AsyncIterator[Victim]:
    """A server that may ask that registry."""
    async with serving(tmp_path, "--insecure-registry", registry.host) as running:
        yield running


def _gzip(pieces: Iterator[bytes], level: int = 1) -> Layer:
    return _squeezed(pieces, zlib.compressobj(level, wbits=31), GZIP)


def _zstd(pieces: Iterator[bytes]) -> Layer:
    return _squeezed(pieces, zstandard.ZstdCompressor(level=1).compressobj(), ZSTD)


def _squeezed(pieces: Iterator[bytes], squeeze: Any, media_type: str) -> Layer:
    """The layer of an archive that is not held whole."""
    archive, data = hashlib.sha256(), []
    for piece in pieces:
        archive.update(piece)
        data.append(squeeze.compress(piece))
    return Layer(Blob(b"".join([*data, squeeze.flush()]), media_type), f"sha256:{archive.hexdigest()}")


def windowed(number: int) -> Layer:
    """A layer that asks for a window of 64 MiB, and fills it; each number is another layer."""
    parameters = zstandard.ZstdCompressionParameters(window_log=26, compression_level=1)
    squeeze = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return _squeezed(_large(str(number), 80 * MIB), squeeze, ZSTD)


def _large(name: str, size: int) -> Iterator[bytes]:
    """A file of zeros in a tar."""
    entry = tarfile.TarInfo(name)
    entry.size = size
    yield entry.tobuf()
    for _ in range(size // MIB):
        yield bytes(MIB)


def _many() -> Iterator[bytes]:
    block = b"".join(tarfile.TarInfo(f"a/{number}").tobuf() for number in range(1000))
    for _ in range(ENTRIES // 1000):
        yield block


def _passwd() -> Iterator[bytes]:
    line = b"app:x:1000:1000::/:/bin/sh\n"
    entry = tarfile.TarInfo("etc/passwd")
    entry.size = GIB
    yield entry.tobuf()
    for _ in range(GIB // MIB):
        yield (line * (MIB // len(line) + 1))[:MIB]


IMAGES: dict[str, Callable[[], Content]] = {
    "a gzip bomb of 2 GiB": lambda: image(_gzip(_large("x", 2 * GIB), level=9), user="app"),
    "a zstd bomb of 2 GiB": lambda: image(_zstd(_large("x", 2 * GIB)), user="app"),
    f"a layer of {ENTRIES:,} entries": lambda: image(_gzip(_many()), user="app"),
    "an /etc/passwd of 1 GiB": lambda: image(_gzip(_passwd()), user="app"),
    "paths that lead out of the image": lambda: image(
        layer(
            file("../../etc/passwd", "app:x:0:0::/:\n"),
            symlink("etc", "../../../../etc"),
            hardlink("etc/passwd", "../../../etc/passwd"),
        ),
        user="app",
    ),
    "1,000 layers": lambda: image(
        *[accounts_layer(f"u{each}:x:{each}:{each}::/:") for each in range(1000)], user="app"
    ),
    "a config of 64 MiB": lambda: image(config=b'{"config": {"User": "' + b"x" * 64 * MIB + b'"}}'),
    "a manifest nested a million deep": lambda: document(b"[" * MIB + b"]" * MIB),
    "a USER of escapes": lambda: image(accounts_layer("app:x:1:1::/:"), user=ESCAPES),
    "a USER of a million letters": lambda: image(accounts_layer("app:x:1:1::/:"), user="x" * MIB),
}


@table("make", IMAGES)
async def test_a_hostile_image(
    victim: Victim, registry: Registry, make: Callable[[], Content], request: pytest.FixtureRequest
) -> None:
    """The Pod is refused, or admitted as it is with a warning; what is said is short and has no control character in it."""
    registry.push("evil/app:1", await asyncio.to_thread(make))
    async with victim.attacked(request.node.callspec.id) as answers:
        response = await _settled(victim, f"{registry.host}/evil/app:1")
        message = result(response)
        answers.append(message[:200])
        assert not response.get("patch")
        assert len(message) < 4096
        assert message.isprintable(), repr(message)
    _assert_clean(victim)


async def test_many_windows_at_once(victim: Victim, registry: Registry) -> None:
    """Frames may ask for 64 MiB of memory each: a few do at a time, and none a moment longer than it is read."""
    for number in range(WINDOWS):
        registry.push(f"evil/app:{number}", image(windowed(number), user="app"))
    async with victim.attacked(f"{WINDOWS} layers at once with windows of 64 MiB") as answers:
        found = await asyncio.gather(
            *(_settled(victim, f"{registry.host}/evil/app:{number}") for number in range(WINDOWS))
        )
        answers.append(result(found[0])[:200])
    assert victim.memory() < LIMIT / 2


async def test_a_registry_that_never_ends(registry: Registry, tmp_path: Path) -> None:
    """A blob that promises little and sends for ever, from where the registry leads to."""
    stop = asyncio.Event()

    async def forever(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            while not stop.is_set():
                await answer.write(bytes(MIB))
        return answer

    endless = web.Application()
    endless.router.add_route("*", "/{path:.*}", forever)
    runner = web.AppRunner(endless, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    elsewhere = f"127.0.0.1:{runner.addresses[0][1]}"
    registry.push("evil/app:1", image(accounts_layer("app:x:1:1::/:"), user="app"))
    registry.lie(Redirect(f"http://{elsewhere}{{path}}"), path="blobs")
    both = [f"--insecure-registry={each}" for each in (registry.host, elsewhere)]
    try:
        async with (
            serving(tmp_path, *both) as victim,
            victim.attacked("a registry that leads to a stream without end") as answers,
        ):
            response = await _settled(victim, f"{registry.host}/evil/app:1")
            answers.append(result(response)[:200])
            assert not response.get("patch")
    finally:
        stop.set()
        await runner.cleanup()


async def test_words_of_a_registry_are_not_believed(victim: Victim, registry: Registry) -> None:
    """What it writes into its errors reaches neither a log nor a terminal as it is."""
    body = json.dumps({"errors": [{"code": ESCAPES, "message": ESCAPES * 1000}]}).encode()
    registry.lie(Status(403, {"WWW-Authenticate": 'Basic realm="\\u001b[31m"'}, body))
    async with victim.attacked("errors full of escapes") as answers:
        response = await _settled(victim, f"{registry.host}/evil/app:1")
        answers.append(result(response)[:200])
        assert result(response).isprintable(), repr(result(response))
    _assert_clean(victim)


async def _settled(victim: Victim, reference: str) -> dict[str, Any]:
    """The answer once it is not "come again"."""
    deadline = time.monotonic() + 60
    while True:
        response = await victim.ask(reference)
        if response.get("status", {}).get("code") != 429 or time.monotonic() > deadline:
            return response
        await asyncio.sleep(0.2)


def _assert_clean(victim: Victim) -> None:
    """Every line of the log is one of ours, and none can move a cursor."""
    text = victim.log.read_text(encoding="utf-8")
    for line in text.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ ", line), repr(line)
        assert line.isprintable(), repr(line)
        assert len(line) < 8192
