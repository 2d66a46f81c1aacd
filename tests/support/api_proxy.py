"""A way to the real API server that can be cut, hide an API group, and say "410 Gone" as after a long silence."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.e2e.target import Target


class ApiProxy:
    """Forwards plain HTTP to `kubectl proxy`."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._runner: web.AppRunner | None = None
        self._port = 0
        self._requests: set[asyncio.Task[object]] = set()
        self.gone: set[str] = set()  # resources whose next stream gets the error; used up by it
        self.forbidden: set[str] = set()  # resources that RBAC does not let us see
        self.refused = 0  # requests for them
        self.hidden = ""  # an API group that is not there
        self.failing = 0  # the status of every answer, unless 0

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Listen, at the same port as before."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._forward)
        # Not 0, which is no limit at all: a request may come in after all others were cancelled.
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Cut every connection and refuse new ones."""
        assert self._runner is not None
        for request in self._requests:
            request.cancel()
        await self._runner.cleanup()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._requests.add(task)
        task.add_done_callback(self._requests.discard)
        resource = request.path.rpartition("/")[2]
        answer = web.StreamResponse()
        if "watch" in request.query and resource in self.gone:
            self.gone.discard(resource)
            await answer.prepare(request)
            status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            await answer.write(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
            return answer
        if self.failing:
            return web.json_response({"kind": "Status", "code": self.failing}, status=self.failing)
        if self.hidden and request.path.startswith(f"/apis/{self.hidden}"):
            return web.json_response({"kind": "Status", "code": 404}, status=404)
        if resource in self.forbidden:
            self.refused += 1
            return web.json_response({"kind": "Status", "code": 403, "reason": "Forbidden"}, status=403)
        url = f"{self._upstream}{request.path_qs}"
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession() as session, session.get(url, timeout=timeout) as found:
            if self.hidden and request.path == "/apis":
                listed = await found.json()
                listed["groups"] = [each for each in listed["groups"] if each["name"] != self.hidden]
                return web.json_response(listed)
            answer.set_status(found.status)
            answer.content_type = found.content_type
            await answer.prepare(request)
            async for chunk in found.content.iter_any():
                await answer.write(chunk)
        return answer


@contextlib.asynccontextmanager
async def proxied(target: Target, folder: Path) -> AsyncIterator[tuple[ApiProxy, Path]]:
    """A proxy to a cluster, and the kubeconfig of a client that goes through it."""
    process = await asyncio.create_subprocess_exec(
        "kubectl", "proxy", "--port=0", stdout=asyncio.subprocess.PIPE, env=dict(target.environment)
    )
    assert process.stdout is not None
    try:
        line = (await process.stdout.readline()).decode()  # Starting to serve on 127.0.0.1:PORT
        proxy = ApiProxy(f"http://{line.split()[-1]}")
        await proxy.start()
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "proxy",
                    "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
                    "clusters": [{"name": "proxy", "cluster": {"server": proxy.url}}],
                    "users": [{"name": "proxy", "user": {}}],
                }
            )
        )
        try:
            yield proxy, kubeconfig
        finally:
            await proxy.stop()
    finally:
        process.terminate()
        await process.wait()
