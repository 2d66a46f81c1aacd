"""Access to the report page: a token's user sees the namespaces whose Pods they may list."""

import asyncio
import time
from collections.abc import Callable, Collection

from webhook.cluster.access_reviews import ClusterAccessReviews
from webhook.cluster.client import Cluster
from webhook.cluster.users import CachedAccessReviews

TRUSTED_SECONDS = 60.0  # for which an answer is taken to hold, a no too: a page asks about every namespace
AT_ONCE, WAITING = 8, 100_000  # requests to the API server


class Unauthenticated(Exception):
    """The token is nobody's."""


class ReportReaders:
    """Says which namespaces the user of a token sees, for a minute from memory."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._reviews = CachedAccessReviews(
            ClusterAccessReviews(cluster), at_once=AT_ONCE, waiting=WAITING, denied_life=TRUSTED_SECONDS, clock=clock
        )

    async def visible(self, token: str, namespaces: Collection[str]) -> frozenset[str]:
        """The namespaces, of those given, whose Pods the token's user may list. Raises `Unauthenticated` and `ClusterError`."""
        user = await self._reviews.user_of(token) if token else None
        if user is None:
            raise Unauthenticated
        if await self._reviews.may_list_pods(user, ""):
            return frozenset(namespaces)
        answers = await asyncio.gather(*(self._reviews.may_list_pods(user, each) for each in namespaces))
        return frozenset(each for each, allowed in zip(namespaces, answers, strict=True) if allowed)
