"""A small API server over plain HTTP that answers as scripted, and the scripted answers."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

PASSWORD = b"hunter2-hunter2"


class Api:
    """What was asked, and what is answered."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any, str]] = []
        self.status = 200
        self.date = ""
        self.headers: dict[str, str] = {}
        self.pace = 0.0  # seconds between two pieces of an answer
        self.body: bytes = b"{}"
        self.pages: list[tuple[int, Any]] = []  # answers that come before that, each once

    def answer(self, status: int, document: Any) -> None:
        self.status, self.body = status, json.dumps(document).encode()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked.append((request.method, request.path_qs, json.loads(body or b"null"), request.content_type))
        if self.pages:
            status, document = self.pages.pop(0)
            return web.json_response(document, status=status, headers=self.headers)
        headers = {"Date": self.date} if self.date else None
        if self.pace:
            answer = web.StreamResponse()
            await answer.prepare(request)
            for start in range(0, len(self.body), 100):
                await asyncio.sleep(self.pace)
                await answer.write(self.body[start : start + 100])
            return answer
        return web.Response(status=self.status, body=self.body, content_type="application/json", headers=headers)


@asynccontextmanager
async def serving(kubeconfig: Path) -> AsyncIterator[Api]:
    """Serve, as the kubeconfig says that is written there."""
    found = Api()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.handle)
    async with TestServer(app) as server:
        _name_it(kubeconfig, str(server.make_url("")).rstrip("/"))
        yield found


def _name_it(kubeconfig: Path, server: str) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {"token": "t0ken"}}],
    }
    kubeconfig.write_text(json.dumps(config))


def a_secret(**data: bytes) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"metadata": {"resourceVersion": "7"}, "type": "kubernetes.io/dockerconfigjson", "data": encoded}


def status(code: int, message: str) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "message": message}
