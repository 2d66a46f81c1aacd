"""A record of what was enforced, in a ConfigMap, so that a controller that starts can tell what is enforced less.

The chart makes the ConfigMap, empty, and takes it along. Where there is none, or no right to it, the process remembers.
"""

import logging
from datetime import datetime

import msgspec

from webhook.cluster.client import Cluster, Conflict, Forbidden, decode
from webhook.cluster.object_meta import ObjectMeta

NAMESPACES_LIMIT = 20_000  # of which 780 KiB of a ConfigMap's 1 MiB are needed; Kubernetes is made for half as many
_KEY = "enforced.json"

log = logging.getLogger(__name__)


class Enforced(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The namespaces that one policy enforced, by uid, and the fields by which root could run there."""

    namespaces: tuple[str, ...]
    allows_root: tuple[str, ...] = ()


class Record(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The whole record: what each policy enforced, and when some namespace was enforced less for the last time."""

    policies: dict[str, Enforced] = {}
    weakened_at: datetime | None = None


class _ConfigMap(msgspec.Struct):
    metadata: ObjectMeta
    data: dict[str, str] | None = None


class EnforcementRecord:
    """The record, and the ConfigMap that keeps it."""

    def __init__(
        self, cluster: Cluster, namespace: str = "nonroot-system", name: str = "nonroot-webhook-enforced"
    ) -> None:
        self._cluster = cluster
        self._path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"
        self._what = f"ConfigMap {namespace}/{name}"
        self._version = ""
        self._last = Record()

    async def read(self) -> Record:
        """The record that was written last, by whichever process. Raises `ClusterError`."""
        self._version = ""
        try:
            body = await self._cluster.call("GET", self._path, self._what, absent_ok=True)
        except Forbidden as error:
            log.warning("what is enforced is not kept over a restart: %s", error)
            return self._last
        if body is not None:
            found = decode(body, _ConfigMap, self._what)
            self._version = found.metadata.resource_version
            try:
                self._last = msgspec.json.decode((found.data or {}).get(_KEY, "{}"), type=Record)
            except msgspec.DecodeError as error:
                log.warning("%s is written anew: %s", self._what, error)
        return self._last

    async def write(self, record: Record) -> None:
        """Keep another record, where what was read is still there. Raises `ClusterError`."""
        if record == self._last:
            return
        self._last = record
        if not self._version:
            return
        patch = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": self._version},
            {"op": "add", "path": "/data", "value": {_KEY: msgspec.json.encode(record).decode()}},
        ]
        try:
            await self._cluster.call("PATCH", self._path, self._what, patch, content_type="application/json-patch+json")
        except (Conflict, Forbidden) as error:
            log.warning("what is enforced is not kept over a restart: %s", error)
