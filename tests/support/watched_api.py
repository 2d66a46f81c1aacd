"""A small API server whose lists can be watched: it has a history, forgets it, breaks streams and refuses, as a test says."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.pods import Object

NAMESPACES = "/api/v1/namespaces"
POLICIES = "/apis/nonroot.dev/v1alpha1/nonrootpolicies"
EXCEPTIONS = "/apis/nonroot.dev/v1alpha1/nonrootexceptions"


class WatchedApi:
    """Objects by the path of their list. Any other path is a kind that is not installed."""

    def __init__(self, *paths: str) -> None:
        self.version = 1
        self.objects: dict[str, dict[str, Object]] = {path: {} for path in paths}
        self.forgotten = 0  # the last version that no stream can go on from
        self.refusals: list[tuple[int, dict[str, str]]] = []  # status and headers of the next answers to streams
        self.failing = 0  # the status of every answer, unless 0
        self.breaking = False  # streams are cut as soon as they are open
        self.second = 1.0  # of the time that streams live, in our seconds
        self.counts: Counter[str] = Counter()  # pages, listings and streams that were asked for
        self._history: list[tuple[int, str, str, Object]] = []
        self._changed = asyncio.Condition()
        self.streams: set[asyncio.BaseTransport] = set()  # that are open

    async def put(self, path: str, name: str, namespace: str = "", **more: object) -> None:
        """Create an object, or change it."""
        key = f"{namespace}/{name}"
        await self._record("MODIFIED" if key in self.objects[path] else "ADDED", path, key, name, namespace, more)

    async def remove(self, path: str, name: str, namespace: str = "") -> None:
        """Delete an object."""
        await self._record("DELETED", path, f"{namespace}/{name}", name, namespace, {})

    def fill(self, path: str, names: Iterable[str]) -> None:
        """Create many objects at once, before anybody watches."""
        for name in names:
            self.objects[path][f"/{name}"] = {
                "metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": "1", "labels": {"team": name}}
            }

    async def _record(self, kind: str, path: str, key: str, name: str, namespace: str, more: dict[str, object]) -> None:
        async with self._changed:
            self.version += 1
            metadata = {"name": name, "uid": f"uid-{key}", "resourceVersion": str(self.version)}
            given = dict(more)
            labels = given.pop("labels", {})
            body = {
                "metadata": {**metadata, **({"namespace": namespace} if namespace else {}), "labels": labels},
                **given,
            }
            if kind == "DELETED":
                del self.objects[path][key]
            else:
                self.objects[path][key] = body
            self._history.append((self.version, path, kind, body))
            self._changed.notify_all()

    def forget(self) -> None:
        """Compact the history: streams that go on from before now end by 410."""
        self.forgotten = self.version

    def cut(self) -> None:
        """Break every stream that is open."""
        for each in self.streams:
            each.abort()  # type: ignore[attr-defined]  # it is one of a socket
        self.streams.clear()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        if self.failing:
            return web.json_response({"kind": "Status", "message": "as a test says"}, status=self.failing)
        if request.path not in self.objects:
            return web.Response(text="404 page not found", status=404)
        if "watch" in request.query:
            return await self._stream(request)
        self.counts["pages"] += 1
        items = list(self.objects[request.path].values())
        limit, start = int(request.query.get("limit") or len(items) or 1), int(request.query.get("continue") or 0)
        token = str(start + limit) if start + limit < len(items) else ""
        self.counts["listings"] += not token
        metadata = {"resourceVersion": str(self.version), "continue": token}
        return web.json_response({"metadata": metadata, "items": items[start : start + limit]})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.counts["streams"] += 1
        if self.refusals:
            status, headers = self.refusals.pop(0)
            return web.json_response({"kind": "Status", "message": "later"}, status=status, headers=headers)
        since, end = int(request.query["resourceVersion"]), int(request.query["timeoutSeconds"]) * self.second
        if since < self.forgotten:
            return web.json_response({"kind": "Status", "message": "too old resource version"}, status=410)
        answer = web.StreamResponse()
        await answer.prepare(request)
        transport = request.transport
        assert transport is not None
        self.streams.add(transport)
        if self.breaking:
            self.cut()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(end):
                    await self._tell(answer, request.path, since)
            bookmark = {"metadata": {"resourceVersion": str(self.version)}}
            await answer.write(json.dumps({"type": "BOOKMARK", "object": bookmark}).encode() + b"\n")
        finally:
            self.streams.discard(transport)
        return answer

    async def _tell(self, answer: web.StreamResponse, path: str, since: int) -> None:
        while True:
            for version, where, kind, body in self._history:
                if version > since and where == path:
                    await answer.write(json.dumps({"type": kind, "object": body}).encode() + b"\n")
            since = max(since, self.version)
            async with self._changed:
                await self._changed.wait_for(lambda since=since: self.version > since)  # type: ignore[misc]


@contextlib.asynccontextmanager
async def serving(api: WatchedApi, kubeconfig: Path) -> AsyncIterator[None]:
    """Serve it meanwhile, as the kubeconfig says that is written."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    async with TestServer(app) as server:
        cluster = {"server": str(server.make_url("")).rstrip("/")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "clusters": [{"name": "x", "cluster": cluster}],
            "users": [{"name": "x", "user": {"token": "t0ken"}}],
        }
        await asyncio.to_thread(kubeconfig.write_text, json.dumps(config))
        yield
        api.cut()
