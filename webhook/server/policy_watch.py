"""The watch of an admission replica on namespaces, policies and exceptions."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from functools import partial
from typing import Generic, NoReturn, TypeVar

import msgspec

from webhook.cluster import reflector
from webhook.cluster.client import Cluster
from webhook.cluster.object_meta import Labelled, Object
from webhook.policy.cache import PolicyCache, StoredObject, accept
from webhook.policy.selection import Namespace
from webhook.policy.types import API_VERSION

STREAM_LIFETIME = 30  # seconds; by each new stream the API server confirms what we hold
PUBLISH_INTERVAL = 0.05  # seconds at least between two snapshots; the first change of a burst shows at once

T = TypeVar("T")


class PolicyWatch:
    """Keeps a `PolicyCache` as the API server has it, once all three listings are complete."""

    def __init__(self, policies: PolicyCache) -> None:
        self._policies = policies
        self.namespaces = _Store(_namespace, self._publish)
        self.policies = _Store(partial(_document, "NonRootPolicy"), self._publish)
        self.exceptions = _Store(partial(_document, "NonRootException"), self._publish)
        self._pausing = self._waiting = False

    def loops(self, cluster: Cluster) -> tuple[Coroutine[None, None, NoReturn], ...]:
        """The coroutines to run until cancelled; while the API server is away the cache stays as it was."""
        return (
            self._follow(cluster, "/api/v1/namespaces", self.namespaces),
            self._follow(cluster, f"/apis/{API_VERSION}/nonrootpolicies", self.policies),
            self._follow(cluster, f"/apis/{API_VERSION}/nonrootexceptions", self.exceptions),
        )

    def _follow(self, cluster: Cluster, path: str, store: "_Store[T]") -> Coroutine[None, None, NoReturn]:
        resource = path.rpartition("/")[2]
        synced = partial(self._policies.mark_synced, resource)
        return reflector.follow(cluster, path, resource, store, lifetime=STREAM_LIFETIME, synced=synced)

    def _publish(self) -> None:
        """Show it all: at once after a quiet time, else when the pause is over."""
        if not (self.namespaces.listed and self.policies.listed and self.exceptions.listed):
            return
        if self._pausing:
            self._waiting = True
            return
        documents = (*self.policies.objects.values(), *self.exceptions.objects.values())
        self._policies.replace(self.namespaces.objects.values(), documents)
        self._pausing, self._waiting = True, False
        asyncio.get_running_loop().call_later(PUBLISH_INTERVAL, self._resume)

    def _resume(self) -> None:
        self._pausing = False
        if self._waiting:
            self._publish()


_OBJECT = msgspec.json.Decoder(Object[Labelled])


def _namespace(raw: msgspec.Raw, _former: Namespace | None) -> Namespace:
    metadata = _OBJECT.decode(raw).metadata
    return Namespace(metadata.name, metadata.labels or {})


def _document(kind: str, raw: msgspec.Raw, former: StoredObject | None) -> StoredObject:
    body = {"apiVersion": API_VERSION, "kind": kind, **msgspec.json.decode(raw)}
    return accept(body, None if former is None else former.document)


class _Store(Generic[T]):
    """The objects of one kind by their keys; `listed` once there has been a complete listing.

    `read` makes of an object, and of what there was of it before, what is kept of it.
    """

    def __init__(self, read: Callable[[msgspec.Raw, T | None], T], changed: Callable[[], None]) -> None:
        self._read = read
        self._changed = changed
        self.objects: dict[str, T] = {}
        self.listed = False

    def update(self, key: str, raw: msgspec.Raw) -> None:
        self.objects[key] = self._read(raw, self.objects.get(key))
        self._changed()

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)
        self._changed()

    def replace(self, keys: Collection[str]) -> None:
        for key in self.objects.keys() - set(keys):
            del self.objects[key]
        self.listed = True
        self._changed()
