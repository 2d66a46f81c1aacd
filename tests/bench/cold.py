"""Images that nobody has asked for before, from a registry 20 ms and 200 Mbit/s away: time against what the wire needs.

The bound is one round trip to connect where that is still to be done, one for each request that has to wait for the one
before it, and the bytes read over the bandwidth. The registry and the wire run in the same process as ours.
"""

import asyncio
import os
import random
import time
from typing import NamedTuple

from deploy.dev.oci import Layer, accounts_layer, directory, file, image, index, layer
from deploy.dev.registry import Login, Registry
from tests.bench.servers import PAGE
from tests.bench.wire import Wire
from webhook.image.source import Image, Query, Unknown
from webhook.registry.client import RegistryClient
from webhook.registry.settings import RegistrySettings
from webhook.registry.transport.messages import Cost

ROUND_TRIP = 0.020  # seconds
BANDWIDTH = 200e6 / 8  # bytes a second
ROUNDS = 3
MANY = 200
MIB = 1 << 20
DEBIAN = ("root:x:0:0:root:/root:/bin/bash", "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin")


class Shape(NamedTuple):
    """An image, alone or in an index, and its registry: with a token or without, met before, or known by its name.

    Ours on loopback cannot have a name that is known: what is known of such registries is said of it.
    """

    title: str
    layers: tuple[Layer, ...]
    user: str
    indexed: bool = False
    token: bool = False
    met: bool = False
    known: bool = False


class Look(NamedTuple):
    """One look at one image."""

    seconds: float
    requests: int
    before_layers: int  # requests until the first layer was asked for, or all of them
    connected: int  # connections that were opened
    read: int  # bytes
    size: int  # bytes of the whole image

    @property
    def bound(self) -> float:
        """The seconds that the wire alone takes for it."""
        layers = self.requests > self.before_layers
        return (self.connected + self.before_layers + layers) * ROUND_TRIP + self.read / BANDWIDTH


