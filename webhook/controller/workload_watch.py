"""A watch on workloads, by their metadata alone: which namespaces have new, changed or deleted ones.

Of each workload a hash of its uid and generation is kept, and of a Pod that has one nothing at all, so that 50,000 Pods cost
no more than the 10,000 Deployments that made them.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine
from typing import NoReturn

import msgspec

from webhook.cluster import reflector
from webhook.cluster.client import Cluster
from webhook.cluster.object_meta import Object, Owned
from webhook.cluster.reflector import Store
from webhook.scan.collector import KINDS, base
from webhook.workload.podspec import OwnerReference

FIRST_LISTING_TIMEOUT = 60.0  # seconds for the first listings

Changed = Callable[[str], object]

_MAKERS = {(version.rpartition("/")[0], kind) for kind, version, _ in KINDS}


class _WorkloadMeta(Owned, frozen=True, gc=False):
    generation: int = 0


_OBJECT = msgspec.json.Decoder(Object[_WorkloadMeta])


class Workloads:
    """The workloads of a cluster. `pods` gets the same Pods: there is one stream of them."""

    def __init__(self, api: Cluster, pods: Store | None = None) -> None:
        self._api = api
        self._pods = pods
        self._listed = [asyncio.Event() for _ in KINDS]

    def loops(self, changed: Changed) -> tuple[Coroutine[None, None, NoReturn], ...]:
        """The coroutines to run until cancelled: they call `changed` with the name of a namespace.

        At first that is every namespace that has workloads.
        """
        return tuple(
            reflector.follow(
                self._api,
                f"{base(version)}/{resource}",
                f"{kind}s",
                self._store(kind, changed, listed),
                only_metadata=True,
            )
            for (kind, version, resource), listed in zip(KINDS, self._listed, strict=True)
        )

    def _store(self, kind: str, changed: Changed, listed: asyncio.Event) -> Store:
        own = _Kind(changed, listed)
        return own if kind != "Pod" or self._pods is None else _Both(own, self._pods)

    async def listed(self) -> None:
        """Wait until whatever changes from now on is heard of, as far as it is within a minute."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LISTING_TIMEOUT):
                for each in self._listed:
                    await each.wait()


class _Kind:
    """Follows one kind."""

    def __init__(self, changed: Changed, listed: asyncio.Event) -> None:
        self._changed = changed
        self._listed = listed
        self._versions: dict[str, int] = {}

    def update(self, key: str, raw: msgspec.Raw) -> None:
        about = _OBJECT.decode(raw).metadata
        if about.controller and _group_kind(about.controller) in _MAKERS:
            return  # whoever made it has its own stream
        version = hash((about.uid, about.generation))
        if self._versions.get(key) != version:
            self._versions[key] = version
            self._notify(key)

    def delete(self, key: str) -> None:
        if self._versions.pop(key, None) is not None:
            self._notify(key)

    def replace(self, keys: Collection[str]) -> None:
        for key in self._versions.keys() - set(keys):
            self.delete(key)
        self._listed.set()

    def _notify(self, key: str) -> None:
        self._changed(key.partition("/")[0])


class _Both:
    """A store that passes every change on to several."""

    def __init__(self, *stores: Store) -> None:
        self._stores = stores

    def update(self, key: str, raw: msgspec.Raw) -> None:
        for each in self._stores:
            each.update(key, raw)

    def delete(self, key: str) -> None:
        for each in self._stores:
            each.delete(key)

    def replace(self, keys: Collection[str]) -> None:
        for each in self._stores:
            each.replace(keys)


def _group_kind(owner: OwnerReference) -> tuple[str, str]:
    return owner.api_version.rpartition("/")[0], owner.kind
