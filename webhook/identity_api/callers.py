"""Who asks, by a client certificate or a bearer token, and for which namespaces they may."""

import asyncio
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Protocol

import msgspec

from webhook.caching import LRUCache, SingleFlight
from webhook.cluster.users import AccessReviews, User
from webhook.errors import NonrootError

CERTIFICATE_USER = (
    "nonroot.dev:certificate:"  # RBAC knows the holder of a client certificate as this and its common name
)
ALLOWED_LIFE = 60.0  # seconds that a yes of the API server counts
DENIED_LIFE = 10.0  # seconds that a no counts
REVIEWS_AT_ONCE, REVIEWS_WAITING = 16, 1024  # questions to the API server: strangers may send any number of tokens
REQUESTS, REQUESTS_EACH = 128, 64  # that are answered at once, in all and of one caller
CACHE_LIMIT = 2 * 1024 * 1024  # bytes

log = logging.getLogger(__name__)


class Refused(NonrootError):
    """A request that is not answered, with the HTTP status that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Certificates(Protocol):
    """The authority whose client certificates are believed."""

    def common_name(self, certificate: str) -> str | None:
        """The common name in a PEM certificate that the authority has issued, and that is valid now; else None."""
        ...


class _Known(msgspec.Struct, frozen=True):
    user: User | None
    allowed: bool
    until: float


class Callers:
    """Identifies callers and asks the API server about them; what it says is kept for a minute at most.

    Without `reviews`, which is standalone, a certificate is enough: no namespace has secrets there.
    """

    def __init__(
        self,
        certificates: Certificates | None,
        reviews: AccessReviews | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._certificates = certificates
        self._reviews = reviews
        self._clock = clock
        self._known: LRUCache[Hashable, _Known] = LRUCache(CACHE_LIMIT)
        self._flights = SingleFlight()
        self._turns = asyncio.Semaphore(REVIEWS_AT_ONCE)
        self._running: Counter[str] = Counter()

    async def identify(self, certificate: str, token: str) -> User:
        """The user of a PEM certificate or of a token, either of which may be empty; `Refused` where that is nobody."""
        name = self._certificates.common_name(certificate) if certificate and self._certificates else None
        if name:
            return User(CERTIFICATE_USER + name)
        reviews = self._reviews
        if token and reviews is not None:

            async def ask() -> tuple[User | None, bool]:
                user = await reviews.user_of(token)
                return user, user is not None

            user = (await self._ask(hashlib.sha256(token.encode()).digest(), ask)).user
            if user is not None:
                return user
        raise Refused(
            401, "show a client certificate of the authority that the chart value identityApi names, or a token"
        )

    async def may_resolve(self, user: User, namespace: str) -> bool:
        """Whether the user may ask for a namespace; empty: for none in particular, which takes the right in all of them."""
        reviews = self._reviews
        if reviews is None:
            return True

        async def ask() -> tuple[User | None, bool]:
            return None, await reviews.may_resolve(user, namespace)

        return (await self._ask((msgspec.json.encode(user), namespace), ask)).allowed

    @contextmanager
    def room(self, user: User) -> Iterator[None]:
        """Room for one request of the user; `Refused` where there is none."""
        name = user.username
        if self._running.total() >= REQUESTS or self._running[name] >= REQUESTS_EACH:
            raise Refused(429, "too many requests are being answered: try again in a second")
        self._running[name] += 1
        try:
            yield
        finally:
            self._running[name] -= 1
            if not self._running[name]:
                del self._running[name]

    async def aclose(self) -> None:
        """Stop asking."""
        await self._flights.aclose()

    async def _ask(self, key: Hashable, ask: Callable[[], Awaitable[tuple[User | None, bool]]]) -> _Known:
        known = self._known.get(key)
        if known is not None and self._clock() < known.until:
            return known
        if len(self._flights) >= REVIEWS_WAITING and not self._flights.running(key):
            raise Refused(503, "too many callers are being looked up: try again in a second")

        async def answer() -> _Known:
            async with self._turns:
                user, allowed = await ask()
            found = _Known(user, allowed, self._clock() + (ALLOWED_LIFE if allowed else DENIED_LIFE))
            self._known.put(key, found, 500)
            return found

        try:
            return await self._flights.join(key, answer)
        except NonrootError as error:
            log.warning("a caller of the identity API is not known: %s", error)
            raise Refused(503, "the API server could not be asked who may ask, which the log explains") from None
