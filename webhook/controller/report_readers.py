"""Who may read what of the report page: a token's user sees the namespaces whose Pods they may list."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection

from webhook.caching import LRUCache
from webhook.cluster.access_reviews import ClusterAccessReviews
from webhook.cluster.client import Cluster
from webhook.cluster.users import User

TRUSTED_SECONDS = 60.0  # for which an answer is taken to hold
AT_ONCE = 8  # questions to the API server
TOKEN_LIMIT = 16 * 1024  # characters
_CACHE_BYTES = 4 * 1024 * 1024


class Unauthenticated(Exception):
    """The token is nobody's."""


class ReportReaders:
    """Says which namespaces the user of a token sees, for a minute from memory."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._reviews = ClusterAccessReviews(cluster)
        self._clock = clock
        self._users: LRUCache[bytes, tuple[float, User | None]] = LRUCache(_CACHE_BYTES)
        self._allowed: LRUCache[tuple[bytes, str], tuple[float, bool]] = LRUCache(_CACHE_BYTES)
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def visible(self, token: str, namespaces: Collection[str]) -> frozenset[str]:
        """Those of the namespaces whose Pods the token's user may list. Raises `Unauthenticated` and `ClusterError`."""
        if not token or len(token) > TOKEN_LIMIT:
            raise Unauthenticated
        key = hashlib.sha256(token.encode()).digest()
        user = await self._user(key, token)
        if await self._may_list(key, user, ""):
            return frozenset(namespaces)
        answers = await asyncio.gather(*(self._may_list(key, user, each) for each in namespaces))
        return frozenset(each for each, allowed in zip(namespaces, answers, strict=True) if allowed)

    async def _user(self, key: bytes, token: str) -> User:
        known = self._users.get(key)
        if known is None or self._clock() >= known[0]:
            async with self._turns:
                user = await self._reviews.user_of(token)
            known = self._clock() + TRUSTED_SECONDS, user
            self._users.put(key, known)
        if known[1] is None:
            raise Unauthenticated
        return known[1]

    async def _may_list(self, key: bytes, user: User, namespace: str) -> bool:
        known = self._allowed.get((key, namespace))
        if known is None or self._clock() >= known[0]:
            async with self._turns:
                allowed = await self._reviews.may_list_pods(user, namespace)
            known = self._clock() + TRUSTED_SECONDS, allowed
            self._allowed.put((key, namespace), known)
        return known[1]
