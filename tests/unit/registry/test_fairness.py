"""One namespace does the worst that it can, and another's images are read as if it were not there."""

import asyncio
import itertools
import os
import socket
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.dev.oci import accounts_layer, file, image, layer, raw_layer, tar
from deploy.dev.registry import Hang, Registry, Slow, Status
from tests.unit.registry.clients import NO_PAUSE, Client
from tests.unit.registry.samples import ACCOUNTS, BASE, NAMED, Connect
from webhook.image.passwd import AccountFiles
from webhook.image.source import Image, Query
from webhook.registry.layers.reader import SWITCH_INTERVAL
from webhook.registry.settings import Timeouts
from webhook.registry.transport.http import Transport
from webhook.registry.transport.messages import RegistryError


async def begin(client: Client, host: str, count: int, namespace: str = "evil", path: str = "evil/app") -> None:
    """Ask for images that are never answered, and do not wait."""
    for number in range(count):
        await client.find(Query(f"{host}/{path}{number}:1", namespace=namespace, budget=0))
    await asyncio.sleep(0.05)


async def test_slow_layers_hold_up_their_own_namespace(registry: Registry, connect: Connect) -> None:
    """However many they are: another's tiny image has its turn at once."""
    slow = [layer(file("etc/passwd", f"app:x:{number}:7::/:")) for number in range(20)]
    for number, each in enumerate(slow):
        registry.push(f"evil/app{number}:1", image(each, user="app"))
        registry.lie(Slow(), path=each.blob.digest)
    client = connect()
    await begin(client, registry.host, 20)
    registry.push("good/app:1", NAMED)
    found = await client.image(f"{registry.host}/good/app:1", namespace="good", budget=2)
    assert found.platforms[0].accounts == ACCOUNTS
    assert sum(registry.asked("GET", each.blob.digest) for each in slow) == 2


async def test_a_layer_that_a_slow_registry_has_too_is_read_from_ones_own(registry: Registry, connect: Connect) -> None:
    """What one namespace reads of a digest is not what another waits for."""
    async with Registry() as evil:
        for host in (registry, evil):
            host.push("team/app:1", NAMED)
        evil.lie(Slow(), path=BASE.blob.digest)
        client = connect(insecure=frozenset({registry.host, evil.host}))
        await client.find(Query(f"{evil.host}/team/app:1", namespace="evil", budget=0.2))
        assert evil.asked("GET", BASE.blob.digest)
        found = await client.image(f"{registry.host}/team/app:1", namespace="good", budget=2)
        assert found.platforms[0].accounts == ACCOUNTS


@pytest.mark.thorough
async def test_a_layer_that_takes_long_to_read_is_read_in_turns(registry: Registry, connect: Connect) -> None:
    """A blob of a few KiB may stand for much work: another's tiny layer is read in between."""
    endless = raw_layer(tar(file("a", ""))[:512] * 40_000 + tar(file("etc/passwd", "app:x:7:7::/:")))
    registry.push("evil/app:1", image(endless, user="app"))
    registry.push("good/app:1", NAMED)
    client = connect()
    evil = asyncio.create_task(client.image(f"{registry.host}/evil/app:1", namespace="evil", budget=50))
    while not registry.asked("GET", endless.blob.digest):
        await asyncio.sleep(0.01)
    found = await client.image(f"{registry.host}/good/app:1", namespace="good", budget=50)
    assert found.platforms[0].accounts == ACCOUNTS
    assert not evil.done()
    assert isinstance((await evil).platforms[0].accounts, AccountFiles)


@pytest.mark.thorough
async def test_many_namespaces_do_not_fill_all_turns(registry: Registry, connect: Connect) -> None:
    """Ten with eight look-ups each that hang: the next has one of its own."""
    registry.lie(Hang(), path="evil")
    client = connect()
    for tenant in range(10):
        await begin(client, registry.host, 8, f"evil{tenant}", f"evil{tenant}/app")
    registry.push("good/app:1", NAMED)
    assert isinstance(await client.ask(f"{registry.host}/good/app:1", namespace="good", budget=2), Image)


async def test_a_mirror_that_fails_for_one_namespace_is_asked_for_others(registry: Registry, connect: Connect) -> None:
    """What lies behind it is not there for the images of one; after some failures that one alone is told so at once."""
    registry.lie(Status(504), path="evil")
    registry.push("good/app:1", NAMED)
    client = connect()
    for number in range(4):
        await client.cause(f"{registry.host}/evil/app{number}:1", namespace="evil")
    assert "lately" in await client.detail(f"{registry.host}/evil/app5:1", namespace="evil")
    assert isinstance(await client.ask(f"{registry.host}/good/app:1", namespace="good"), Image)


