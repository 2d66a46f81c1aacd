"""The door of the package: a query in, the image or why it is not known out.

    client = RegistryClient(RegistrySettings(insecure=frozenset({"localhost:5000"})), pull_secrets, docker_config)
    found = await client.find(Query("localhost:5000/team/app:1"))     # webhook.image.Image or Unknown
    await client.aclose()

`pull_secrets` reads Secrets (`webhook.registry.keychain.PullSecrets`; None: there are none), `docker_config` is the
bytes of the operator's own docker config file, `credentials` are more sources of the operator's
(`webhook.registry.keychain.Credentials`), `memory` is what outlives the client (`webhook.registry.recall.Memory`): a
digest that it knows is never read again. `find(query, cost)` also fills in what the answer cost; `resolve(query)` says no
more than which digest a reference stands for.

Content is shared, access is not. What a digest holds is kept per repository, a layer's facts whoever asks; but an
answer is given only to those whose own credentials the registry has let see that very manifest within the last
minutes. Whatever takes longer than a query's budget goes on in the background, once however many ask, and is found
next time.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from webhook import reference as references
from webhook.accounts import Accounts
from webhook.errors import InvalidReference, MalformedImage
from webhook.image import Cause, Image, Query, Unknown
from webhook.reference import Reference
from webhook.registry.auth import ANONYMOUS, Session
from webhook.registry.cache import Bounded, Flights, Lanes
from webhook.registry.contents import Contents
from webhook.registry.exchange import Cost, RegistryError
from webhook.registry.helpers import DockerConfig
from webhook.registry.keychain import Credentials, Keychain, MalformedKeychain, PullSecrets
from webhook.registry.recall import Memory
from webhook.registry.repository import Door, Repository, api_host
from webhook.registry.settings import ANY_REGISTRY, Host, RegistrySettings, listed
from webhook.registry.tally import Tally
from webhook.registry.transport import Transport

_PASSING: frozenset[Cause] = frozenset(
    {"unreachable", "rateLimited"}
)  # says nothing about the image or the right to it
_LONGEST_REFUSAL = 600.0

Key = tuple[str, str, tuple[str, ...], str, str, frozenset[str], bool, bool]


class Confirmation(msgspec.Struct, frozen=True, gc=False):
    """The registry has said, at that time on the clock, that whoever holds these credentials may read this digest.

    `door` is the number of the one that opened among those tried: a credential lives no longer than its request.
    """

    digest: str
    door: int
    at: float


class _Answer(msgspec.Struct, frozen=True, gc=False):
    """What `find` gives until `until`, or `always_until` under imagePullPolicy Always, and what confirmed it when."""

    outcome: Image | Unknown
    until: float
    always_until: float
    confirmed: tuple[str, bytes] | None = None
    at: float = 0.0


class _Sought(msgspec.Struct, frozen=True):
    """A reference confirmed under `key`, whether that is `stale` or took `private` credentials; its content's source."""

    key: tuple[str, bytes]
    confirmation: Confirmation
    stale: bool
    private: bool
    repository: Repository


