"""An OCI registry in memory, on loopback, that keeps a log of what it was asked and lies when told to.

    async with Registry() as registry:
        registry.push("team/app:1", image)
        registry.lie(Slow(), path="blobs")
        ... f"{registry.host}/team/app:1"

It speaks the pull half of opencontainers/distribution-spec: manifests by tag and digest, blobs, HEAD, and the two
ways of logging in. `Login` describes who may read what; without one everybody may.
"""

import asyncio
import base64
import hashlib
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Literal, Self

import msgspec
from aiohttp import web

from deploy.dev.oci import Content

_ROUTE = re.compile(r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs)/(?P<reference>[^/]+)\Z")


class Request(msgspec.Struct, frozen=True):
    """One request as the registry saw it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    form: Mapping[str, str]

    @property
    def authorization(self) -> str:
        """The Authorization header, or nothing."""
        return self.headers.get("Authorization", "")

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Login(msgspec.Struct, frozen=True):
    """The users who may read: user name -> password. `repositories` are open to them only; empty means every one.

    `scheme` is how the registry asks; `realm` replaces the token service's address; `oauth` says which grants the
    token service takes; `challenges` are sent before our own; `expires_in` is the life of a token in seconds.
    """

    users: Mapping[str, str]
    scheme: Literal["Basic", "Bearer"] = "Bearer"
    repositories: frozenset[str] = frozenset()
    anonymous: bool = False
    realm: str = ""
    oauth: Literal["both", "get", "post"] = "both"
    challenges: tuple[str, ...] = ()
    expires_in: int | None = 300
    refresh_tokens: frozenset[str] = frozenset()


class Status(msgspec.Struct, frozen=True):
    """Answer with this status instead."""

    status: int
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: bytes = b""


class Replace(msgspec.Struct, frozen=True):
    """Answer 200 with other bytes, under the right digest header."""

    change: Callable[[bytes], bytes]


class Redirect(msgspec.Struct, frozen=True):
    """Send the client elsewhere; `{path}` in the address stands for what was asked."""

    to: str
    status: int = 307


class Headers(msgspec.Struct, frozen=True):
    """Set headers, or drop those given as None."""

    change: Mapping[str, str | None]


class Slow(msgspec.Struct, frozen=True):
    """Send nothing of the body until `release` is set, or for ever; one byte first, so that the answer has begun."""

    release: asyncio.Event | None = None


class Trickle(msgspec.Struct, frozen=True):
    """Send one byte of the body every `pause` seconds."""

    pause: float = 1.0


class Hang(msgspec.Struct, frozen=True):
    """Do not answer until `release` is set, or for ever."""

    release: asyncio.Event | None = None


class Reset(msgspec.Struct, frozen=True):
    """Break the connection after `after` bytes of the body; before the answer where it is None."""

    after: int | None = None


Fault = Status | Replace | Redirect | Headers | Slow | Trickle | Hang | Reset


class _Lie(msgspec.Struct):
    fault: Fault
    method: str
    path: str
    left: int | None


class Registry:
    """The registry; start it with `async with`. `host` is HOST:PORT, `requests` the log; `login` may change at any time."""

    def __init__(
        self, login: Login | None = None, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1"
    ) -> None:
        self.login = login
        self.requests: list[Request] = []
        self.host = ""
        self._tls = tls
        self._address = address
        self._tags: dict[tuple[str, str], str] = {}
        self._manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self._blobs: dict[str, bytes] = {}
        self._lies: list[_Lie] = []
        self._tokens: dict[str, frozenset[str]] = {}
        self._closing = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, self._address, 0, ssl_context=self._tls)
        await site.start()
        self.host = f"{self._address}:{runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        await self._stack.aclose()

    @property
    def url(self) -> str:
        """The address with its scheme."""
        return f"{'https' if self._tls else 'http'}://{self.host}"

    def push(self, name: str, content: Content) -> str:
        """Store an image or index under `REPOSITORY:TAG`; its whole reference by digest, host included."""
        repository, _, tag = name.partition(":")
        for manifest in (content.manifest, *content.children):
            self._manifests[repository, manifest.digest] = (manifest.media_type, manifest.data)
        self._blobs |= {blob.digest: blob.data for blob in content.blobs}
        self._tags[repository, tag or "latest"] = content.digest
        return f"{self.host}/{repository}@{content.digest}"

    def lie(self, fault: Fault, *, method: str = "", path: str = "", times: int | None = None) -> None:
        """Commit `fault` on every request of that method whose path matches the expression, `times` times at most."""
        self._lies.append(_Lie(fault, method, path, times))

    def honest(self) -> None:
        """Stop lying."""
        self._lies.clear()

    def asked(self, method: str = "", path: str = "") -> int:
        """The number of requests of that method whose path matches the expression."""
        return sum(1 for each in self.requests if method in {"", each.method} and re.search(path, each.path))

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=1 << 20)
        application.router.add_route("*", "/{path:.*}", self._handle)
        return application

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        form = {key: str(value) for key, value in (await request.post()).items()} if request.method == "POST" else {}
        seen = Request(request.method, request.path, dict(request.query), dict(request.headers), form)
        self.requests.append(seen)
        faults = self._faults(seen)
        for fault in faults:
            if isinstance(fault, Hang):
                await self._wait(fault.release)
            if isinstance(fault, Reset) and fault.after is None and request.transport:
                request.transport.abort()
        status, headers, body = self._answer(seen)
        for fault in faults:
            match fault:
                case Status():
                    status, headers, body = fault.status, dict(fault.headers), fault.body
                case Replace():
                    body = fault.change(body)
                case Redirect():
                    status, headers, body = fault.status, {"Location": fault.to.replace("{path}", seen.path)}, b""
                case Headers():
                    kept = {key: value for key, value in headers.items() if key not in fault.change}
                    headers = kept | {key: value for key, value in fault.change.items() if value is not None}
                case _:
                    pass
        return await self._send(request, faults, status, headers, body)

    def _faults(self, seen: Request) -> list[Fault]:
        found: list[Fault] = []
        for lie in self._lies:
            if lie.left != 0 and lie.method in {"", seen.method} and re.search(lie.path, seen.path):
                lie.left = None if lie.left is None else lie.left - 1
                found.append(lie.fault)
        return found

    async def _send(
        self, request: web.Request, faults: list[Fault], status: int, headers: Mapping[str, str], body: bytes
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"Content-Length": str(len(body)), **headers})
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        for fault in faults:
            if isinstance(fault, Slow):
                await response.write(body[:1])
                await self._wait(fault.release)
                body = body[1:]
            while isinstance(fault, Trickle) and body and not self._closing.is_set():
                await response.write(body[:1])
                body = body[1:]
                await asyncio.sleep(fault.pause)
            if isinstance(fault, Reset) and fault.after is not None:
                await response.write(body[: fault.after])
                if request.transport:
                    request.transport.abort()
                return response
        async for piece in _pieces(body):
            await response.write(piece)
        await response.write_eof()
        return response

    async def _wait(self, release: asyncio.Event | None) -> None:
        """Until `release` is set or the registry closes, so that no handler outlives its test."""
        waits = [asyncio.ensure_future(event.wait()) for event in (release, self._closing) if event is not None]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _answer(self, seen: Request) -> tuple[int, dict[str, str], bytes]:
        if seen.path == "/token":
            return self._token(seen)
        route = _ROUTE.match(seen.path)
        if route is None or seen.method not in {"GET", "HEAD"}:
            return (200, {}, b"{}") if seen.path == "/v2/" else _error(404, "UNSUPPORTED")
        name, kind, reference = route["name"], route["kind"], route["reference"]
        if not self._may_read(seen, name):
            return 401, self._challenge(name), _error(401, "UNAUTHORIZED")[2]
        if kind == "blobs":
            blob = self._blobs.get(reference)
            if blob is None:
                return _error(404, "BLOB_UNKNOWN")
            return 200, {"Content-Type": "application/octet-stream", "Docker-Content-Digest": reference}, blob
        digest = self._tags.get((name, reference), reference)
        found = self._manifests.get((name, digest))
        if found is None:
            return _error(404, "MANIFEST_UNKNOWN")
        media_type, raw = found
        return 200, {"Content-Type": media_type, "Docker-Content-Digest": digest}, raw

    def _may_read(self, seen: Request, name: str) -> bool:
        login = self.login
        if login is None or (login.repositories and name not in login.repositories):
            return True
        scheme, _, value = seen.authorization.partition(" ")
        if login.scheme == "Basic":
            return scheme == "Basic" and _user(value) in login.users.items()
        return scheme == "Bearer" and name in self._tokens.get(value, frozenset())

    def _challenge(self, name: str) -> dict[str, str]:
        assert self.login is not None
        realm = self.login.realm or f"{self.url}/token"
        own = f'Bearer realm="{realm}",service="registry",scope="repository:{name}:pull"'
        if self.login.scheme == "Basic":
            own = 'Basic realm="registry"'
        return {"WWW-Authenticate": ", ".join((*self.login.challenges, own))}

    def _token(self, seen: Request) -> tuple[int, dict[str, str], bytes]:
        """The token service: GET with Basic, or POST with a grant; every token is good for the scopes it names."""
        login = self.login
        if login is None or ((login.oauth == "post") == (seen.method == "GET") and login.oauth != "both"):
            return _error(404, "UNSUPPORTED")
        if seen.method == "POST":
            user = (seen.form.get("username", ""), seen.form.get("password", ""))
            known = user in login.users.items() or seen.form.get("refresh_token") in login.refresh_tokens
            scope = seen.form.get("scope", "")
        else:
            known = _user(seen.authorization.removeprefix("Basic ")) in login.users.items()
            known = known or (login.anonymous and not seen.authorization)
            scope = seen.query.get("scope", "")
        if not known:
            return _error(401, "UNAUTHORIZED")
        token = hashlib.sha256(f"{len(self._tokens)} {scope}".encode()).hexdigest()
        self._tokens[token] = frozenset(each.split(":")[1] for each in scope.split() if each.count(":") == 2)
        answer: dict[str, Any] = {"token": token}
        if login.expires_in is not None:
            answer["expires_in"] = login.expires_in
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


async def _pieces(body: bytes, size: int = 1 << 16) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


def _user(basic: str) -> tuple[str, str]:
    try:
        name, _, password = base64.b64decode(basic).decode().partition(":")
    except ValueError:
        return "", ""
    return name, password


def _error(status: int, code: str) -> tuple[int, dict[str, str], bytes]:
    body = json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode()
    return status, {"Content-Type": "application/json"}, body