async def main() -> list[str]:
    """The section's lines."""
    base, added = _base(), accounts_layer(*DEBIAN, "app:x:1000:1000::/:/bin/sh", groups=("root:x:0:", "app:x:1000:"))
    lines = [
        f"A registry {ROUND_TRIP * 1000:.0f} ms and {BANDWIDTH * 8 / 1e6:.0f} Mbit/s away; medians of {ROUNDS}.",
        "",
        "| image | ms | the wire alone, ms | requests | before layers | MiB read | MiB of the image |",
        "|---|---|---|---|---|---|---|",
    ]
    apart, on_top = (base, added, _noise(1, 20)), (base, _noise(1, 20), added)
    passwd_alone = (base, _noise(1, 20), layer(file("etc/passwd", "root:x:0:0::/:\napp:x:1000:1000::/:\n")))
    shapes = [
        Shape("numeric USER", apart, "1000"),
        Shape("numeric USER, token asked for", apart, "1000", token=True),
        Shape("numeric USER, an index", apart, "1000", indexed=True),
        Shape("numeric USER, an index, token asked for, registry met before", apart, "1000", True, True, True),
        Shape("numeric USER, an index, token asked for, registry never met", apart, "1000", True, True),
        Shape("numeric USER, an index, token asked for, registry known", apart, "1000", True, True, known=True),
        Shape("named USER, 51 MiB in three layers", apart, "app"),
        Shape("named USER, an index, token asked for, registry met before", apart, "app", True, True, True),
        Shape("named USER, its user made in the last layer", on_top, "app"),
        Shape("named USER, only /etc/passwd written in the last layer", passwd_alone, "app"),
    ]
    for shape in shapes:
        looks = sorted([await _look(shape) for _ in range(ROUNDS)])
        found = looks[len(looks) // 2]
        lines.append(
            f"| {shape.title} | {found.seconds * 1000:.0f} | {found.bound * 1000:.0f} | {found.requests} | "
            f"{found.before_layers} | {found.read / MIB:.1f} | {found.size / MIB:.1f} |"
        )
    together = await _together(base)
    return [*lines, "", together, ""]


def _random(seed: int) -> bytes:
    """A MiB which no compression makes smaller."""
    return random.Random(seed).randbytes(MIB)  # noqa: S311  # noise


def _noise(seed: int, size: int) -> Layer:
    """A layer of that many MiB without accounts."""
    return layer(directory("app"), *[file(f"app/{number}", _random(seed * 1000 + number)) for number in range(size)])


def _base() -> Layer:
    """30 MiB with the accounts in their midst, as a Debian has them."""
    noise = [file(f"usr/{number}", _random(number)) for number in range(30)]
    passwd = file("etc/passwd", "".join(f"{line}\n" for line in DEBIAN))
    return layer(directory("etc"), *noise[:10], passwd, file("etc/group", "root:x:0:\n"), *noise[10:])


async def _look(shape: Shape) -> Look:
    async with Registry() as registry:
        whole = image(*shape.layers, user=shape.user)
        registry.push("team/app:1", index(whole, image(user="1", architecture="arm64")) if shape.indexed else whole)
        registry.push("team/other:1", image(user="1"))
        async with Wire(ROUND_TRIP, BANDWIDTH).before("127.0.0.1", int(registry.host.partition(":")[2])) as port:
            if shape.token:
                registry.login = Login({}, anonymous=True, realm=f"http://127.0.0.1:{port}/token")
            client, cost = _client(port), Cost()
            if shape.known:
                expected = {"realm": f"http://127.0.0.1:{port}/token", "service": "registry"}
                client._session.expected[f"127.0.0.1:{port}"] = expected
            if shape.met:
                _check(await client.find(Query(f"127.0.0.1:{port}/team/other:1", budget=60)))
                registry.requests.clear()
            started = time.perf_counter()
            query = Query(f"127.0.0.1:{port}/team/app:1", architectures=frozenset({"amd64"}), budget=60)
            found = await client.find(query, cost)
            seconds = time.perf_counter() - started
            await client.aclose()
        _check(found)
        blobs = {each.blob.digest for each in shape.layers}
        asked = [str(each).rpartition("/")[2] in blobs for each in registry.requests]
        before = asked.index(True) if True in asked else len(asked)
        connected = 0 if shape.met else 1
        return Look(seconds, len(asked), before, connected, cost.bytes_read, cost.bytes_image)


async def _together(base: Layer) -> str:
    """Many images at once on one base, which has their user."""
    async with Registry() as registry:
        for number in range(MANY):
            registry.push(f"team/app{number}:1", image(base, _noise(100 + number, 1), user="www-data"))
        wire = Wire(ROUND_TRIP, BANDWIDTH)
        async with wire.before("127.0.0.1", int(registry.host.partition(":")[2])) as port:
            client, cost = _client(port), Cost()
            before, peak = _rss(), 0.0
            started, cpu = time.perf_counter(), time.process_time()
            looks = [
                asyncio.create_task(client.find(Query(f"127.0.0.1:{port}/team/app{number}:1", budget=120), cost))
                for number in range(MANY)
            ]
            while not all(look.done() for look in looks):
                await asyncio.sleep(0.02)
                peak = max(peak, _rss())
            seconds, spent = time.perf_counter() - started, time.process_time() - cpu
            await client.aclose()
        for look in looks:
            _check(look.result())
        bases = sum(base.blob.digest in str(each) for each in registry.requests)
        return (
            f"{MANY} images on one base, cold and all at once: {seconds:.1f} s for {wire.bytes / MIB:.0f} MiB "
            f"({wire.bytes / BANDWIDTH:.1f} s of the wire), {len(registry.requests)} requests, its layer asked "
            f"for {bases} times, {peak - before:.0f} MiB of memory more at most, "
            f"{spent:.1f} s of CPU with the registry and the wire."
        )


def _client(port: int) -> RegistryClient:
    return RegistryClient(RegistrySettings(insecure=frozenset({f"127.0.0.1:{port}"})))


def _check(found: Image | Unknown) -> None:
    if isinstance(found, Unknown):
        raise SystemExit(f"the image was not read: {found.cause}: {found.detail}")


def _rss() -> float:
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123  # read fifty times a second
        return int(statm.read().split()[1]) * PAGE / MIB


if __name__ == "__main__":
    print("\n".join(asyncio.run(main())), os.linesep)