async def test_a_registry_that_is_down_is_so_for_all(connect: Connect) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{closed.getsockname()[1]}"
        client = connect(insecure=frozenset({host}))
        for number in range(4):
            await client.cause(f"{host}/team/app{number}:1", namespace="one")
        assert "lately" in await client.detail(f"{host}/team/app:1", namespace="another")


async def test_an_image_that_waits_in_anothers_queue_is_read_for_who_asks(registry: Registry, connect: Connect) -> None:
    """Also where the question is the same."""
    registry.lie(Hang(), path="evil")
    registry.push("public/app:1", NAMED)
    client = connect(look_ups_per_namespace=2)
    await begin(client, registry.host, 4)
    await client.find(Query(f"{registry.host}/public/app:1", namespace="evil", budget=0))
    assert isinstance(await client.ask(f"{registry.host}/public/app:1", namespace="good", budget=2), Image)


async def test_a_failure_is_its_namespaces_own(registry: Registry, connect: Connect) -> None:
    """What one was not told for lack of turns another is."""
    slow = [layer(file("etc/passwd", f"app:x:{number}:7::/:")) for number in range(2)]
    for number, each in enumerate(slow):
        registry.push(f"evil/app{number}:1", image(each, user="app"))
        registry.lie(Slow(), path=each.blob.digest)
    registry.push("public/app:1", NAMED)
    client = connect(timeouts=Timeouts(backoff=(), look_up=0.3))
    await begin(client, registry.host, 2)
    for _ in range(2):
        assert await client.cause(f"{registry.host}/public/app:1", namespace="evil") == "unreachable"
    assert registry.asked("GET", "public/app/manifests") == 1
    found = await client.image(f"{registry.host}/public/app:1", namespace="good")
    assert found.platforms[0].accounts == ACCOUNTS


