"""Layers: a blob in, its facts out, read once whoever asks and kept by digest.

A layer is always read to its end, even where the answer came early: a later entry may replace it, and only the whole
blob has the digest that was promised. Decompression, hashing and reading the archive run in a few threads, beside the
event loop; the transfer never runs more than one batch ahead of them.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from webhook.accounts import Accounts
from webhook.errors import MalformedImage
from webhook.registry.archive import Archive
from webhook.registry.cache import Bounded, Flights
from webhook.registry.decompress import Decompressor
from webhook.registry.documents import Descriptor, check_layer
from webhook.registry.exchange import RegistryError, Sink
from webhook.registry.facts import Indexer, LayerFacts
from webhook.registry.rootfs import read_accounts
from webhook.registry.settings import RegistrySettings

Fetch = Callable[[Descriptor, Callable[[], Sink]], Awaitable[None]]
"""Transfers a blob into a fresh sink per attempt; the last one made has taken all of it."""

_BATCH = 256 * 1024
_WANTED = 64  # beyond that many paths a layer is read for the present image's alone


class LayerReader:
    """The reading itself, without I/O: `feed` it the blob's bytes, then `finish` it. Used by one thread at a time."""

    def __init__(self, layer: Descriptor, wanted: frozenset[str], settings: RegistrySettings) -> None:
        self._layer = layer
        self._limits = settings.limits
        self._indexer = Indexer(wanted, settings.limits)
        self._archive = Archive(self._indexer)
        self._decompressor = Decompressor(self._write, settings.limits.zstd_window)
        self._blob = hashlib.new(layer.algorithm)
        self._tar = hashlib.sha256()
        self._read = self._written = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the blob."""
        self._read += len(data)
        self._blob.update(data)
        self._decompressor.feed(data)

    def finish(self) -> LayerFacts:
        """The blob is at its end: check it, and say what was found."""
        self._layer.check(self._read, self._blob.hexdigest(), "layer")
        self._decompressor.finish()
        self._archive.finish()
        return self._indexer.facts(f"sha256:{self._tar.hexdigest()}")

    def _write(self, piece: bytes) -> None:
        self._written += len(piece)
        limits = self._limits
        if self._written > limits.tar_bytes:
            raise RegistryError("tooLarge", f"a layer unpacks to more than {limits.tar_bytes >> 20} MiB")
        if self._written > limits.tar_free_bytes and self._written > self._read * limits.tar_ratio:
            raise RegistryError("tooLarge", f"a layer unpacks to more than {limits.tar_ratio} times its size")
        self._tar.update(piece)
        self._archive.feed(piece)


class LayerSink:
    """Carries a transfer's bytes to a `LayerReader` in the pool, in batches, one at a time."""

    def __init__(self, reader: LayerReader, pool: ThreadPoolExecutor) -> None:
        self._reader = reader
        self._pool = pool
        self._batch: list[bytes] = []
        self._size = 0
        self._running: asyncio.Future[None] | None = None

    async def feed(self, piece: bytes) -> None:
        """Take the next bytes; raises what the reader made of the ones before."""
        self._batch.append(piece)
        self._size += len(piece)
        if self._size >= _BATCH:
            await self._flush()

    async def finish(self) -> LayerFacts:
        """The facts, once everything is read."""
        await self._flush()
        await self._settle()
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._reader.finish)

    async def _flush(self) -> None:
        await self._settle()
        data = b"".join(self._batch)
        self._batch, self._size = [], 0
        self._running = asyncio.get_running_loop().run_in_executor(self._pool, self._reader.feed, data)

    async def _settle(self) -> None:
        if self._running is not None:
            running, self._running = self._running, None
            await running


class Layers:
    """Every layer's facts, for ever or until memory is short."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._facts: Bounded[str, LayerFacts] = Bounded(settings.memory.layers)
        self._flights = Flights()
        self._pool = ThreadPoolExecutor(settings.layer_threads, thread_name_prefix="layer")
        self._streams = asyncio.Semaphore(3 * settings.layer_threads)

    async def accounts(self, layers: Sequence[Descriptor], diff_ids: Sequence[str], fetch: Fetch) -> Accounts:
        """The accounts files of the image that these layers make, the first of them the base.

        Raises `MalformedImage` for layers that a runtime would refuse or that two could extract differently, and
        `RegistryError` for those that cannot be had.
        """
        if len(layers) != len(diff_ids):
            raise MalformedImage(f"the manifest has {len(layers)} layers and the config {len(diff_ids)} diff_ids")
        if len(layers) > self._settings.limits.layers:
            raise RegistryError("tooLarge", f"the image has more than {self._settings.limits.layers} layers")
        steps = read_accounts(len(layers), self._settings.limits.rereads)
        try:
            need = next(steps)
            while True:
                facts = await self._read(layers[need.layer], need.wanted, fetch)
                if facts.diff_id != diff_ids[need.layer]:
                    raise MalformedImage(
                        f"layer {layers[need.layer].digest} is not the one that the config names by its diff_id"
                    )
                need = steps.send(facts)
        except StopIteration as stop:
            accounts: Accounts = stop.value
            return accounts

    async def aclose(self) -> None:
        """Cancel what is being read."""
        await self._flights.aclose()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _read(self, layer: Descriptor, wanted: frozenset[str], fetch: Fetch) -> LayerFacts:
        known = self._facts.get(layer.digest)
        if known is not None:
            if wanted <= known.wanted:
                return known
            if len(wanted | known.wanted) <= _WANTED:
                wanted |= known.wanted
        return await self._flights.join((layer.digest, wanted), lambda: self._fetch(layer, wanted, fetch))

    async def _fetch(self, layer: Descriptor, wanted: frozenset[str], fetch: Fetch) -> LayerFacts:
        check_layer(layer)
        if layer.size > self._settings.limits.layer_bytes:
            raise RegistryError("tooLarge", f"layer {layer.digest} has {layer.size >> 20} MiB")
        sinks: list[LayerSink] = []

        def fresh() -> LayerSink:
            sinks.append(LayerSink(LayerReader(layer, wanted, self._settings), self._pool))
            return sinks[-1]

        try:
            async with self._streams, asyncio.timeout(self._settings.timeouts.layer):
                await fetch(layer, fresh)
                facts = await sinks[-1].finish()
        except TimeoutError:
            seconds = self._settings.timeouts.layer
            raise RegistryError("unreachable", f"layer {layer.digest} was not read within {seconds:g} s") from None
        self._facts.put(layer.digest, facts, facts.weight)
        return facts
