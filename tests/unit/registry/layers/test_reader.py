"""Layers and the memory that their compression asks for: the usual one side by side, more of it one after the other."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import zstandard

from deploy.dev.oci import file, sha256, tar
from webhook.registry.layers.reader import Layers
from webhook.registry.manifest import Descriptor
from webhook.registry.settings import Limits, RegistrySettings
from webhook.registry.transport.messages import RegistryError, Sink

USUAL, LARGE = 20, 22  # exponents of windows, in bytes
SETTINGS = RegistrySettings(limits=Limits(zstd_usual_window=1 << USUAL, zstd_window=1 << LARGE))


class Registry:
    """Layers in zstd, each with a window of its own, and how they were fetched."""

    def __init__(self, *windows: int) -> None:
        self._blobs: dict[str, bytes] = {}
        self.images: list[tuple[Descriptor, str]] = []
        self.fetched: list[int] = []
        self.under_way = self.most = 0
        for number, window in enumerate(windows):
            archive = tar(file("etc/passwd", f"app:x:{number}:{number}::/:\n"))
            parameters = zstandard.ZstdCompressionParameters(window_log=window, write_content_size=False)
            squeeze = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
            data = squeeze.compress(archive) + squeeze.flush()
            layer = Descriptor("application/vnd.oci.image.layer.v1.tar+zstd", sha256(data), len(data))
            self._blobs[layer.digest] = data
            self.images.append((layer, sha256(archive)))

    async def fetch(self, layer: Descriptor, fresh: Callable[[], Sink]) -> None:
        """As `webhook.registry.layers.reader.Fetch`."""
        self.fetched.append([each.digest for each, _ in self.images].index(layer.digest))
        self.under_way += 1
        try:
            await asyncio.sleep(0.01)
            await fresh().feed(self._blobs[layer.digest])
            self.most = max(self.most, self.under_way)
        finally:
            self.under_way -= 1

    async def read(self, layers: Layers) -> list[bytes | None]:
        """The passwd files of as many images as there are layers, all at once."""
        found = await asyncio.gather(
            *(layers.accounts((layer,), (diff_id,), self.fetch) for layer, diff_id in self.images)
        )
        await layers.aclose()
        return [each.passwd for each in found]


async def test_an_unusual_window_is_had_by_beginning_again() -> None:
    registry = Registry(USUAL, LARGE)
    assert await registry.read(Layers(SETTINGS)) == [b"app:x:0:0::/:\n", b"app:x:1:1::/:\n"]
    assert sorted(registry.fetched) == [0, 1, 1]


async def test_a_window_that_nobody_gives_is_refused() -> None:
    registry = Registry(LARGE + 1)
    with pytest.raises(RegistryError, match="needs a window of more than 4 MiB") as refused:
        await registry.read(Layers(SETTINGS))
    assert refused.value.cause == "tooLarge"  # the limit is ours: nodes have more


async def test_large_windows_are_had_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is what bounds the memory of all layers that are read at the same time."""
    registry, layers = Registry(*[LARGE] * 8), Layers(SETTINGS)
    plain, given, most = layers._stream, list[int](), 0

    async def stream(layer: Any, look: Any, fetch: Any, window: int) -> Any:
        nonlocal most
        given.append(window)
        most = max(most, given.count(1 << LARGE))
        try:
            return await plain(layer, look, fetch, window)
        finally:
            given.remove(window)

    monkeypatch.setattr(layers, "_stream", stream)
    assert None not in await registry.read(layers)
    assert most == 1
    assert registry.most > 1  # as long as it was the usual one
