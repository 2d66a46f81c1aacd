"""What a client may make a connection hold: each limit by one who passes it, and those who do not notice nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from webhook.server import limits
from webhook.server.limits import BoundedProtocol

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


class Server:
    """A server of that protocol on a free port, which answers a request once it is whole and `release` is set."""

    def __init__(self) -> None:
        self.state = ServerState()
        self.release = asyncio.Event()
        self.release.set()
        self.port = 0
        self.config = uvicorn.Config(self.answer, lifespan="off", interface="asgi3", log_config=None)

    async def answer(self, _scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await self.release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A client."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """A server in a hurry."""
    monkeypatch.setattr(limits, "REQUEST_TIMEOUT", 0.1)
    running = Server()
    listener = await asyncio.get_running_loop().create_server(
        lambda: BoundedProtocol(running.config, running.state, {}), "127.0.0.1", 0
    )
    running.port = listener.sockets[0].getsockname()[1]
    yield running
    listener.close()
    for each in tuple(running.state.connections):
        each.transport.abort()
    await asyncio.sleep(0)


async def _ended(reader: asyncio.StreamReader) -> bool:
    """Whether the server has closed the connection without an answer."""
    try:
        return await asyncio.wait_for(reader.read(1), 5) == b""
    except ConnectionError:
        return True


async def _answered(reader: asyncio.StreamReader) -> bool:
    return (await asyncio.wait_for(reader.readuntil(b"ok"), 5)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "begun", [b"\r\n", b"POST / HT", HEAD, HEAD + b"X: ", HEAD + b"Content-Length: 9\r\n\r\n12345678"]
)
async def test_a_request_that_does_not_end_is_given_up(server: Server, begun: bytes) -> None:
    async with server.connection() as (reader, writer):
        writer.write(begun)
        assert await _ended(reader)
    assert not server.state.connections


@pytest.mark.thorough
async def test_a_connection_may_wait_for_its_first_request_as_long_as_for_any(server: Server) -> None:
    server.config.timeout_keep_alive = 1
    async with server.connection() as (reader, writer):
        await asyncio.sleep(2 * limits.REQUEST_TIMEOUT)
        writer.write(HEAD + b"Content-Length: 2\r\n\r\n{}")
        assert await _answered(reader)
    async with server.connection() as (reader, writer):
        await asyncio.sleep(0.5)
        assert server.state.connections
        assert await _ended(reader)


async def test_an_answer_may_take_longer_than_a_request(server: Server) -> None:
    """And a connection may be idle between two of them."""
    server.release.clear()
    async with server.connection() as (reader, writer):
        writer.write(HEAD + b"Content-Length: 2\r\n\r\n{}")
        await asyncio.sleep(2 * limits.REQUEST_TIMEOUT)
        server.release.set()
        assert await _answered(reader)
        await asyncio.sleep(2 * limits.REQUEST_TIMEOUT)
        writer.write(HEAD + b"Content-Length: 2\r\n\r\n{}")
        assert await _answered(reader)


@pytest.mark.parametrize("begin", [b"GET /", HEAD + b"X: ", HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: "])
async def test_a_head_without_end_is_broken_off(server: Server, begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request line, a header, a trailer behind the body."""
    monkeypatch.setattr(limits, "REQUEST_TIMEOUT", 60)
    monkeypatch.setattr(limits, "WHOLE_LIMIT", 1 << 20)
    async with server.connection() as (reader, writer):
        writer.write(begin)
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                writer.write(b"x" * (1 << 16))
                await writer.drain()
        assert await _ended(reader)


LARGE = HEAD + b"Content-Length: 1048576\r\n\r\n" + b"x" * ((1 << 20) - 1)


async def test_large_requests_share_a_limit_and_small_ones_are_taken(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever finds no room reads why, though he has not sent all; he may send the rest, and the others do not notice."""
    monkeypatch.setattr(limits, "REQUEST_TIMEOUT", 60)
    monkeypatch.setattr(limits, "LARGE_LIMIT", 5 << 19)
    monkeypatch.setattr(limits, "REFUSED_CONNECTIONS", 1)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(server.connection()) for _ in range(4)]
        first, second, third, fourth = clients
        for _, writer in (first, second):
            writer.write(LARGE)
            await writer.drain()
        await asyncio.sleep(0.1)
        third[1].write(LARGE)
        refused = await asyncio.wait_for(third[0].readuntil(b"in a second\n"), 5)
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in refused
        assert b"no room for another large review" in refused
        fourth[1].write(LARGE)
        assert await _ended(fourth[0])  # there are enough who are told
        async with server.connection() as (reader, writer):
            writer.write(HEAD + b"Content-Length: 2\r\n\r\n{}")
            assert await _answered(reader)
        third[1].write(b"x")
        assert await _ended(third[0])
        for reader, writer in (first, second):
            writer.write(b"x")
            assert await _answered(reader)
    async with server.connection() as (reader, writer):
        for _ in range(3):
            writer.write(LARGE + b"x")  # what was answered is held no longer
            assert await _answered(reader)


async def test_of_many_connections_one_that_has_brought_much_is_not_kept(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "REQUEST_TIMEOUT", 60)
    monkeypatch.setattr(limits, "FEW_CONNECTIONS", 1)
    async with server.connection() as (reader, writer), server.connection() as (other, small):
        writer.write(LARGE + b"x")
        assert b"\r\nconnection: close\r\n" in await asyncio.wait_for(reader.readuntil(b"ok"), 5)
        assert await _ended(reader)
        for _ in range(2):
            small.write(HEAD + b"Content-Length: 2\r\n\r\n{}")
            assert await _answered(other)


async def test_a_request_that_came_in_one_piece_is_refused_too(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it waits for its answer, which nobody then hears."""
    monkeypatch.setattr(limits, "LARGE_LIMIT", 1)
    server.release.clear()
    async with server.connection() as (reader, writer):
        size = limits.SMALL_REQUEST
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % size + b"x" * size)
        assert await asyncio.wait_for(reader.readuntil(b"in a second\n"), 5)
        assert await _ended(reader)
    server.release.set()


async def test_whoever_is_refused_and_sends_no_more_is_given_up(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LARGE_LIMIT", 1 << 19)
    async with server.connection() as (reader, writer):
        writer.write(LARGE)
        assert await asyncio.wait_for(reader.readuntil(b"in a second\n"), 5)
        assert await _ended(reader)


async def test_connections_are_limited(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_CONNECTIONS", 2)
    async with server.connection() as (one, writer), server.connection():
        await asyncio.sleep(0.05)
        async with server.connection() as (third, _):
            assert await _ended(third)
        writer.write(HEAD + b"Content-Length: 2\r\n\r\n{}")
        assert await _answered(one)
