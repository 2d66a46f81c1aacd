"""A small API server on loopback: it lists what it was given, by pages, and writes down what it was asked."""

import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.pods import Object

_NAMESPACED = re.compile(r"(/apis?/.+?)/namespaces/([^/]+)/([^/]+)(?:/([^/]+))?\Z")


class Api:
    """Objects by the path of their list in all namespaces. What is not listed here is not there: 404."""

    def __init__(self, objects: dict[str, list[Object]]) -> None:
        self.objects = objects
        self.forbidden: set[str] = set()
        self.broken: set[str] = set()
        self.asked: list[str] = []
        self.expire = 0  # pages of a list after which it is too old, once
        self._encoded: dict[str, list[bytes]] = {}

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request."""
        self.asked.append(f"{request.method} {request.path}")
        if request.path in self.forbidden:
            return _status(403, "forbidden")
        if request.path in self.broken:
            return _status(500, "no")
        path, namespace, name = request.path, "", ""
        match = _NAMESPACED.fullmatch(path)
        if match:
            path, namespace, name = f"{match[1]}/{match[3]}", match[2], match[4] or ""
        elif path not in self.objects:
            path, _, name = path.rpartition("/")
        if path not in self.objects:
            return _status(404, "the server could not find the requested resource")
        if name:
            found = [each for each in self.objects[path] if each["metadata"]["name"] == name]
            return web.json_response(found[0]) if found else _status(404, f"{name} not found")
        if namespace:
            chosen = [each for each in self.objects[path] if each["metadata"]["namespace"] == namespace]
            return self._page(request, [json.dumps(each).encode() for each in chosen])
        if path not in self._encoded:
            self._encoded[path] = [json.dumps(each).encode() for each in self.objects[path]]
        return self._page(request, self._encoded[path])

    def _page(self, request: web.Request, items: list[bytes]) -> web.Response:
        limit = int(request.query["limit"])
        fresh, _, start = base64.b64decode(request.query.get("continue", "")).decode().partition(" ")
        first = int(start or 0)
        if self.expire and first and not fresh:
            self.expire -= 1
            return _status(410, "too old", _token(first, "fresh"))
        token = _token(first + limit, fresh) if first + limit < len(items) else ""
        head = json.dumps({"metadata": {"continue": token, "resourceVersion": "7"}})[:-1].encode()
        body = head + b',"items":[' + b",".join(items[first : first + limit]) + b"]}"
        return web.Response(body=body, content_type="application/json")


def _token(start: int, fresh: str) -> str:
    return base64.b64encode(f"{fresh} {start}".encode()).decode()


def _status(code: int, message: str, token: str = "") -> web.Response:
    status: dict[str, Any] = {"kind": "Status", "code": code, "message": message, "metadata": {"continue": token}}
    return web.json_response(status, status=code)


@asynccontextmanager
async def serving(api: Api, folder: Path) -> AsyncIterator[Path]:
    """The API server, up; the kubeconfig that reaches it, whose context is called `small`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    async with TestServer(app) as server:
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "small",
                    "contexts": [{"name": "small", "context": {"cluster": "small", "user": "small"}}],
                    "clusters": [{"name": "small", "cluster": {"server": str(server.make_url("")).rstrip("/")}}],
                    "users": [{"name": "small", "user": {"token": "t0ken"}}],
                }
            )
        )
        yield kubeconfig
