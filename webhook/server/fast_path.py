"""uvicorn's HTTP protocol with a fast path for ordinary reviews: the whole body is passed on, the answer is one write.

The messages between a server and an ASGI application are half of what a bare answer costs (docs/decisions/performance.md).
Whatever is not ordinary, such as a body in chunks or a large one, an `Expect`, another method or path, or a request that
came before the last one was answered, goes uvicorn's own way, to the same `Reviews`.
"""

import asyncio
import logging
import types
from collections.abc import Awaitable, Coroutine, Generator
from functools import lru_cache
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from webhook.admission.handler import WebhookKind
from webhook.server.asgi import JSON, PLAIN, WEBHOOK_PATHS, Reply, Reviews, timeout
from webhook.server.limits import BoundedProtocol

log = logging.getLogger(__name__)


class ReviewProtocol(BoundedProtocol):
    """One connection to a server whose application is `Reviews`."""

    app: Reviews  # uvicorn knows it as any ASGI application
    cycle: "_Exchange"  # type: ignore[assignment]  # or uvicorn's own, of which it has what is used here

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._rested = 0.0  # when the last answer went out, by the loop's clock
        self._idle: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """End the waiting."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Begin a request, as yet without the scope that uvicorn makes for each."""
        self._in_body = self._whole = False
        self._start = b""
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_headers_complete(self) -> None:
        """Take the short way where the request is an ordinary review."""
        target = _target(self.url) if self._ordinary() else None
        if target is not None:
            self._in_body = True
            self.cycle = _Exchange(self, *target)
            return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.scope["headers"] = self.headers = headers
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if isinstance(self.cycle, _Exchange) and not self.refused:
            self.cycle.body += body
        else:
            super().on_body(body)

    def refusal(self, reason: str) -> bytes:
        """The response to a request that finds no room: inside its review, where its start says whose it is."""
        target = _target(self.url)
        start = bytes(self.cycle.body) if isinstance(self.cycle, _Exchange) else self._start
        reply = None if target is None else self.app.unread(target[0], start, reason, retry=True)
        if reply is None:
            return super().refusal(reason)
        reply.observe()
        return _response(reply, closes=True)

    def on_message_complete(self) -> None:
        """Answer, now that the body is whole."""
        if isinstance(self.cycle, _Exchange) and not self.refused:
            self._received()
            self.cycle.more_body = False
            self.cycle.begin(self.app)
        else:
            super().on_message_complete()

    def on_answer(self) -> None:
        """Wait for the next request, as uvicorn does, but with a timer that looks when it ends: one a request is dear."""
        if self.pipeline:
            self.on_response_complete()
            return
        self.held = 0
        self.server_state.total_requests += 1
        self._rested = self.loop.time()
        if self._idle is None:
            self._idle = self.loop.call_later(self.timeout_keep_alive, self._look)

    def _look(self) -> None:
        self._idle = None
        if self.held or not self.cycle.response_complete or self.timeout_keep_alive_task is not None:
            return  # it is not idle, or uvicorn's own timer runs
        left = self._rested + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._idle = self.loop.call_later(left, self._look)
        else:
            self.timeout_keep_alive_handler()

    def _ordinary(self) -> bool:
        """Whether its size is known and needs no flow control, and nothing is asked of HTTP that a review does not need."""
        if self.expect_100_continue or self.parser.should_upgrade() or self.parser.get_http_version() != "1.1":
            return False
        if self.parser.get_method() != b"POST" or (self.cycle is not None and not self.cycle.response_complete):
            return False
        length = None
        for name, value in self.headers:
            if name == b"content-length":
                length = int(value)  # the parser has refused what is no number, and two of them
            elif name == b"transfer-encoding" or (name == b"content-type" and value != JSON):
                return False
        return length is not None and length <= HIGH_WATER_LIMIT


@lru_cache(maxsize=64)
def _target(url: bytes) -> tuple[WebhookKind, float] | None:
    """The webhook and the seconds that a URL asks for; None where it is none of the two."""
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError:
        return None
    hook = WEBHOOK_PATHS.get(parsed.path.decode("latin-1"))
    return None if hook is None else (hook, timeout(parsed.query or b""))


class _Exchange:
    """A review and its answer, in the place of uvicorn's RequestResponseCycle: it has what the protocol asks of one."""

    __slots__ = (
        "_rest",
        "body",
        "disconnected",
        "hook",
        "keep_alive",
        "more_body",
        "protocol",
        "response_complete",
        "timeout",
    )

    message_event = asyncio.Event()  # nobody waits for the rest of a body that is whole

    def __init__(self, protocol: ReviewProtocol, hook: WebhookKind, timeout: float) -> None:
        self.protocol = protocol
        self.hook: WebhookKind = hook
        self.timeout = timeout
        self.body = b""
        self._rest: Awaitable[None]
        self.more_body = True
        self.keep_alive: bool = protocol.parser.should_keep_alive()
        self.disconnected = False
        self.response_complete = False

    def begin(self, app: Reviews) -> None:
        """Answer here and now, or in a task where something has to be waited for: a task costs a tenth of an answer."""
        answering = self._answer(app)
        try:
            waited_for = answering.send(None)
        except StopIteration:
            return
        self._rest = _resumed(answering, waited_for)
        self.protocol._start_asgi_task(self, app)  # type: ignore[arg-type]  # noqa: SLF001  # see ReviewProtocol.cycle

    async def run_asgi(self, _app: Reviews) -> None:
        """The rest."""
        await self._rest

    async def _answer(self, app: Reviews) -> None:
        """Answer; a bug is a 500 that ends the connection."""
        protocol = self.protocol
        try:
            reply = await app.answer(self.hook, self.body, self.timeout)
        except Exception:
            log.exception("a review was not answered")
            reply = Reply(500, b"Internal Server Error", PLAIN, closes=True)
        if protocol.flow.write_paused:
            await protocol.flow.drain()
        if not self.disconnected:
            self._write(reply)
        reply.observe()

    def _write(self, reply: Reply) -> None:
        protocol = self.protocol
        closes = reply.closes or not self.keep_alive
        protocol.transport.write(_response(reply, closes=closes))
        self.response_complete = True
        if closes:
            protocol.transport.close()
        protocol.on_answer()


def _response(reply: Reply, *, closes: bool) -> bytes:
    return b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b" % (
        STATUS_LINE[reply.status],
        reply.content_type,
        len(reply.body),
        b"connection: close\r\n" if closes else b"",
        reply.body,
    )


@types.coroutine
def _resumed(begun: Coroutine[Any, Any, None], waited_for: object) -> Generator[Any, Any, None]:
    """The rest of a coroutine that has gone as far as it could without a task.

    What it waits for may fail, and that is thrown into it, as `await` would: it answers nevertheless.
    """
    try:
        yield waited_for
    except GeneratorExit:
        begun.close()
        raise
    except BaseException as error:  # noqa: BLE001 - a cancellation, too, is for the coroutine to end by
        try:
            waited_for = begun.throw(error)
        except StopIteration:
            return
        yield from _resumed(begun, waited_for)
    else:
        yield from begun
