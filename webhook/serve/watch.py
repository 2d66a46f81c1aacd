"""The cluster as the admission replicas see it: namespaces, policies and exceptions, never Pods."""

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import Any

import kopf

from webhook import view, watching
from webhook.policy import NonRootException, NonRootPolicy
from webhook.scope import Namespace
from webhook.view import ClusterView, Rejected

PAUSE = 0.05  # seconds at least between two views; the first change of a burst shows at once
_RESOURCES = frozenset({"namespaces", "nonrootpolicies", "nonrootexceptions"})


async def watch(shown: ClusterView, stop: asyncio.Event) -> None:
    """Keep a view up to date until `stop` is set, through whatever happens to the API server."""

    def confirm(resource: str) -> None:
        if resource in _RESOURCES:
            shown.confirm(resource)

    await watching.run(partial(register, shown), stop, confirm)


def register(shown: ClusterView, registry: kopf.OperatorRegistry, _settings: kopf.OperatorSettings) -> None:
    """Add the handlers that fill a view. kopf calls event handlers only once everything is indexed."""
    publish = _Publisher(shown)

    async def namespaces(name: str, labels: kopf.Labels, **_: Any) -> dict[str, Namespace]:
        return {name: Namespace(name, dict(labels))}

    async def objects(body: kopf.Body, uid: str, **_: Any) -> dict[str, NonRootPolicy | NonRootException | Rejected]:
        return {uid: view.accept(body)}

    async def changed(**indices: Any) -> None:
        publish(indices["namespaces"], indices["objects"])

    kopf.index("", "v1", "namespaces", id="namespaces", registry=registry)(namespaces)
    kopf.on.event("", "v1", "namespaces", registry=registry)(changed)
    for plural in ("nonrootpolicies", "nonrootexceptions"):
        kopf.index("nonroot.dev", "v1alpha1", plural, id="objects", registry=registry)(objects)
        kopf.on.event("nonroot.dev", "v1alpha1", plural, registry=registry)(changed)


class _Publisher:
    """Shows kopf's indices to a view: at once after a quiet time, else when the pause is over."""

    def __init__(self, shown: ClusterView) -> None:
        self._shown = shown
        self._pausing = False
        self._waiting: tuple[kopf.Index[str, Any], kopf.Index[str, Any]] | None = None

    def __call__(self, namespaces: kopf.Index[str, Any], objects: kopf.Index[str, Any]) -> None:
        if self._pausing:
            self._waiting = (namespaces, objects)
            return
        self._shown.show(_values(namespaces), _values(objects))
        self._pausing = True
        asyncio.get_running_loop().call_later(PAUSE, self._resume)

    def _resume(self) -> None:
        self._pausing = False
        if self._waiting is not None:
            indices, self._waiting = self._waiting, None
            self(*indices)


def _values(index: kopf.Index[str, Any]) -> Iterable[Any]:
    return [value for values in index.values() for value in values]
