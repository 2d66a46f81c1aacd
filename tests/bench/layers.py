"""How fast a real image's layers are read, and what the event loop feels of it: the product's own, gzip and zstd.

    python -m tests.bench.layers

Megabytes are uncompressed ones, as tar. Beside our reading (decompression, both digests, the archive) stand zlib's or
zstandard's decompression alone, and SHA-256 over the same bytes, which nobody can do without. `loop` is the longest
that another task had to wait.
"""

import asyncio
import hashlib
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import zstandard

from deploy.dev.images import build
from tests.bench.chunked import Layout, exported
from webhook.image.config import parse_config
from webhook.registry.layers.reader import Layers
from webhook.registry.manifest import Descriptor, Manifest, parse_document
from webhook.registry.settings import RegistrySettings
from webhook.registry.transport.messages import Sink

PIECE = 256 * 1024  # as the transport hands them on
ROUNDS = 3
PLAIN: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda blob: zlib.decompress(blob, wbits=31),
    "zstd": lambda blob: zstandard.ZstdDecompressor().decompressobj().decompress(blob),
}


async def main() -> list[str]:
    """The section's lines."""
    return await asyncio.to_thread(_section)


def _section() -> list[str]:
    product = build.build_product().reference
    lines = [
        "| compression | MB compressed | MB | ours, MB/s | library alone, MB/s | SHA-256, MB/s | loop, ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for compression in PLAIN:
        with tempfile.TemporaryDirectory() as folder:
            layout = exported(product, Path(folder) / "image", compression)
            lines.append(_row(layout, compression))
    return [*lines, ""]


def _row(layout: Layout, compression: str) -> str:
    blobs = {each["digest"]: layout.blob(each["digest"]) for each in layout.manifest["layers"]}
    outcomes = [asyncio.run(_ours(layout, blobs)) for _ in range(ROUNDS)]
    seconds, stall = (min(each) for each in zip(*outcomes, strict=True))
    tars = [PLAIN[compression](blob) for blob in blobs.values()]
    library = _timed(lambda: [PLAIN[compression](blob) for blob in blobs.values()])
    floor = _timed(lambda: [hashlib.sha256(tar).digest() for tar in tars])
    size = sum(map(len, tars)) / 1e6
    rates = " | ".join(f"{size / each:.0f}" for each in (seconds, library, floor))
    return f"| {compression} | {sum(map(len, blobs.values())) / 1e6:.1f} | {size:.1f} | {rates} | {stall * 1000:.1f} |"


async def _ours(layout: Layout, blobs: dict[str, bytes]) -> tuple[float, float]:
    """Seconds for reading every layer, and the longest wait of a task that asks for a turn each millisecond."""
    raw = layout.content().manifest
    manifest = parse_document(raw.data, raw.media_type)
    assert isinstance(manifest, Manifest)
    config = parse_config(layout.blob(manifest.config.digest))
    longest = 0.0

    async def heartbeat() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - before - 0.001)

    async def fetch(layer: Descriptor, sink: Callable[[], Sink]) -> None:
        into, blob = sink(), blobs[layer.digest]
        for start in range(0, len(blob), PIECE):
            await into.feed(blob[start : start + PIECE])
            await asyncio.sleep(0)

    layers, beating = Layers(RegistrySettings()), asyncio.create_task(heartbeat())
    began = time.perf_counter()
    try:
        for number in range(len(manifest.layers)):
            await layers.accounts(manifest.layers[: number + 1], config.diff_ids[: number + 1], fetch)
        return time.perf_counter() - began, longest
    finally:
        beating.cancel()
        await layers.aclose()


def _timed(work: Callable[[], object]) -> float:
    """The shortest of some runs."""
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


if __name__ == "__main__":
    print("\n".join(asyncio.run(main())))
