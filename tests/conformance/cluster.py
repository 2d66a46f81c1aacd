"""The API server behind `kubectl proxy`, which knows how to use any kubeconfig; over a socket file, not a port."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

STARTED = "Starting to serve"


class Refused(Exception):
    """The API server's own words."""


class Api(msgspec.Struct, frozen=True):
    """One cluster."""

    session: aiohttp.ClientSession

    async def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> dict[str, Any]:
        """One request; `Refused` unless it succeeds."""
        data = None if body is None else msgspec.json.encode(body)
        async with self.session.request(method, path, data=data, headers={"Content-Type": kind}) as answer:
            result: dict[str, Any] = msgspec.json.decode(await answer.read())
            if answer.status >= 400:
                raise Refused(result.get("message", answer.reason))
            return result


@asynccontextmanager
async def connect(environment: Mapping[str, str], folder: Path) -> AsyncIterator[Api]:
    """The API server that `environment` reaches, for as long as the context lasts; the socket is made in `folder`."""
    socket = folder / "api.sock"
    proxy = await asyncio.create_subprocess_exec(
        "kubectl",
        "proxy",
        f"--unix-socket={socket}",
        env=dict(environment),
        stdout=asyncio.subprocess.PIPE,
    )
    assert proxy.stdout is not None
    try:
        line = await asyncio.wait_for(proxy.stdout.readline(), 30)
        if STARTED.encode() not in line:
            raise Refused("kubectl proxy did not start")
        connector = aiohttp.UnixConnector(str(socket))
        async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
            yield Api(session)
    finally:
        proxy.terminate()
        await proxy.wait()