@pytest.fixture
def slow_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Names under slow.invalid are not resolved before the test is over; every other is this machine."""
    over, plain = threading.Event(), socket.getaddrinfo

    def resolve(host: str, *more: Any) -> Any:
        if host.endswith("slow.invalid"):
            over.wait(30)
            raise socket.gaierror(-3, "no")
        return plain("127.0.0.1" if host.endswith(".invalid") else host, *more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield
    over.set()


@pytest.mark.thorough
@pytest.mark.usefixtures("slow_names")
async def test_slow_names_hold_up_their_own_namespace(registry: Registry, connect: Connect) -> None:
    """Every thread that is waiting counts, and whoever joined its look-up asks anew."""
    registry.push("good/app:1", NAMED)
    port = registry.host.rpartition(":")[2]
    fast, also = f"fast.invalid:{port}", f"also.invalid:{port}"
    client = connect(
        insecure=frozenset({fast, also}),
        look_ups_per_namespace=16,
        timeouts=Timeouts(backoff=NO_PAUSE.backoff, names=5, document=5),
    )
    for number in range(8):
        await begin(client, f"x{number}.slow.invalid", 1)
    evil = asyncio.create_task(client.detail(f"{fast}/good/app:1", namespace="evil"))
    await asyncio.sleep(0)
    found = await client.ask(f"{fast}/good/app:1", namespace="good", budget=2)
    assert isinstance(found, Image)
    assert "too many names" in await evil
    assert isinstance(await client.ask(f"{also}/good/app:1", namespace="other", budget=2), Image)


@pytest.mark.usefixtures("slow_names")
async def test_a_name_is_not_waited_for_without_end(connect: Connect) -> None:
    """The thread goes on, the look-up does not."""
    client = connect(timeouts=Timeouts(backoff=(), names=0.05))
    assert "did not answer in time" in await client.detail("x.slow.invalid/a:1")


class SlowBody:
    """A body that arrives so fast, by the test's clock."""

    content_length = None

    def __init__(self, client: Client, rate: int, size: int) -> None:
        self._client, self._rate, self._size = client, rate, size
        self.content = self

    async def iter_chunked(self, _: int) -> Any:
        """A second's worth at a time."""
        for _ in range(self._size // self._rate):
            self._client.clock.now += 1
            yield b"x" * self._rate


class Drain:
    """Takes everything."""

    async def feed(self, piece: bytes) -> None:
        """Take the next bytes."""


@pytest.mark.parametrize(("rate", "seconds"), [(20, 16), (50, 25), (100, 92), (200, 226)])
async def test_what_is_slow_must_be_short(client: Client, rate: int, seconds: int) -> None:
    """The rate that a transfer must have on average rises with time."""
    transport: Transport = client._transport
    answer, started = SlowBody(client, rate * 1024, 4000 * rate * 1024), client.clock.now
    with pytest.raises(RegistryError, match="at less than"):
        await transport._pour(answer, Drain(), 4000 * rate * 1024, "a", ())  # type: ignore[arg-type]
    assert client.clock.now - started == pytest.approx(seconds, abs=2)


async def test_an_image_for_everybody_is_read_once_by_each_namespace_that_waits(
    registry: Registry, connect: Connect
) -> None:
    """What several ask for at once is transferred by no more than have a turn, and then known to all."""
    content = image(accounts_layer("app:x:5:5::/:"), user="app")
    registry.push("public/app:1", content)
    client = connect()
    answers = [client.ask(f"{registry.host}/public/app:1", namespace=f"ns{number}") for number in range(40)]
    assert all(isinstance(each, Image) for each in await asyncio.gather(*answers))
    assert registry.asked("GET", "manifests") == 1
    assert registry.asked("GET", "blobs") <= 1 + 6


SECONDS = float(os.environ.get("NONROOT_FAIRNESS_SECONDS", "2"))  # 300 for the long form, on a quiet machine


async def admissions(client: Client, registry: Registry, seconds: float, label: str) -> list[float]:
    """Seconds until each of many new images of one namespace was read, one after the other."""
    took, ends = list[float](), time.monotonic() + seconds
    while time.monotonic() < ends:
        accounts = accounts_layer(f"app:x:{1000 + len(took)}:7::/:")
        registry.push(f"good/{label}{len(took)}:1", image(accounts, user="app"))
        started = time.monotonic()
        found = await client.image(f"{registry.host}/good/{label}{len(took)}:1", namespace="good", budget=10)
        took.append(time.monotonic() - started)
        assert isinstance(found.platforms[0].accounts, AccountFiles)
        await asyncio.sleep(0.02)
    return sorted(took)


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads take turns as in a replica."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    yield
    sys.setswitchinterval(before)


@pytest.mark.thorough
@pytest.mark.timeout(3 * SECONDS + 60)
@pytest.mark.usefixtures("slow_names", "switching")
async def test_one_tenant_does_its_worst(registry: Registry, connect: Connect) -> None:
    """Hanging manifests, slow layers, bombs of records and names that do not resolve, all the time: another's are all read."""
    records = b"11 aaaa=bb\n" * 90_000
    header = tarfile.TarInfo("h")
    header.size, header.type = len(records), tarfile.XGLTYPE
    block = header.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % 512)
    bombs = [image(raw_layer(block * 3 + tar(file("etc/passwd", f"{each}"))), user="app") for each in range(20)]
    client = connect()
    quiet = await admissions(client, registry, SECONDS, "quiet")
    registry.lie(Hang(), path="evil/hang.*manifests")

    async def evil() -> None:
        for number in itertools.count():
            slow = layer(file("etc/passwd", f"app:x:{number}:7::/:"))
            registry.push(f"evil/slow{number}:1", image(slow, user="app"))
            registry.lie(Slow(), path=slow.blob.digest)
            registry.push(f"evil/bomb{number}:1", bombs[number % len(bombs)])
            for name in (f"{registry.host}/evil/slow{number}", f"{registry.host}/evil/hang{number}"):
                await client.find(Query(f"{name}:1", namespace="evil", budget=0))
            for name in (f"{registry.host}/evil/bomb{number}", f"x{number}.slow.invalid/a"):
                await client.find(Query(f"{name}:1", namespace=f"evil{number % 3}", budget=0))
            await asyncio.sleep(0.1)

    attack = asyncio.create_task(evil())
    during = await admissions(client, registry, SECONDS, "during")
    attack.cancel()
    p99 = [each[len(each) * 99 // 100] for each in (quiet, during)]
    print(f"\n{len(quiet)} and {len(during)} images; p99 {p99[0] * 1e3:.0f} ms quiet, {p99[1] * 1e3:.0f} ms during")