class RegistryClient:
    """Implements `webhook.image.Images`. Use it from one event loop, and `aclose` it there."""

    def __init__(
        self,
        settings: RegistrySettings | None = None,
        pull_secrets: PullSecrets | None = None,
        docker_config: bytes | None = None,
        clock: Callable[[], float] = time.monotonic,
        credentials: Sequence[Credentials] = (),
        memory: Memory | None = None,
        tally: Tally | None = None,
    ) -> None:
        """Raises `InvalidSetting` for settings or a docker config that cannot be used."""
        settings = settings or RegistrySettings()
        self._settings = settings
        self._pull_secrets = pull_secrets
        self._sources = tuple(credentials)
        if docker_config is not None:
            read, seconds = (lambda: docker_config), settings.timeouts.credentials
            self._sources = (DockerConfig(read, seconds=seconds, clock=clock), *credentials)
        self._clock = clock
        self.tally = tally or Tally()
        self._transport = Transport(settings, clock, self.tally)
        self._session = Session(clock, lambda authority: listed(authority, settings.insecure) is not None)
        self._memory = memory
        self._contents = Contents(settings, memory, self.tally)
        self._flights = Flights()
        self._confirming = Flights()
        self._lanes = Lanes(settings.look_ups, settings.look_ups_per_namespace)
        self._answers: Bounded[Key, _Answer] = Bounded(settings.memory.answers)
        self._confirmations: Bounded[tuple[str, bytes], Confirmation] = Bounded(settings.memory.confirmations)

    @property
    def total(self) -> Cost:
        """What all look-ups together have asked and read so far."""
        return self.tally.total

    async def find(self, query: Query, cost: Cost | None = None) -> Image | Unknown:
        """The image, or why it is not known, within `query.budget` seconds.

        `cost` grows by what this look-up asks of registries; it stays as it is where the answer was known, or where
        somebody else was already looking.
        """
        secrets, account = query.pull_secrets, query.service_account if self._pull_secrets else ""
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
            self.tally.answered += 1
            return answer.outcome
        self.tally.met("answer", hit=False)
        try:
            reference = references.parse(query.reference)
        except InvalidReference as error:
            return Unknown("invalid", str(error))
        flight = (key, query.always_pull)
        if not self._flights.running(flight) and len(self._flights) >= self._settings.queued:
            return self._stale(answer) or Unknown("pending", "too many images are being looked at; ask again")
        task = self._flights.start(
            flight, lambda: self._look_up(key, query, reference, Cost() if cost is None else cost)
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
                sought = await self._lanes.run(
                    query.namespace, lambda: self._seek(query, reference, Cost(), content=False)
                )
        except (InvalidReference, RegistryError, MalformedImage, TimeoutError):
            return None
        return sought.confirmation.digest

    async def aclose(self) -> None:
        """Stop all work and close all connections."""
        await self._flights.aclose()
        await self._confirming.aclose()
        for source in self._sources:
            await source.aclose()
        await self._contents.aclose()
        await self._transport.aclose()

    def _stale(self, answer: _Answer | None) -> Image | None:
        """The answer of before, with its age, unless it is too old, known to be outdated, or no longer his to read."""
        if answer is None or answer.confirmed is None or not isinstance(answer.outcome, Image):
            return None
        age = self._clock() - answer.at
        known = self._confirmations.get(answer.confirmed)
        if age > self._settings.lives.stale or known is None or known.digest != answer.outcome.digest:
            return None
        return msgspec.structs.replace(answer.outcome, age=age)

    async def _look_up(self, key: Key, query: Query, reference: Reference, cost: Cost) -> Image | Unknown:
        """One look-up in its turn, and its outcome kept."""
        try:
            answer = await self._lanes.run(query.namespace, lambda: self._answer(query, reference, cost))
        except RegistryError as error:
            answer = self._refused(Unknown(error.cause, str(error)), error.retry_after)
        except MalformedImage as error:
            answer = self._refused(Unknown("invalid", str(error)))
        except TimeoutError:
            seconds = self._settings.timeouts.look_up
            answer = self._refused(Unknown("unreachable", f"{reference} was not read within {seconds:g} s"))
        if isinstance(answer.outcome, Unknown) and answer.outcome.cause in _PASSING:
            before = self._answers.get(key)
            stale = self._stale(before)
            if before is not None and stale is not None:
                answer = msgspec.structs.replace(answer, outcome=stale, confirmed=before.confirmed, at=before.at)
        self._answers.put(key, answer, _weight(answer.outcome) + len(query.reference))
        return answer.outcome

    def _refused(self, unknown: Unknown, retry_after: float | None = None) -> _Answer:
        until = self._clock() + self._life(unknown, retry_after)
        return _Answer(unknown, until, until)

    def _life(self, unknown: Unknown, retry_after: float | None = None) -> float:
        lives = self._settings.lives
        if unknown.cause in {"unauthorized", "notFound"}:
            return lives.refused
        if unknown.cause in {"invalid", "tooLarge"}:
            return lives.malformed
        life = lives.rate_limited if unknown.cause == "rateLimited" else lives.unreachable
        return max(life, min(retry_after or 0.0, _LONGEST_REFUSAL))

    async def _answer(self, query: Query, reference: Reference, cost: Cost) -> _Answer:
        async with asyncio.timeout(self._settings.timeouts.look_up):
            sought = await self._seek(query, reference, cost)
            confirmation = sought.confirmation
            found, index = await self._contents.images(sought.repository, confirmation.digest, query)
        image = Image(confirmation.digest, found, index=index, private=sought.private)
        if self._memory is not None and not sought.stale:
            self._memory.learn(reference, image, query)
        return self._found(image, confirmation, sought.key, stale=sought.stale)

    async def _seek(self, query: Query, reference: Reference, cost: Cost, *, content: bool = True) -> _Sought:
        """What the reference stands for, and where its content is read, if the `content` is wanted at all."""
        allowed = self._settings.registries
        if allowed and reference.registry not in allowed:
            raise RegistryError("unauthorized", f"{reference.registry} is not among the registries that may be asked")
        deadline = self._clock() + self._settings.timeouts.look_up
        doors, unread = await self._doors(query, reference)
        key = (str(reference), b"".join(door.fingerprint for door in doors))
        life = self._settings.lives.always if query.always_pull else self._settings.lives.tag
        by_head = self._has_met(key, reference) if content or reference.digest else True
        try:
            confirmation, stale = await self._confirm(
                key, life, lambda: self._ask(reference, doors, cost, deadline, by_head=by_head)
            )
        except RegistryError as error:
            if unread is None or error.cause not in {"unauthorized", "notFound"}:
                raise
            raise RegistryError(unread.cause, unread.detail) from error
        repository = self._repository(reference, doors[confirmation.door :], cost, deadline)
        return _Sought(key, confirmation, stale, doors[confirmation.door].private, repository)

    def _found(self, image: Image, confirmation: Confirmation, key: tuple[str, bytes], *, stale: bool) -> _Answer:
        """The answer for as long as its confirmation holds, or a moment if that is stale or accounts were not read."""
        now, lives = self._clock(), self._settings.lives
        unread = [now + self._life(each.accounts) for each in image.platforms if isinstance(each.accounts, Unknown)]
        if stale:
            until = min([now + lives.unreachable, *unread])
            image = msgspec.structs.replace(image, age=now - confirmation.at)
            return _Answer(image, until, until, key, confirmation.at)
        until = min([confirmation.at + lives.tag, *unread])
        always = min(until, confirmation.at + lives.always)
        return _Answer(image, until, always, key, confirmation.at)

    async def _doors(self, query: Query, reference: Reference) -> tuple[list[Door], Unknown | None]:
        """Where and as whom to ask, in turn; and why credentials could not be had, should that turn out to matter."""
        pod, unread = await self._pod(query)
        home = api_host(reference.registry)
        doors: list[Door] = []
        for host in self._hosts(reference):
            own = host.authority in {"", home, reference.registry}
            authority = home if own else host.authority
            image = reference.name if own else f"{authority}/{reference.repository}"
            private = found = pod.find(image) if own else []
            for source in self._sources:
                more, failed = await source.find(image)
                found = [*found, *more]
                unread = unread or failed
            mirrors = "" if own else reference.registry
            doors += [
                Door(authority, each, mirrors, host.root, private=each in private)
                for each in dict.fromkeys(found) or (ANONYMOUS,)
            ]
        return doors, unread

    async def _pod(self, query: Query) -> tuple[Keychain, Unknown | None]:
        """The Pod's own credentials, and why a Secret could not be read."""
        pod, unread = Keychain(), None
        if self._pull_secrets is None:
            return pod, unread
        names = query.pull_secrets
        if query.service_account:
            given = await self._pull_secrets.names(query.namespace, query.service_account)
            names, unread = ((), given) if isinstance(given, Unknown) else (given, None)
        for name in names:
            secret = await self._pull_secrets.get(query.namespace, name)
            if isinstance(secret, Unknown):
                unread = unread or secret
            elif secret is not None:
                try:
                    pod.add_secret(secret)
                except MalformedKeychain as error:
                    named = f"the pull secret {query.namespace}/{name}"
                    raise RegistryError(
                        "unauthorized", f"{named} cannot be used, by the kubelet neither: {error}"
                    ) from None
        return pod, unread

    def _hosts(self, reference: Reference) -> list[Host]:
        """Who may be asked for it; a tag only those who resolve tags."""
        hosts = self._settings.hosts
        named = hosts.get(reference.registry.lower(), hosts.get(ANY_REGISTRY, (Host(),)))
        able = [host for host in named if host.resolves or reference.digest]
        if not able:
            detail = f"the settings name no host that resolves tags of {reference.registry}"
            raise RegistryError("unreachable", detail, passing=False)
        return able

    async def _confirm(
        self, key: tuple[str, bytes], life: float, ask: Callable[[], Coroutine[Any, Any, Confirmation]]
    ) -> tuple[Confirmation, bool]:
        """What the reference stands for, as the registry has told these very credentials within `life` seconds.

        While the registry gives no answer an older one counts, which is then said to be stale; a refusal withdraws it.
        """
        known = self._confirmations.get(key)
        fresh_enough = known is not None and self._clock() - known.at < life
        self.tally.met("tag", hit=fresh_enough)
        if known is not None and fresh_enough:
            return known, False
        try:
            fresh = await self._confirming.join(key, ask)
        except RegistryError as error:
            if known is not None and error.cause in _PASSING and self._clock() - known.at < self._settings.lives.stale:
                return known, True
            self._confirmations.drop(key)
            raise
        self._confirmations.put(key, fresh, 200)
        return fresh, False

    def _has_met(self, key: tuple[str, bytes], reference: Reference) -> bool:
        """Whether what it stands for may be known: then HEAD, which costs no pull; else the manifest is read anyway."""
        if reference.digest is not None:
            return self._contents.knows(reference.name, reference.digest)
        remembered = self._memory is not None and bool(self._memory.of_reference(str(reference)))
        return remembered or self._confirmations.get(key) is not None

    async def _ask(
        self, reference: Reference, doors: Sequence[Door], cost: Cost, deadline: float, *, by_head: bool
    ) -> Confirmation:
        """Every door in turn until one opens, as the kubelet tries credentials; a mirror may fail in any way."""
        refusals: dict[Cause, RegistryError] = {}
        last = None
        for number, door in enumerate(doors):
            try:
                at = self._clock()
                repository = self._repository(reference, (door,), cost, deadline)
                digest = await self._resolve(repository, reference, by_head=by_head)
                return Confirmation(digest, number, at)
            except RegistryError as error:
                if error.is_refusal:
                    refusals.setdefault(error.cause, error)
                elif not door.mirrors:
                    raise
                last = error
        told: tuple[Cause, ...] = ("rateLimited", "unauthorized", "notFound")
        raise next((refusals[cause] for cause in told if cause in refusals), last) or AssertionError("there is a door")

    async def _resolve(self, repository: Repository, reference: Reference, *, by_head: bool) -> str:
        """The digest, where it is not told `by_head` proven by the manifest itself, which is then kept."""
        name = reference.digest or reference.tag or ""
        if by_head:
            digest = await repository.resolve(name)
            if digest is not None:
                return digest
        self.tally.met("document", hit=False)
        raw, media_type, digest = await repository.manifest(name)
        self._contents.keep(reference.name, digest, raw, media_type)
        return digest

    def _repository(self, reference: Reference, doors: Sequence[Door], cost: Cost, deadline: float) -> Repository:
        return Repository(self._transport, self._session, self._settings, reference, doors, cost, deadline)


def _weight(outcome: Image | Unknown) -> int:
    """Roughly the bytes of memory that an answer takes."""
    if isinstance(outcome, Unknown):
        return len(outcome.detail)
    accounts = [each.accounts for each in outcome.platforms if isinstance(each.accounts, Accounts)]
    files = sum(len(each.passwd or b"") + len(each.group or b"") for each in accounts)
    return files + 1500 * len(outcome.platforms)
