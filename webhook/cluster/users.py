"""Users of the Kubernetes API, the interface of reviews of their tokens and rights, and a cache of their answers."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Any, Protocol, TypeVar

import msgspec

from webhook.caching import LRUCache, SingleFlight
from webhook.errors import NonrootError

ALLOWED_LIFE = 60.0  # seconds that a yes of the API server counts
DENIED_LIFE = 10.0  # seconds that a no counts
TOKEN_LIMIT = 16 * 1024  # characters
_CACHE_LIMIT = 4 * 1024 * 1024  # bytes

T = TypeVar("T")


class User(msgspec.Struct, frozen=True):
    """A user. Source: kubernetes/api authentication/v1/types.go (UserInfo)."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = {}


class AccessReviews(Protocol):
    """The API server's answers about users; each raises `NonrootError` where there is none."""

    async def user_of(self, token: str) -> User | None:
        """The user of a token; None where it is nobody's, or made for another audience."""
        ...

    async def may_resolve(self, user: User, namespace: str) -> bool:
        """Whether RBAC lets the user resolve image identities in a namespace; empty: in all of them."""
        ...

    async def may_list_pods(self, user: User, namespace: str) -> bool:
        """Whether RBAC lets the user list the Pods of a namespace; empty: of all of them."""
        ...

    async def may_get(self, user: User, path: str) -> bool:
        """Whether RBAC lets the user get a path that is no resource, such as /metrics."""
        ...


def bearer_token(authorization: str) -> str:
    """The token in a header `Authorization`; empty where there is none, or one that is longer than any token."""
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    return token if scheme.lower() == "bearer" and len(token) <= TOKEN_LIMIT else ""


class TooManyReviews(NonrootError):
    """More requests wait for the API server than may."""


class CachedAccessReviews:
    """A cache in front of other `AccessReviews`: a yes counts `ALLOWED_LIFE` seconds, a no `denied_life`.

    Strangers may send any number of tokens: `at_once` requests are made at a time, and with `waiting` in all
    `TooManyReviews` is raised for the next.
    """

    def __init__(
        self,
        reviews: AccessReviews,
        *,
        at_once: int,
        waiting: int,
        denied_life: float = DENIED_LIFE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reviews = reviews
        self._waiting = waiting
        self._denied_life = denied_life
        self._clock = clock
        self._answers: LRUCache[Hashable, tuple[Any, float]] = LRUCache(_CACHE_LIMIT)
        self._flights = SingleFlight()
        self._turns = asyncio.Semaphore(at_once)

    async def user_of(self, token: str) -> User | None:
        """As `AccessReviews`; the token itself is not kept."""
        return await self._ask(hashlib.sha256(token.encode()).digest(), lambda: self._reviews.user_of(token))

    async def may_resolve(self, user: User, namespace: str) -> bool:
        """As `AccessReviews`."""
        key = "resolve", msgspec.json.encode(user), namespace
        return await self._ask(key, lambda: self._reviews.may_resolve(user, namespace))

    async def may_list_pods(self, user: User, namespace: str) -> bool:
        """As `AccessReviews`."""
        key = "list", msgspec.json.encode(user), namespace
        return await self._ask(key, lambda: self._reviews.may_list_pods(user, namespace))

    async def may_get(self, user: User, path: str) -> bool:
        """As `AccessReviews`."""
        key = "get", msgspec.json.encode(user), path
        return await self._ask(key, lambda: self._reviews.may_get(user, path))

    async def aclose(self) -> None:
        """Stop asking."""
        await self._flights.aclose()

    async def _ask(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        known: tuple[T, float] | None = self._answers.get(key)
        if known is not None and self._clock() < known[1]:
            return known[0]
        if len(self._flights) >= self._waiting and not self._flights.running(key):
            raise TooManyReviews("too many users are being looked up: try again in a second")

        async def turn() -> T:
            async with self._turns:
                found = await ask()
            self._answers.put(key, (found, self._clock() + (ALLOWED_LIFE if found else self._denied_life)), 500)
            return found

        return await self._flights.join(key, turn)
