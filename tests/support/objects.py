"""An API server's objects in memory, for what keeps them in order: versions, conflicts and a record of what was written."""

import copy
import json
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

import jsonpatch
import msgspec

from webhook.cluster.client import Cluster
from webhook.cluster.errors import Absent, ClusterError, Conflict

Body = dict[str, Any]


class Objects(Cluster):
    """Collections by path, each with objects by name. `before` is called ahead of every write and may raise."""

    def __init__(self, *collections: str) -> None:
        super().__init__()
        self.stored: dict[str, dict[tuple[str, str], Body]] = {each: {} for each in collections}
        self.writes: list[str] = []
        self.before: Callable[[], None] = lambda: None
        self._versions = count(1)

    def put(self, collection: str, body: Body) -> Body:
        """As a user would: a new object, or another spec for one that is there."""
        metadata = {"namespace": "", "uid": f"uid-{body['metadata']['name']}", **body["metadata"]}
        key = (metadata["namespace"], metadata["name"])
        former = self.stored[collection].get(key, {"metadata": {}})
        metadata["generation"] = former["metadata"].get("generation", 0) + 1
        metadata["resourceVersion"] = str(next(self._versions))
        kept = {"status": former["status"]} if "status" in former else {}
        self.stored[collection][key] = json.loads(json.dumps({**kept, **body, "metadata": metadata}))
        return self.stored[collection][key]

    def all(self, collection: str) -> list[Body]:
        """What is there, by namespace and name."""
        return [body for _, body in sorted(self.stored[collection].items())]

    async def name(self) -> str:
        """What people call it."""
        return "in memory"

    async def pages(
        self, path: str, what: str, *, only_metadata: bool = False
    ) -> AsyncIterator[tuple[msgspec.Raw, ...]]:
        """One object a page."""
        base, _, query = path.partition("?")
        base, namespace = _placed(base)
        if base not in self.stored:
            raise Absent(what)
        for body in self.all(base):
            if namespace not in {"", body["metadata"]["namespace"]}:
                continue
            if not query or "app.kubernetes.io/managed-by" in body["metadata"].get("labels", {}):
                yield (msgspec.Raw(json.dumps(body).encode()),)

    async def call(
        self,
        method: str,
        path: str,
        what: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        absent_ok: bool = False,
    ) -> bytes | None:
        """One call."""
        if method == "GET":
            return self._discover(path, what, absent_ok=absent_ok)
        self.before()
        collection, key, status = self._place(path, method)
        found = self.stored.get(collection, {}).get(key)
        if collection not in self.stored or (found is None and method != "POST"):
            if absent_ok:
                return None
            raise Absent(what)
        self.writes.append(f"{method} {what}")
        if method == "DELETE":
            del self.stored[collection][key]
            return b"{}"
        body = json.loads(msgspec.json.encode(body))
        if method == "POST":
            key = (body["metadata"].get("namespace", ""), body["metadata"]["name"])
            if key in self.stored[collection]:
                raise self._refuse(Conflict(what))
            body["metadata"].setdefault("uid", f"uid-{key[1]}")
        else:
            assert found is not None
            if method == "PATCH":
                assert content_type == "application/json-patch+json"
                patched = jsonpatch.apply_patch(copy.deepcopy(found), body)
                assert not status or {**patched, "status": 0, "metadata": 0} == {**found, "status": 0, "metadata": 0}
                body = patched
            if body["metadata"].get("resourceVersion") != found["metadata"]["resourceVersion"]:
                raise self._refuse(Conflict(what))
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        self.stored[collection][key] = body
        return msgspec.json.encode(body)

    def _refuse(self, error: ClusterError) -> ClusterError:
        self.writes.pop()
        return error

    def _discover(self, path: str, what: str, *, absent_ok: bool) -> bytes | None:
        """An API version's resources, or an object."""
        collection, key, _ = self._place(path, "GET")
        if key in self.stored.get(collection, {}):
            return json.dumps(self.stored[collection][key]).encode()
        served = [each.rpartition("/")[2] for each in self.stored if each.startswith(f"{path}/")]
        if not served:
            if absent_ok:
                return None
            raise Absent(what)
        return json.dumps({"resources": [{"name": each} for each in served]}).encode()

    def _place(self, path: str, method: str) -> tuple[str, tuple[str, str], bool]:
        """The collection, the namespace and name, and whether the status is meant."""
        before, _, rest = path.partition("/namespaces/")
        parts = rest.split("/") if rest else []
        namespace = ""
        if len(parts) > 1:
            namespace, path = parts[0], f"{before}/{'/'.join(parts[1:])}"
        status = path.endswith("/status")
        path = path.removesuffix("/status")
        if method == "POST":
            return path, (namespace, ""), status
        collection, _, name = path.rpartition("/")
        return collection, (namespace, name), status


def _placed(path: str) -> tuple[str, str]:
    """The path of a list in all namespaces, and the namespace that is meant, "" for all."""
    before, _, rest = path.partition("/namespaces/")
    namespace, _, plural = rest.partition("/")
    return (f"{before}/{plural}", namespace) if plural else (path, "")
