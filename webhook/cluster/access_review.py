"""Whose a bearer token is, and the namespaces whose Pods its user may list: asked of the API server.

Sources: k8s.io/api authentication/v1/types.go (TokenReview), authorization/v1/types.go (SubjectAccessReview).
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from webhook.caching import LRUCache
from webhook.cluster.client import Cluster, decode

TRUSTED_SECONDS = 60.0  # for which an answer is taken to hold
AT_ONCE = 8  # questions to the API server
TOKEN_LIMIT = 16 * 1024  # characters
_CACHE_BYTES = 4 * 1024 * 1024


class Unauthenticated(Exception):
    """The token is nobody's."""


class User(msgspec.Struct, frozen=True):
    """Somebody, as the API server knows them."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


class _TokenStatus(msgspec.Struct, frozen=True):
    authenticated: bool = False
    user: User = User()


class _TokenReview(msgspec.Struct, frozen=True):
    status: _TokenStatus = _TokenStatus()


class _AccessStatus(msgspec.Struct, frozen=True):
    allowed: bool = False


class _AccessReview(msgspec.Struct, frozen=True):
    status: _AccessStatus = _AccessStatus()


class AccessReviews:
    """Answers whose tokens are and which namespaces their users may see, each for a minute from memory."""

    def __init__(self, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
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
            body = await self._create("authentication.k8s.io/v1", "TokenReview", {"token": token})
            status = decode(body, _TokenReview, "a TokenReview").status
            known = self._clock() + TRUSTED_SECONDS, status.user if status.authenticated else None
            self._users.put(key, known)
        if known[1] is None:
            raise Unauthenticated
        return known[1]

    async def _may_list(self, key: bytes, user: User, namespace: str) -> bool:
        """Whether the user may list the Pods of a namespace; "" is all of them."""
        known = self._allowed.get((key, namespace))
        if known is None or self._clock() >= known[0]:
            attributes = {"namespace": namespace, "verb": "list", "resource": "pods"}
            spec = {
                "user": user.username,
                "uid": user.uid,
                "groups": user.groups,
                "extra": user.extra,
                "resourceAttributes": attributes,
            }
            body = await self._create("authorization.k8s.io/v1", "SubjectAccessReview", spec)
            allowed = decode(body, _AccessReview, "a SubjectAccessReview").status.allowed
            known = self._clock() + TRUSTED_SECONDS, allowed
            self._allowed.put((key, namespace), known)
        return known[1]

    async def _create(self, api_version: str, kind: str, spec: dict[str, Any]) -> bytes:
        body = {"apiVersion": api_version, "kind": kind, "spec": spec}
        async with self._turns:
            return await self._cluster.call("POST", f"/apis/{api_version}/{kind.lower()}s", f"a {kind}", body) or b""
