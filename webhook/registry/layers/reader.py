"""The reader of layers: it streams a layer's blob into an index or a survey, and keeps the result by digest.

A layer is always read to its end, even where the answer came early: a later entry may replace it, and only the whole
blob has the digest that was promised. Decompression, hashing and reading the archive run in threads, beside the event
loop; the transfer never runs more than one batch ahead of them. A batch of 40 KiB may stand for seconds of reading, so
they read in turns of a few milliseconds.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Generic, Protocol, TypeVar

from webhook.caching import TENANT, FairSemaphore, LRUCache, SingleFlight
from webhook.errors import MalformedImage
from webhook.image import start
from webhook.image.config import Config, User
from webhook.image.filesystem import Layer, Survey
from webhook.image.passwd import AccountFiles
from webhook.image.user import group_matters
from webhook.registry.layers.compression import Decompressor, LargeWindow
from webhook.registry.layers.index import LayerIndex, LayerIndexer
from webhook.registry.layers.overlay import ACCOUNTS, Need, passwd_layer, read_accounts
from webhook.registry.layers.survey import Surveyed, Surveyor, Tree, capable, directories, scripts, special
from webhook.registry.layers.tar import Archive
from webhook.registry.layers.turns import ThreadTurns
from webhook.registry.manifest import Descriptor, check_layer
from webhook.registry.settings import Limits, RegistrySettings
from webhook.registry.transport.messages import RegistryError, Sink
from webhook.registry.transport.stats import RegistryStats

Result = TypeVar("Result")
Out = TypeVar("Out", covariant=True)  # noqa: PLC0105  # what a look has to say

Fetch = Callable[[Descriptor, Callable[[], Sink]], Awaitable[None]]
"""Transfers a blob into a fresh sink per attempt; the last one made has taken all of it."""

_BATCH = 256 * 1024
_TURN = 32 * 1024  # bytes of an archive that are read in one turn
SWITCH_INTERVAL = 0.0005
"""Seconds after which the threads that read layers let the event loop have its turn (`sys.setswitchinterval`): with Python's
own ten times as many every answer waits for them, once for each step that it takes."""
_WANTED = 64  # beyond that many paths a layer is read for the present image's alone


class Look(Protocol[Out]):
    """One way to look at a layer: at a few paths, or at everything."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the uncompressed archive."""
        ...

    def finish(self, diff_id: str) -> Out:
        """The archive is at its end, and has that digest: say what was found."""
        ...


class Indexed:
    """Admission's look: a few paths and what leads to them."""

    def __init__(self, wanted: frozenset[str], limits: Limits) -> None:
        self._indexer = LayerIndexer(wanted, limits)
        self._archive = Archive(self._indexer, limits.entries)

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the archive."""
        self._archive.feed(data)

    def finish(self, diff_id: str) -> LayerIndex:
        """The layer's word on those paths."""
        self._archive.finish()
        return self._indexer.facts(diff_id)


