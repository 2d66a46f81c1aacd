"""The entry point of the registry client: it answers a query with the image, or with the reason why it is unknown.

    client = RegistryClient(RegistrySettings(insecure=frozenset({"localhost:5000"})), pull_secrets, docker_config)
    found = await client.find(Query("localhost:5000/team/app:1"))     # webhook.image.source.Image or Unknown
    await client.aclose()

`pull_secrets` reads Secrets (`webhook.registry.auth.keychain.PullSecrets`; None: there are none), `docker_config` is the
bytes of the operator's own docker config file, `credentials` are more sources of the operator's
(`webhook.registry.auth.keychain.Credentials`), `store` is what outlives the client (`webhook.registry.fallback.IdentityStore`): a
digest that it knows is never read again. `find(query, cost)` also fills in what the answer cost; `resolve(query)` says no
more than which digest a reference stands for.

Content is shared, access is not. What a digest holds is kept per repository, a layer's facts whoever asks; but an
answer is given only to those whose own credentials the registry has let see that very manifest within the last
minutes. Whatever takes longer than a query's budget goes on in the background, once however many ask, and is found
next time.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import msgspec

from webhook.caching import TENANT, FairSemaphore, LRUCache, SingleFlight
from webhook.errors import InvalidReference, MalformedImage
from webhook.image import reference as references
from webhook.image.config import Platform
from webhook.image.passwd import AccountFiles
from webhook.image.reference import NAME_LIMIT, Reference
from webhook.image.source import Image, Images, PlatformImage, Query, Unknown
from webhook.registry.auth.docker_config import DockerConfig
from webhook.registry.auth.keychain import Credentials, PullSecrets
from webhook.registry.auth.token import TokenCache, expected_challenges
from webhook.registry.content_store import ContentStore
from webhook.registry.endpoints import Endpoints
from webhook.registry.fallback import IdentityStore
from webhook.registry.repository import Repository
from webhook.registry.resolver import TRANSIENT, ResolutionKey, Resolved, TagResolver
from webhook.registry.settings import RegistrySettings, match_authority
from webhook.registry.transport.egress import CrowdedNames
from webhook.registry.transport.http import Transport
from webhook.registry.transport.messages import Cost, RegistryError
from webhook.registry.transport.stats import RegistryStats

_LONGEST_REFUSAL = 600.0
_TEXT = 60  # bytes that a text takes, beside its characters
_FAULT_PAUSE = 60.0  # seconds between two lines about errors of our own

_log = logging.getLogger(__name__)

Key = tuple[str, str, tuple[str, ...], str, str, frozenset[str], bool, bool]


class _CachedLookup(msgspec.Struct, frozen=True, gc=False):
    """An answer that `find` gives until `until`, or `always_until` under imagePullPolicy Always, and what confirmed it when."""

    outcome: Image | Unknown
    until: float
    always_until: float
    confirmed: ResolutionKey | None = None
    at: float = 0.0


class RegistryClient(Images):
    """Implements `webhook.image.source.Images`. Use it from one event loop, and `aclose` it there."""

    def __init__(
        self,
        settings: RegistrySettings | None = None,
        pull_secrets: PullSecrets | None = None,
        docker_config: bytes | None = None,
        clock: Callable[[], float] = time.monotonic,
        credentials: Sequence[Credentials] = (),
        store: IdentityStore | None = None,
        stats: RegistryStats | None = None,
    ) -> None:
        """Raises `InvalidSetting` for settings or a docker config that cannot be used."""
        settings = settings or RegistrySettings()
        self._settings = settings
        sources = tuple(credentials)
        if docker_config is not None:
            read, seconds = (lambda: docker_config), settings.timeouts.credentials
            sources = (DockerConfig(read, seconds=seconds, clock=clock), *credentials)
        self._by_account = pull_secrets is not None
        self._clock = clock
        self.stats = stats or RegistryStats()
        self._transport = Transport(settings, clock, self.stats)
        self._session = TokenCache(
            clock,
            lambda authority: match_authority(authority, settings.insecure) is not None,
            expected=expected_challenges(settings),
        )
        self._store = store
        self._content = ContentStore(settings, store, self.stats)
        self._endpoints = Endpoints(settings, pull_secrets, sources)
        opener = partial(Repository, self._transport, self._session, settings)
        self._resolver = TagResolver(settings, self._endpoints, opener, self._content, store, self.stats, clock)
        self._flights = SingleFlight()
        self._lanes = FairSemaphore(settings.look_ups, settings.look_ups_per_namespace)
        self._looking: Counter[str] = Counter()  # look-ups by namespace
        self._next_fault = -_FAULT_PAUSE
        self._answers: LRUCache[Key, _CachedLookup] = LRUCache(settings.cache_limits.answers)

    @property
    def total(self) -> Cost:
        """The cost of all look-ups so far."""
        return self.stats.total

    async def find(self, query: Query, cost: Cost | None = None) -> Image | Unknown:
        """The image, or why it is not known, within `query.budget` seconds; never raises, whatever an image holds.

        `cost` grows by what this look-up asks of registries; it stays as it is where the answer was known, or where
        somebody else was already looking.
        """
        try:
            return await self._find(query, cost)
        except Exception as error:  # noqa: BLE001  # the last handler
            return self._fault(query.reference, error)

    async def _find(self, query: Query, cost: Cost | None) -> Image | Unknown:
        """As `find`, which catches our own errors."""
        secrets, account = query.pull_secrets, query.service_account if self._by_account else ""
        key = (
            query.reference,
            query.namespace if secrets or account else "",
            secrets,
            account,
            query.os,
            query.architectures,
            query.accounts,
            query.survey,
        )
        answer = self._answers.get(key)
        if answer is not None and self._clock() < (answer.always_until if query.always_pull else answer.until):
            self.stats.answered += 1
            return answer.outcome
        own_key = (key[0], query.namespace, *key[2:])
        failure = self._answers.get(own_key)
        if failure is not None and self._clock() < failure.until and failure is not answer:
            self.stats.answered += 1
            return failure.outcome
        self.stats.observe("answer", hit=False)
        try:
            reference = references.parse(query.reference)
        except InvalidReference as error:
            return Unknown("invalid", str(error))
        flight = (own_key, query.always_pull)  # or one would wait among another's look-ups
        if not self._flights.running(flight):
            if self._crowded(query.namespace):
                return self._stale(answer) or Unknown("pending", "too many images are being looked at; ask again")
            self._looking[query.namespace] += 1
        task = self._flights.start(
            flight, lambda: self._look_up(key, own_key, query, reference, Cost() if cost is None else cost)
        )
        if query.budget > 0:
            await asyncio.wait({task}, timeout=query.budget)
        if task.done() and not task.cancelled():
            return task.result()
        return self._stale(answer) or Unknown("pending", f"{reference} is still being looked at")

    async def resolve(self, query: Query) -> str | None:
        """The digest that the reference stands for, as the registry tells the query's credentials; None: `find` says why."""
        try:
            reference = references.parse(query.reference)
            async with asyncio.timeout(self._settings.timeouts.look_up):
                resolved = await self._lanes.run(
                    query.namespace, lambda: self._resolver.resolve(query, reference, Cost(), content=False)
                )
        except (InvalidReference, RegistryError, MalformedImage, TimeoutError):
            return None
        except Exception as error:  # noqa: BLE001  # the last handler
            self._fault(query.reference, error)
            return None
        return resolved.resolution.digest

    def deny(self, networks: Iterable[str]) -> None:
        """Let no registry have an address in these networks, given as CIDRs, beside those of the settings."""
        self._transport.deny(networks)

    async def aclose(self) -> None:
        """Stop all work and close all connections."""
        await self._flights.aclose()
        await self._resolver.aclose()
        await self._endpoints.aclose()
        await self._content.aclose()
        await self._transport.aclose()

    def _crowded(self, namespace: str) -> bool:
        """Whether a namespace has more look-ups running and waiting than its share."""
        own, settings = self._looking[namespace], self._settings
        full = len(self._flights) >= settings.queued and own >= settings.look_ups_per_namespace
        return full or own >= settings.queued_per_namespace

    def _stale(self, answer: _CachedLookup | None) -> Image | None:
        """The answer of before, with its age, unless it is too old, known to be outdated, or no longer his to read."""
        if answer is None or answer.confirmed is None or not isinstance(answer.outcome, Image):
            return None
        age = self._clock() - answer.at
        if age > self._settings.lives.stale or self._resolver.digest(answer.confirmed) != answer.outcome.digest:
            return None
        return msgspec.structs.replace(answer.outcome, age=age)

    async def _look_up(self, key: Key, own_key: Key, query: Query, reference: Reference, cost: Cost) -> Image | Unknown:
        """One look-up in its turn, and its outcome kept: what was read for everybody, a failure for its namespace alone."""
        TENANT.set(query.namespace)
        try:
            answer = await self._in_turn(query, reference, cost)
        finally:
            self._looking[query.namespace] -= 1
            if not self._looking[query.namespace]:
                del self._looking[query.namespace]
        if isinstance(answer.outcome, Unknown) and answer.outcome.cause in TRANSIENT:
            before = self._answers.get(key)
            stale = self._stale(before)
            if before is not None and stale is not None:
                answer = msgspec.structs.replace(answer, outcome=stale, confirmed=before.confirmed, at=before.at)
        shared = isinstance(answer.outcome, Image) and not _unread(answer.outcome)
        self._answers.put(key if shared else own_key, answer, _weight(key, answer.outcome))
        return answer.outcome

    async def _in_turn(self, query: Query, reference: Reference, cost: Cost) -> _CachedLookup:
        """The answer of the look-up, whatever went wrong."""
        try:
            return await self._lanes.run(query.namespace, lambda: self._answer(query, reference, cost))
        except RegistryError as error:
            return self._refused(Unknown(error.cause, str(error)), error.retry_after)
        except MalformedImage as error:
            return self._refused(Unknown("invalid", str(error)))
        except TimeoutError:
            seconds = self._settings.timeouts.look_up
            return self._refused(Unknown("unreachable", f"{reference} was not read within {seconds:g} s"))
        except Exception as error:  # noqa: BLE001  # the last handler
            return self._refused(self._fault(query.reference, error))

    def _fault(self, image: str, error: Exception) -> Unknown:
        """An error of our own, as an answer: counted, and logged once a minute at most."""
        self.stats.faults += 1
        now = self._clock()
        if now >= self._next_fault:
            self._next_fault = now + _FAULT_PAUSE
            _log.error("%a was not read because of an error of nonroot-webhook", image[:NAME_LIMIT], exc_info=error)
        return Unknown("invalid", "it was not read because of an error of nonroot-webhook; its log says more")

    def _refused(self, unknown: Unknown, retry_after: float | None = None) -> _CachedLookup:
        until = self._clock() + self._life(unknown, retry_after)
        return _CachedLookup(unknown, until, until)

    def _life(self, unknown: Unknown, retry_after: float | None = None) -> float:
        lives = self._settings.lives
        if unknown.cause in {"unauthorized", "notFound"}:
            return lives.refused
        if unknown.cause in {"invalid", "tooLarge"}:
            return lives.malformed
        life = lives.rate_limited if unknown.cause == "rateLimited" else lives.unreachable
        return max(life, min(retry_after or 0.0, _LONGEST_REFUSAL))

    async def _answer(self, query: Query, reference: Reference, cost: Cost) -> _CachedLookup:
        async with asyncio.timeout(self._settings.timeouts.look_up):
            try:
                resolved, found, index = await self._read(query, reference, cost)
            except CrowdedNames as error:  # of whom we had joined
                if error.tenant == query.namespace:
                    raise
                resolved, found, index = await self._read(query, reference, cost)
        image = Image(resolved.resolution.digest, found, index=index, private=resolved.private)
        if self._store is not None and not resolved.stale:
            try:
                self._store.save(reference, image, query)
            except Exception as error:  # noqa: BLE001  # what is known is not lost because it cannot be kept
                self._fault(query.reference, error)
        return self._found(image, resolved)

    async def _read(
        self, query: Query, reference: Reference, cost: Cost
    ) -> tuple[Resolved, tuple[PlatformImage, ...], tuple[Platform, ...] | None]:
        """The resolved reference, and the images that its digest holds."""
        resolved = await self._resolver.resolve(query, reference, cost)
        return resolved, *await self._content.images(resolved.repository, resolved.resolution.digest, query)

    def _found(self, image: Image, resolved: Resolved) -> _CachedLookup:
        """The answer for as long as its confirmation holds, or a moment if that is stale or accounts were not read."""
        now, lives, key, at = self._clock(), self._settings.lives, resolved.key, resolved.resolution.at
        unread = [now + self._life(each) for each in _unread(image)]
        if resolved.stale:
            until = min([now + lives.unreachable, *unread])
            image = msgspec.structs.replace(image, age=now - at)
            return _CachedLookup(image, until, until, key, at)
        until = min([at + lives.tag, *unread])
        always = min(until, at + lives.always)
        return _CachedLookup(image, until, always, key, at)


def _unread(image: Image) -> list[Unknown]:
    """Why platforms' accounts were not read."""
    return [each.accounts for each in image.platforms if isinstance(each.accounts, Unknown)]


def _weight(key: Key, outcome: Image | Unknown) -> int:
    """Roughly the bytes of memory that an answer takes with its key, in which a Pod may name any number of secrets."""
    reference, namespace, secrets, account, _, architectures, *_ = key
    names = (
        len(reference) + len(namespace) + len(account) + sum(_TEXT + len(each) for each in (*secrets, *architectures))
    )
    if isinstance(outcome, Unknown):
        return names + len(outcome.detail)
    accounts = [each.accounts for each in outcome.platforms if isinstance(each.accounts, AccountFiles)]
    files = sum(len(each.passwd or b"") + len(each.group or b"") for each in accounts)
    return names + files + 1500 * len(outcome.platforms)
