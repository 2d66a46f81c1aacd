"""A record that a controller keeps over its restarts: one value in a ConfigMap, which the chart makes, empty, and takes along.

Where there is no such ConfigMap, or no right to it, the process remembers.
"""

import logging
from typing import Generic, TypeVar

import msgspec

from webhook.cluster.client import Cluster, decode
from webhook.cluster.errors import Conflict, Forbidden
from webhook.cluster.object_meta import ObjectMeta

T = TypeVar("T", bound=msgspec.Struct)

log = logging.getLogger(__name__)


class _ConfigMap(msgspec.Struct):
    metadata: ObjectMeta
    data: dict[str, str] | None = None


class KeptRecord(Generic[T]):
    """The record, first `empty`; `key` of the ConfigMap's data has it as JSON, and `what` says for people what it is."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, *, key: str, empty: T, what: str) -> None:
        self._cluster = cluster
        self._path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"
        self._object = f"ConfigMap {namespace}/{name}"
        self._key = key
        self._not_kept = f"{what} is not kept over a restart"
        self._version = ""
        self._last = empty

    async def read(self) -> T:
        """The record that was written last, by whichever process. Raises `ClusterError`."""
        self._version = ""
        try:
            body = await self._cluster.call("GET", self._path, self._object, absent_ok=True)
        except Forbidden as error:
            log.warning("%s: %s", self._not_kept, error)
            return self._last
        if body is not None:
            found = decode(body, _ConfigMap, self._object)
            self._version = found.metadata.resource_version
            try:
                self._last = msgspec.json.decode((found.data or {}).get(self._key, "{}"), type=type(self._last))
            except msgspec.DecodeError as error:
                log.warning("%s is written anew: %s", self._object, error)
        return self._last

    async def write(self, record: T) -> None:
        """Keep another record, where what was read is still there. Raises `ClusterError`."""
        if record == self._last:
            return
        self._last = record
        if not self._version:
            return
        patch = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": self._version},
            {"op": "add", "path": "/data", "value": {self._key: msgspec.json.encode(record).decode()}},
        ]
        try:
            await self._cluster.call(
                "PATCH", self._path, self._object, patch, content_type="application/json-patch+json"
            )
        except (Conflict, Forbidden) as error:
            log.warning("%s: %s", self._not_kept, error)