class LayerReader(Generic[Result]):
    """The reading itself, without I/O: `feed` it the blob's bytes, then `finish` it. Used by one thread at a time.

    It reads a piece of the archive in each `turn`.
    """

    def __init__(
        self,
        layer: Descriptor,
        look: Look[Result],
        settings: RegistrySettings,
        window: int,
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._layer = layer
        self._limits = settings.limits
        self._look = look
        self._turn = turn
        self._decompressor = Decompressor(window)
        self._blob = hashlib.new(layer.algorithm)
        self._tar = hashlib.sha256()
        self._read = self._written = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the blob."""
        self._read += len(data)
        self._blob.update(data)
        self._decompressor.feed(data, self._write)

    def finish(self) -> Result:
        """The blob is at its end: check it, and say what was found."""
        self._layer.check(self._read, self._blob.hexdigest(), "layer")
        self._decompressor.finish(self._write)
        return self._look.finish(f"sha256:{self._tar.hexdigest()}")

    def _write(self, piece: bytes) -> None:
        self._written += len(piece)
        limits = self._limits
        if self._written > limits.tar_bytes:
            raise RegistryError("tooLarge", f"a layer unpacks to more than {limits.tar_bytes >> 20} MiB")
        if self._written > limits.tar_free_bytes and self._written > self._read * limits.tar_ratio:
            raise RegistryError("tooLarge", f"a layer unpacks to more than {limits.tar_ratio} times its size")
        self._tar.update(piece)
        for at in range(0, len(piece), _TURN):
            with self._turn():
                self._look.feed(piece[at : at + _TURN])


class LayerSink(Generic[Result]):
    """Carries a transfer's bytes to a `LayerReader` in the pool, in batches, one at a time."""

    def __init__(self, reader: LayerReader[Result], pool: ThreadPoolExecutor) -> None:
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

    async def finish(self) -> Result:
        """The result, once everything is read."""
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
    """The layers that were read: their indexes and surveys, kept as long as memory allows."""

    def __init__(self, settings: RegistrySettings, stats: RegistryStats | None = None) -> None:
        self._settings = settings
        self._stats = stats or RegistryStats()
        self._facts: LRUCache[str, LayerIndex] = LRUCache(settings.cache_limits.layers)
        self._surveyed: LRUCache[tuple[str, ...], Surveyed] = LRUCache(settings.cache_limits.surveys)
        self._flights = SingleFlight()
        self._pool = ThreadPoolExecutor(settings.layers_at_most, thread_name_prefix="layer")
        # More than one would only take the interpreter from each other, and from the event loop.
        self._reading = ThreadTurns(1, settings.limits.reading)
        self._turns = FairSemaphore(settings.layers, settings.layers_per_namespace, settings.layers_at_most)
        self._large = FairSemaphore(1, 1, 1)  # of these, one with a window beyond the usual: that is most of its memory

    async def accounts(
        self, layers: Sequence[Descriptor], diff_ids: Sequence[str], fetch: Fetch, user: User | None = None
    ) -> AccountFiles:
        """The accounts files of the image that these layers make, the first of them the base.

        With a `user` no layer is read for /etc/group alone that cannot change what is injected for that name.
        Raises `MalformedImage` for layers that a runtime would refuse or that two could extract differently, and
        `RegistryError` for those that cannot be had.
        """
        self._check(layers, diff_ids)
        matters = None if user is None else partial(group_matters, user)
        steps = read_accounts(len(layers), self._settings.limits.rereads, matters)
        return await self._walk(steps, layers, diff_ids, fetch)

    async def survey(self, layers: Sequence[Descriptor], config: Config, fetch: Fetch) -> Survey:
        """The survey of an image: its directories' owners, privileged programs and start scripts, for which every layer is read.

        Kept is what `accounts` keeps, and what a layer and those below it come to: a base image is read once, whoever
        builds on it. Raises as `accounts`.
        """
        diff_ids = config.diff_ids
        self._check(layers, diff_ids)
        limit = self._settings.limits.survey_bytes
        if sum(layer.size for layer in layers) > limit:
            raise RegistryError("tooLarge", f"the image's layers together have more than {limit >> 20} MiB")
        tree: Tree = {}
        for place, (layer, diff_id) in enumerate(zip(layers, diff_ids, strict=True)):
            below = tuple(each.digest for each in layers[: place + 1])
            found = await self._survey(layer, below, tree, fetch)
            _same(layer, found.facts.diff_id, diff_id)
            tree = found.tree
        number = await self._walk(passwd_layer(len(layers), self._settings.limits.rereads), layers, diff_ids, fetch)
        passwd = None if number is None else Layer(layers[number].digest, number + 1, len(layers))
        return Survey(
            passwd,
            directories(tree, config.working_dir, config.volumes),
            special(tree),
            capable(tree),
            start.steps_down(config, scripts(tree)),
        )

    async def aclose(self) -> None:
        """Cancel what is being read."""
        await self._flights.aclose()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _check(self, layers: Sequence[Descriptor], diff_ids: Sequence[str]) -> None:
        if len(layers) != len(diff_ids):
            raise MalformedImage(f"the manifest has {len(layers)} layers and the config {len(diff_ids)} diff_ids")
        if len(layers) > self._settings.limits.layers:
            raise RegistryError("tooLarge", f"the image has more than {self._settings.limits.layers} layers")

    async def _walk(
        self,
        steps: Generator[Need, LayerIndex, Result],
        layers: Sequence[Descriptor],
        diff_ids: Sequence[str],
        fetch: Fetch,
    ) -> Result:
        """Give the steps the facts that they need."""
        try:
            need = next(steps)
            while True:
                facts = await self._read(layers[need.layer], need.wanted, fetch)
                _same(layers[need.layer], facts.diff_id, diff_ids[need.layer])
                need = steps.send(facts)
        except StopIteration as stop:
            result: Result = stop.value
            return result

    async def _read(self, layer: Descriptor, wanted: frozenset[str], fetch: Fetch) -> LayerIndex:
        known = self._facts.get(layer.digest)
        hit = known is not None and wanted <= known.wanted
        self._stats.observe("layer", hit=hit)
        if known is not None:
            if hit:
                return known
            if len(wanted | known.wanted) <= _WANTED:
                wanted |= known.wanted
        tenant = TENANT.get()  # or one would wait for a transfer that another's registry keeps slow

        async def turn() -> LayerIndex:
            known = self._facts.get(layer.digest)  # another namespace may have read it in the meantime
            return known if known is not None and wanted <= known.wanted else await self._index(layer, wanted, fetch)

        return await self._flights.join((tenant, layer.digest, wanted), lambda: self._turns.run(tenant, turn))

    async def _index(self, layer: Descriptor, wanted: frozenset[str], fetch: Fetch) -> LayerIndex:
        facts = await self._look(layer, lambda: Indexed(wanted, self._settings.limits), fetch)
        self._facts.put(layer.digest, facts, facts.weight)
        return facts

    async def _survey(self, layer: Descriptor, digests: tuple[str, ...], below: Tree, fetch: Fetch) -> Surveyed:
        """The tree with the layer on top; `digests` are its own and those of the layers below, the base's first."""
        known = self._surveyed.get(digests)
        if known is not None:
            return known
        limits, number = self._settings.limits, len(digests) - 1
        found = await self._look(layer, lambda: Surveyor(number, below, LayerIndexer(ACCOUNTS, limits), limits), fetch)
        self._facts.put(layer.digest, found.facts, found.facts.weight)
        self._surveyed.put(digests, found, found.weight)
        return found

    async def _look(self, layer: Descriptor, look: Callable[[], Look[Result]], fetch: Fetch) -> Result:
        """Read a layer, with a fresh look per attempt; once more, where its first bytes ask for an unusual window."""
        check_layer(layer)
        limits = self._settings.limits
        if layer.size > limits.layer_bytes:
            raise RegistryError("tooLarge", f"layer {layer.digest} has {layer.size >> 20} MiB")
        try:
            return await self._stream(layer, look, fetch, limits.zstd_usual_window)
        except LargeWindow:
            again = partial(self._stream, layer, look, fetch, limits.zstd_window)
            return await self._large.run(TENANT.get(), again)

    async def _stream(self, layer: Descriptor, look: Callable[[], Look[Result]], fetch: Fetch, window: int) -> Result:
        sinks: list[LayerSink[Result]] = []

        turn = partial(self._reading.turn, TENANT.get())

        def fresh() -> Sink:
            sinks.append(LayerSink(LayerReader(layer, look(), self._settings, window, turn), self._pool))
            return sinks[-1]

        try:
            async with asyncio.timeout(self._settings.timeouts.layer):
                await fetch(layer, fresh)
                return await sinks[-1].finish()
        except TimeoutError:
            seconds = self._settings.timeouts.layer
            raise RegistryError("unreachable", f"layer {layer.digest} was not read within {seconds:g} s") from None


def _same(layer: Descriptor, found: str, promised: str) -> None:
    if found != promised:
        raise MalformedImage(f"layer {layer.digest} is not the one that the config names by its diff_id")
