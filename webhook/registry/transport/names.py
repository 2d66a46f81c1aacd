"""Names resolved through the system, in threads of their own: a call to getaddrinfo can neither be waited for nor ended.

No namespace whose names are slow to resolve takes all threads, and none waits for another's.
"""

import asyncio
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from webhook.caching import LRUCache
from webhook.registry.tenant import TENANT
from webhook.registry.transport.messages import RegistryError

_EACH = 8  # look-ups of one namespace at once; one that nobody waits for any more counts until it is over
_SHARED = 64  # of all namespaces; beyond it each may have one
_THREADS = 128
_LIFE = 10.0  # seconds for which addresses are kept, as aiohttp does
_CACHE = 1024 * 1024


class CrowdedNames(RegistryError):
    """`tenant` has too many names to resolve already. It says nothing about the name, and nothing to other namespaces."""

    def __init__(self, tenant: str) -> None:
        super().__init__("unreachable", "too many names of this namespace are being resolved; ask again", passing=False)
        self.tenant = tenant


class SystemResolver(AbstractResolver):
    """`seconds` is how long an answer is waited for. Use it from one event loop, and `close` it there."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="names")
        self._running: Counter[str] = Counter()
        self._futures: set[asyncio.Future[Any]] = set()
        self._known: LRUCache[tuple[str, int, int], tuple[list[ResolveResult], float]] = LRUCache(_CACHE)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Every address of the name; `OSError` where there is none in time, `CrowdedNames` where others are in the way."""
        key = (host, port, int(family))
        found, until = self._known.get(key) or ([], 0.0)
        if time.monotonic() < until:
            return found
        async with asyncio.timeout(self._seconds):
            infos = await asyncio.shield(self._start(host, port, family))
        found = [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in infos
        ]
        self._known.put(key, (found, time.monotonic() + _LIFE), len(host) + 300 * len(found))
        return found

    async def close(self) -> None:
        """Nobody waits any more; threads end with what they have begun."""
        for future in self._futures:
            future.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, host: str, port: int, family: socket.AddressFamily) -> asyncio.Future[Any]:
        tenant = TENANT.get()
        own = self._running[tenant]
        if own >= _EACH or (own and len(self._futures) >= _SHARED):
            raise CrowdedNames(tenant)
        future = asyncio.get_running_loop().run_in_executor(
            self._pool, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
        )
        self._running[tenant] += 1
        self._futures.add(future)
        future.add_done_callback(lambda done: self._ended(tenant, done))
        return future

    def _ended(self, tenant: str, future: asyncio.Future[Any]) -> None:
        self._futures.discard(future)
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]
        if not future.cancelled():
            future.exception()  # heard here, for nobody may wait any more
