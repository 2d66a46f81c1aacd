"""The cluster as the admission replicas see it: namespaces, policies and exceptions, never Pods."""

import asyncio
from functools import partial
from typing import Any

import kopf

from webhook.cluster import watch as watching
from webhook.cluster.watch import ApiAnswer
from webhook.policy import cache
from webhook.policy.cache import PolicyCache, StoredObject
from webhook.policy.selection import Namespace

PAUSE = 0.05  # seconds at least between two views; the first change of a burst shows at once
_RESOURCES = {
    "namespaces": ("", "v1"),
    "nonrootpolicies": ("nonroot.dev", "v1alpha1"),
    "nonrootexceptions": ("nonroot.dev", "v1alpha1"),
}


async def watch(policies: PolicyCache, stop: asyncio.Event) -> None:
    """Keep a view up to date until `stop` is set, through whatever happens to the API server."""
    await watching.run(partial(register, policies), stop)


def register(
    policies: PolicyCache, registry: kopf.OperatorRegistry, _settings: kopf.OperatorSettings
) -> watching.Observe:
    """Add the handlers that fill a view."""
    store = _Store(policies)

    async def changed(**event: Any) -> None:
        store.change(event["resource"].plural, event["type"] == "DELETED", event["body"])

    for plural, (group, version) in _RESOURCES.items():
        kopf.on.event(group, version, plural, registry=registry)(changed)
    return store.observe


class _Store:
    """What one operator has heard, shown once every listing has been heard to its end, and from then on as it changes."""

    def __init__(self, policies: PolicyCache) -> None:
        self._policies = policies
        self._namespaces: dict[str, Namespace] = {}
        self._objects: dict[str, StoredObject] = {}
        self._served: set[str] = set()  # resources that the API server has: without our CRDs, namespaces alone
        self._unheard: dict[str, set[str]] = {}  # by resource, the listed objects of which no event has told yet
        self._pausing = self._waiting = False

    def observe(self, answer: ApiAnswer) -> None:
        """Take note of what there is to hear, and that a resource's stream is alive."""
        self._served |= answer.resources & _RESOURCES.keys()
        if answer.name not in _RESOURCES:
            return
        self._policies.mark_synced(answer.name)
        if answer.uids is not None:
            self._unheard[answer.name] = set(answer.uids)
            self._publish()

    def change(self, resource: str, deleted: bool, body: kopf.Body) -> None:
        """Take an object as it is now, or forget it."""
        metadata = body["metadata"]
        uid: str = metadata["uid"]
        if deleted:
            self._namespaces.pop(uid, None)
            self._objects.pop(uid, None)
        elif resource == "namespaces":
            self._namespaces[uid] = Namespace(metadata["name"], dict(metadata.get("labels") or {}))
        else:
            former = self._objects.get(uid)
            self._objects[uid] = cache.accept(body, former.document if former is not None else None)
        self._unheard[resource].discard(uid)
        self._publish()

    def _publish(self) -> None:
        """Show it all: at once after a quiet time, else when the pause is over."""
        if not self._served <= self._unheard.keys() or any(self._unheard.values()):
            return
        if self._pausing:
            self._waiting = True
            return
        self._policies.replace(self._namespaces.values(), self._objects.values())
        self._pausing, self._waiting = True, False
        asyncio.get_running_loop().call_later(PAUSE, self._resume)

    def _resume(self) -> None:
        self._pausing = False
        if self._waiting:
            self._publish()
