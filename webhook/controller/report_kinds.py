"""A watch on the CRDs of policy reports: the next full scan is due at once when one is installed or removed.

Discovery says what is served when reports are written, and a look at some namespaces writes those of these namespaces alone:
the others would wait for the next scan.
"""

from collections.abc import Callable, Collection, Coroutine
from typing import NoReturn

import msgspec

from webhook.cluster import reflector
from webhook.cluster.client import Cluster
from webhook.cluster.object_meta import Object, ObjectMeta
from webhook.controller.reports import KINDS

_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions?fieldSelector=metadata.name%3D"


def loops(api: Cluster, changed: Callable[[], object]) -> tuple[Coroutine[None, None, NoReturn], ...]:
    """The coroutines to run until cancelled: they call `changed` for every change of one of the CRDs after the first listing.

    That a new CRD is served comes after its creation, and is a change of it as well.
    """
    names = (f"{plural}.{api_version.partition('/')[0]}" for api_version, plural in KINDS)
    return tuple(
        reflector.follow(api, f"{_PATH}{name}", f"CustomResourceDefinition {name}", _Kind(changed), only_metadata=True)
        for name in names
    )


class _Kind:
    """Follows one CRD."""

    def __init__(self, changed: Callable[[], object]) -> None:
        self._changed = changed
        self._listed = False
        self._versions: dict[str, str] = {}

    def update(self, key: str, raw: msgspec.Raw) -> None:
        version = msgspec.json.decode(raw, type=Object[ObjectMeta]).metadata.resource_version
        if self._versions.get(key) != version:
            self._versions[key] = version
            self._notify()

    def delete(self, key: str) -> None:
        if self._versions.pop(key, None) is not None:
            self._notify()

    def replace(self, keys: Collection[str]) -> None:
        for key in self._versions.keys() - set(keys):
            self.delete(key)
        self._listed = True

    def _notify(self) -> None:
        if self._listed:
            self._changed()
