"""The resolver of tags: the digest that a reference stands for, until when, and for which credentials."""

import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from webhook.caching import LRUCache, SingleFlight
from webhook.image.reference import Reference
from webhook.image.source import Cause, Query
from webhook.registry.content_store import ContentStore
from webhook.registry.endpoints import Endpoint, Endpoints
from webhook.registry.fallback import IdentityStore
from webhook.registry.repository import Repository
from webhook.registry.settings import RegistrySettings
from webhook.registry.transport.messages import Cost, RegistryError
from webhook.registry.transport.stats import RegistryStats

# What says nothing about the image or the right to it.
TRANSIENT: frozenset[Cause] = frozenset({"unreachable", "rateLimited"})
_WEIGHT = 200  # bytes of memory that a confirmation takes, roughly

ResolutionKey = tuple[str, bytes]  # a reference, and the endpoints at which it was asked for
Opener = Callable[[Reference, Sequence[Endpoint], Cost, float], Repository]


class Resolution(msgspec.Struct, frozen=True, gc=False):
    """A registry's answer at a time on the clock: with these credentials this digest may be read.

    `endpoint` is the number of the one that opened among those tried: a credential lives no longer than its request.
    """

    digest: str
    endpoint: int
    at: float


class Resolved(msgspec.Struct, frozen=True):
    """A reference confirmed under `key`, whether that is `stale` or took `private` credentials; its content's source."""

    key: ResolutionKey
    resolution: Resolution
    stale: bool
    private: bool
    repository: Repository


class TagResolver:
    """Confirms references, each once however many ask. `opener` opens a reference's repository at its endpoints."""

    def __init__(
        self,
        settings: RegistrySettings,
        endpoints: Endpoints,
        opener: Opener,
        content: ContentStore,
        store: IdentityStore | None = None,
        stats: RegistryStats | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._endpoints = endpoints
        self._open = opener
        self._content = content
        self._store = store
        self._stats = stats or RegistryStats()
        self._clock = clock
        self._asking = SingleFlight()
        self._known: LRUCache[ResolutionKey, Resolution] = LRUCache(settings.cache_limits.resolutions)

    def digest(self, key: ResolutionKey) -> str | None:
        """The digest that was confirmed last, unless it has been withdrawn since."""
        known = self._known.get(key)
        return None if known is None else known.digest

    async def resolve(self, query: Query, reference: Reference, cost: Cost, *, content: bool = True) -> Resolved:
        """The digest of a reference, and the repository that has its content, if the `content` is wanted at all.

        Raises `RegistryError`, and `MalformedImage` where the registry tells what cannot be.
        """
        allowed = self._settings.registries
        if allowed and reference.registry not in allowed:
            raise RegistryError("unauthorized", f"{reference.registry} is not among the registries that may be asked")
        deadline = self._clock() + self._settings.timeouts.look_up
        endpoints, unread = await self._endpoints.for_image(query, reference)
        key = (str(reference), b"".join(endpoint.fingerprint for endpoint in endpoints))
        life = self._settings.lives.always if query.always_pull else self._settings.lives.tag
        by_head = self._has_met(key, reference) if content or reference.digest else True
        try:
            resolution, stale = await self._look_up(
                key, life, lambda: self._ask(reference, endpoints, cost, deadline, by_head=by_head)
            )
        except RegistryError as error:
            if unread is None or error.cause not in {"unauthorized", "notFound"}:
                raise
            raise RegistryError(unread.cause, unread.detail) from error
        repository = self._open(reference, endpoints[resolution.endpoint :], cost, deadline)
        return Resolved(key, resolution, stale, endpoints[resolution.endpoint].private, repository)

    async def aclose(self) -> None:
        """Stop all asking."""
        await self._asking.aclose()

    async def _look_up(
        self, key: ResolutionKey, life: float, ask: Callable[[], Coroutine[Any, Any, Resolution]]
    ) -> tuple[Resolution, bool]:
        """The digest of the reference, as the registry has answered to these very credentials within `life` seconds.

        While the registry gives no answer an older one counts, which is then said to be stale; a refusal withdraws it.
        """
        known = self._known.get(key)
        fresh_enough = known is not None and self._clock() - known.at < life
        self._stats.observe("tag", hit=fresh_enough)
        if known is not None and fresh_enough:
            return known, False
        try:
            fresh = await self._asking.join(key, ask)
        except RegistryError as error:
            if known is not None and error.cause in TRANSIENT and self._clock() - known.at < self._settings.lives.stale:
                return known, True
            self._known.drop(key)
            raise
        self._known.put(key, fresh, _WEIGHT + len(key[0]) + len(key[1]))
        return fresh, False

    def _has_met(self, key: ResolutionKey, reference: Reference) -> bool:
        """Whether what it stands for may be known: then HEAD, which costs no pull; else the manifest is read anyway."""
        if reference.digest is not None:
            return self._content.knows(reference.name, reference.digest)
        remembered = self._store is not None and bool(self._store.of_reference(str(reference)))
        return remembered or self._known.get(key) is not None

    async def _ask(
        self, reference: Reference, endpoints: Sequence[Endpoint], cost: Cost, deadline: float, *, by_head: bool
    ) -> Resolution:
        """Every endpoint in turn until one answers, as the kubelet tries credentials; a mirror may fail in any way.

        Where none does, what the registry itself has said counts before what a mirror did.
        """
        own: dict[Cause, RegistryError] = {}
        mirrors: dict[Cause, RegistryError] = {}
        last = None
        for number, endpoint in enumerate(endpoints):
            try:
                at = self._clock()
                repository = self._open(reference, (endpoint,), cost, deadline)
                digest = await self._resolve(repository, reference, by_head=by_head)
                return Resolution(digest, number, at)
            except RegistryError as error:
                if error.is_refusal:
                    (mirrors if endpoint.mirrors else own).setdefault(error.cause, error)
                elif not endpoint.mirrors:
                    raise
                last = error
        refusals = own or mirrors
        order: tuple[Cause, ...] = ("rateLimited", "unauthorized", "notFound")
        raise next((refusals[cause] for cause in order if cause in refusals), last) or AssertionError(
            "nobody was asked"
        )

    async def _resolve(self, repository: Repository, reference: Reference, *, by_head: bool) -> str:
        """The digest, where it is not told `by_head` proven by the manifest itself, which is then kept."""
        name = reference.digest or reference.tag or ""
        if by_head:
            digest = await repository.resolve(name)
            if digest is not None:
                return digest
        self._stats.observe("document", hit=False)
        raw, media_type, digest = await repository.manifest(name)
        self._content.keep(reference.name, digest, raw, media_type)
        return digest
