"""The short way of a review through HTTP, beside uvicorn's own: the same bytes in, the same answers out."""

import asyncio
import contextlib
import gc
import json
import weakref
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import httptools
import pytest
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tests.support.images import Table, image
from tests.support.pods import IMAGE, minimal, tweak
from tests.support.tables import table
from tests.unit.server.test_asgi import ENFORCE, _fallback, review
from webhook.admission import handler
from webhook.admission.handler import Admission
from webhook.image.source import Image, Query, Unknown
from webhook.policy.cache import PolicySnapshot
from webhook.policy.types import Documents, LabelSelector, Metadata, NonRootPolicy, PolicySpec
from webhook.server import asgi, fast_path, limits
from webhook.server.asgi import Reviews
from webhook.server.counters import Metrics
from webhook.server.fast_path import ReviewProtocol
from webhook.server.limits import BoundedProtocol

BODY = review(minimal())
LIMIT = 10  # seconds

Response = tuple[int, dict[bytes, bytes], bytes]


def post(body: bytes = BODY, *more: str, target: str = "/mutate?timeout=5s", version: str = "1.1") -> bytes:
    """A request, with a length where `more` says nothing else."""
    headers = [f"POST {target} HTTP/{version}", "Host: x", "Content-Type: application/json"]
    if not any(each.lower().startswith(("content-length", "transfer-encoding")) for each in more):
        headers.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*headers, *more, "", ""]).encode() + body


PLAIN = post()
PROBE = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
PADDED = BODY + b" " * 70_000
CROWDED = review(tweak(minimal(), {"spec.containers": [{"name": f"c{each}", "image": IMAGE} for each in range(20)]}))
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)


class Conversation:
    """What came back on one connection."""

    def __init__(self) -> None:
        self.answers: list[Response] = []
        self._headers: dict[bytes, bytes] = {}
        self._body = b""
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name] = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() != 100:
            self.answers.append((self._parser.get_status_code(), self._headers, self._body))
        self._headers, self._body = {}, b""


@pytest.fixture
def reviews() -> Reviews:
    """A server that enforces, and knows one image: USER app, uid 1000."""
    return Reviews(Admission(PolicySnapshot(ENFORCE), Table({IMAGE: image("app")})), Metrics(), _fallback)


@contextlib.asynccontextmanager
async def serving(protocol: type[HttpToolsProtocol], application: Any) -> AsyncIterator[tuple[int, ServerState]]:
    """A port of loopback, without TLS."""
    state = ServerState()
    config = uvicorn.Config(application, lifespan="off", interface="asgi3", log_config=None, proxy_headers=False)
    server = await asyncio.get_running_loop().create_server(lambda: protocol(config, state, {}), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], state
    finally:
        server.close()
        for connection in tuple(state.connections):
            connection.transport.abort()


async def result(
    protocol: type[HttpToolsProtocol], application: Any, pieces: list[bytes], expected: int
) -> list[Response]:
    """All answers to some requests on one connection; at the end it is probed whether it still serves."""
    conversation = Conversation()
    async with serving(protocol, application) as (port, _), asyncio.timeout(LIMIT):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.01)
            while len(conversation.answers) < expected and (data := await reader.read(65536)):
                conversation.feed(data)
            writer.write(PROBE)
            while data := await reader.read(65536):
                conversation.feed(data)
        writer.close()
    return conversation.answers


@table(
    ("pieces", "expected"),
    {
        "a review": ([PLAIN], 1),
        "two, one after the other": ([PLAIN, PLAIN], 2),
        "three at once": ([PLAIN * 3], 3),
        "a review and a probe at once": ([PLAIN + PROBE], 2),
        "a probe of another method and a review": ([PLAIN.replace(b"POST", b"PUT", 1) + PLAIN], 2),
        "in small pieces": ([PLAIN[start : start + 40] for start in range(0, len(PLAIN), 40)], 1),
        "head and body apart": ([PLAIN[: -len(BODY)], BODY], 1),
        "the end of one with the begin of the next": ([PLAIN[:-5], PLAIN[-5:] + PLAIN[:9], PLAIN[9:]], 2),
        "one that is malformed, and another": ([post(b"{}"), PLAIN], 2),
        "one without a body": ([post(b"")], 1),
        "in chunks": ([post(CHUNKED, "Transfer-Encoding: chunked"), PLAIN], 2),
        "one that is large": ([post(PADDED), PLAIN], 1),
        "one that is too large": ([post(b"x", f"Content-Length: {1 << 40}")], 1),
        "one that asks to go on": ([post(BODY, "Expect: 100-continue"), PLAIN], 2),
        "one that closes": ([post(BODY, "Connection: close"), PLAIN], 1),
        "of HTTP/1.0": ([post(version="1.0")], 1),
        "of HTTP/1.0, kept alive": ([post(BODY, "Connection: keep-alive", version="1.0"), PLAIN], 1),
        "with an upgrade": ([post(BODY, "Connection: upgrade", "Upgrade: h2c")], 1),
        "one with too many containers for now": ([post(CROWDED), PLAIN], 2),
        "of another type": ([post(BODY, "Content-Type: text/plain"), PLAIN], 2),
        "with a parameter of the type": ([post(BODY, "Content-Type: application/json; charset=utf-8"), PLAIN], 2),
        "at another path": ([post(target="/other"), PLAIN], 2),
        "at an escaped path": ([post(target="/%6dutate"), PLAIN], 2),
        "at an absolute target": ([post(target="http://x/mutate"), PLAIN], 2),
        "at the other hook": ([post(target="/validate"), PLAIN], 2),
        "a length that is no number": ([post(BODY, "Content-Length: x")], 1),
        "two lengths": ([post(BODY, "Content-Length: 3", f"Content-Length: {len(BODY)}")], 1),
        "no HTTP": ([b"\x16\x03\x01\x02\x00"], 1),
    },
)
async def test_the_answers_are_those_of_uvicorn(
    reviews: Reviews, pieces: list[bytes], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is sent, in whatever pieces."""
    monkeypatch.setattr(handler, "LARGE_PODS_CONTAINERS", 20)
    reviews._admission._large_pod_containers = 1
    short = await result(ReviewProtocol, reviews, pieces, expected)
    assert short == await result(BoundedProtocol, reviews, pieces, expected)
    assert len(short) >= expected


async def test_an_ordinary_review_takes_the_short_way(reviews: Reviews, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the comparison would be one of uvicorn with itself."""
    taken: list[str] = []
    plain = fast_path._Exchange.begin

    def begin(self: Any, app: Any) -> None:
        taken.append(self.hook)
        plain(self, app)

    monkeypatch.setattr(fast_path._Exchange, "begin", begin)
    await result(ReviewProtocol, reviews, [PLAIN, post(target="/validate"), post(PADDED)], 3)
    assert taken == ["mutate", "validate"]


async def test_an_answer_that_waits_for_nothing_needs_no_task(
    reviews: Reviews, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe at another path does."""
    started: list[Any] = []
    plain = HttpToolsProtocol._start_asgi_task

    def start(self: Any, cycle: Any, app: Any) -> None:
        started.append(type(cycle))
        plain(self, cycle, app)

    monkeypatch.setattr(HttpToolsProtocol, "_start_asgi_task", start)
    await result(ReviewProtocol, reviews, [PLAIN * 2], 2)
    assert [each.__name__ for each in started] == ["RequestResponseCycle"]


class Slow:
    """Answers that wait until they may go on."""

    def __init__(self, reviews: Reviews) -> None:
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.ended: list[str] = []
        self._plain = reviews.answer

    async def answer(self, *arguments: Any) -> Any:
        """As `Reviews.answer`."""
        self.begun.set()
        try:
            await self.go.wait()
            await asyncio.sleep(0)
            found = await self._plain(*arguments)
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        self.ended.append("answered")
        return found


@pytest.fixture
def slow(reviews: Reviews, monkeypatch: pytest.MonkeyPatch) -> Slow:
    """The server's answers, from now on."""
    found = Slow(reviews)
    monkeypatch.setattr(reviews, "answer", found.answer)
    return found


async def test_an_answer_that_waits_is_the_same(reviews: Reviews, slow: Slow) -> None:
    """And so is one that comes after it on its connection."""
    asyncio.get_running_loop().call_later(0.05, slow.go.set)
    waited = await result(ReviewProtocol, reviews, [PLAIN, PLAIN], 2)
    assert waited == await result(HttpToolsProtocol, reviews, [PLAIN, PLAIN], 2)
    assert len(waited) == 3


@pytest.mark.parametrize("going", [False, True])
async def test_an_answer_that_is_given_up_is_ended(reviews: Reviews, slow: Slow, going: bool) -> None:
    """While it waits for the first thing, or for a later one: nothing of it stays behind."""
    async with serving(ReviewProtocol, reviews) as (port, state), asyncio.timeout(LIMIT):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(PLAIN)
        await slow.begun.wait()
        (task,) = state.tasks
        await asyncio.sleep(0)
        if going:
            slow.go.set()
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        assert slow.ended == ["cancelled"]
        writer.close()


async def test_while_draining_the_answer_closes(reviews: Reviews) -> None:
    reviews.draining = True
    answers = await result(ReviewProtocol, reviews, [PLAIN, PLAIN], 1)
    assert [(status, headers[b"connection"]) for status, headers, _ in answers] == [(200, b"close")]


async def test_a_shutdown_lets_the_answer_out_and_closes(reviews: Reviews, slow: Slow) -> None:
    """As uvicorn does at its end."""
    async with serving(ReviewProtocol, reviews) as (port, state), asyncio.timeout(LIMIT):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(PLAIN)
        await slow.begun.wait()
        for connection in tuple(state.connections):
            connection.shutdown()
        slow.go.set()
        assert b"connection: close" in await reader.read()
        writer.close()
        assert not state.tasks


async def test_a_client_that_left_is_not_answered(reviews: Reviews, slow: Slow) -> None:
    """And nothing breaks."""
    async with serving(ReviewProtocol, reviews) as (port, state), asyncio.timeout(LIMIT):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(PLAIN)
        await slow.begun.wait()
        (task,) = state.tasks
        writer.transport.abort()
        while state.connections:
            await asyncio.sleep(0)
        slow.go.set()
        await task


async def test_a_bug_is_a_500_that_says_nothing(reviews: Reviews, monkeypatch: pytest.MonkeyPatch) -> None:
    """And ends the connection, as with uvicorn."""

    async def broken(*_arguments: Any) -> Any:
        raise KeyError("secret")

    monkeypatch.setattr(reviews, "answer", broken)
    short = await result(ReviewProtocol, reviews, [PLAIN], 1)
    assert short == await result(HttpToolsProtocol, reviews, [PLAIN], 1)
    assert short[0][0] == 500


class Failing(Table):
    """A source that fails for every image, at once or after a while."""

    def __init__(self, delay: float) -> None:
        super().__init__({})
        self._delay = delay

    async def find(self, query: Query) -> Image | Unknown:
        """As `webhook.image.source.Images`."""
        await asyncio.sleep(self._delay)
        raise TypeError("unhashable type: 'list'")


@pytest.mark.parametrize("delay", [0.0, 0.01])
@pytest.mark.parametrize("containers", [1, 2])
async def test_a_source_that_fails_leaves_no_review_without_an_answer(delay: float, containers: int) -> None:
    """Also where several images are waited for at once: then it is a future that fails, not a coroutine."""
    broken = Reviews(Admission(PolicySnapshot(ENFORCE), Failing(delay)), Metrics(), _fallback)
    many = tweak(minimal(), {"spec.containers": [{"name": f"c{each}", "image": IMAGE} for each in range(containers)]})
    short = await result(ReviewProtocol, broken, [post(review(many))], 1)
    assert (short[0][0], json.loads(short[0][2])["response"]["status"]["code"]) == (200, 429)
    assert short == await result(HttpToolsProtocol, broken, [post(review(many))], 1)


async def test_what_is_waited_for_may_fail_and_be_waited_for_anew() -> None:
    """The first step was taken without a task, and the others are as if it had been taken in it."""
    loop = asyncio.get_running_loop()
    first, second = loop.create_future(), loop.create_future()
    heard: list[str] = []

    async def work() -> None:
        for future in (first, second):
            try:
                await future
            except ValueError as error:
                heard.append(str(error))
        heard.append(await asyncio.sleep(0, "third"))

    begun = work()
    rest = fast_path._resumed(begun, begun.send(None))

    async def wait() -> None:
        await rest

    loop.call_soon(first.set_exception, ValueError("first"))
    loop.call_later(0.01, second.set_exception, ValueError("second"))
    await asyncio.create_task(wait())
    assert heard == ["first", "second", "third"]


@pytest.mark.parametrize("protocol", [ReviewProtocol, HttpToolsProtocol])
async def test_observers_that_fail_cannot_lose_the_answer(
    reviews: Reviews,
    protocol: type[HttpToolsProtocol],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither the metrics nor the Events nor the log; each of them is tried though another fails."""
    root = review(tweak(minimal(), {"spec.securityContext.runAsUser": 0}))
    expected = await result(protocol, reviews, [post(root, target="/validate")], 1)

    def fail(*_arguments: Any) -> None:
        raise KeyError("observer")

    for observer in ("answered", "malformed"):
        monkeypatch.setattr(reviews._metrics, observer, fail)
    monkeypatch.setattr(reviews, "_answered", fail)
    monkeypatch.setattr(asgi, "_log_denial", fail)
    assert await result(protocol, reviews, [post(root, target="/validate")], 1) == expected
    assert [each.levelname for each in caplog.records] == ["ERROR"] * 3
    refused = await result(protocol, reviews, [post(b"{}")], 1)
    assert refused[0][0] == 400


async def test_observers_come_after_the_answer(reviews: Reviews, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(reviews, "_answered", lambda *_: order.append("observed"))
    write = fast_path._Exchange._write

    def written(exchange: Any, reply: Any) -> None:
        order.append("written")
        write(exchange, reply)

    monkeypatch.setattr(fast_path._Exchange, "_write", written)
    await result(ReviewProtocol, reviews, [PLAIN], 1)
    assert order == ["written", "observed"]


async def test_a_client_that_does_not_read_is_waited_for(reviews: Reviews) -> None:
    """Answers do not pile up in memory."""
    async with serving(ReviewProtocol, reviews) as (port, state), asyncio.timeout(LIMIT):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(PLAIN)
        await reader.readuntil(b"\r\n\r\n")
        (connection,) = state.connections
        connection.pause_writing()
        writer.write(PLAIN)
        while not state.tasks:
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        (task,) = state.tasks
        assert not task.done()
        connection.resume_writing()
        await task
        writer.close()


class Loop:
    """A loop of which only the clock and the timers are needed, in hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Any]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, what: Any) -> Any:
        timer = (self.now + delay, what)
        self.timers.append(timer)
        return SimpleNamespace(cancel=lambda: self.timers.remove(timer))

    def pass_until(self, now: float) -> None:
        """Let every timer end that is due by then."""
        for timer in sorted(self.timers, key=lambda each: each[0]):
            if timer[0] <= now and timer in self.timers:
                self.timers.remove(timer)
                self.now = timer[0]
                timer[1]()
        self.now = now


@pytest.fixture
def idling(reviews: Reviews) -> tuple[Loop, Any, ReviewProtocol]:
    """A connection whose server closes it five seconds after its last answer."""
    return _connection(reviews)


def _connection(reviews: Reviews) -> tuple[Loop, Any, ReviewProtocol]:
    loop, transport = Loop(), Mock(is_closing=lambda: False, get_extra_info=lambda _name: None)
    config = uvicorn.Config(reviews, lifespan="off", interface="asgi3", log_config=None, proxy_headers=False)
    config.timeout_keep_alive = 5
    protocol = ReviewProtocol(config, ServerState(), {}, _loop=loop)
    protocol.connection_made(transport)
    return loop, transport, protocol


async def test_an_idle_connection_is_closed_after_its_last_answer(idling: tuple[Loop, Any, ReviewProtocol]) -> None:
    """With one timer, however many requests there were."""
    loop, transport, protocol = idling
    for second in range(4):
        loop.pass_until(second)
        protocol.data_received(PLAIN)
        assert len(loop.timers) == 1
    assert transport.write.call_count == 4
    loop.pass_until(7.9)
    assert not transport.close.called
    loop.pass_until(8.1)
    assert transport.close.called


async def test_a_connection_in_the_middle_of_a_request_is_not_idle(idling: tuple[Loop, Any, ReviewProtocol]) -> None:
    """And is closed after that, as any."""
    loop, transport, protocol = idling
    protocol.data_received(PLAIN)
    loop.pass_until(4.9)
    protocol.data_received(PLAIN[:-1])
    loop.pass_until(5.5)
    protocol.data_received(PLAIN[-1:])
    assert transport.write.call_count == 2
    loop.pass_until(10.4)
    assert not transport.close.called
    loop.pass_until(10.6)
    assert transport.close.called


@pytest.mark.parametrize("reason", [None, ConnectionResetError()])
@pytest.mark.parametrize("sent", [b"", PLAIN])
async def test_nothing_is_left_of_a_connection_that_is_lost(
    reviews: Reviews, sent: bytes, reason: Exception | None
) -> None:
    """No timer, and nothing that waits for the garbage collector, which comes after hundreds of connections."""
    loop, _, protocol = _connection(reviews)
    left = weakref.ref(protocol)
    gc.disable()
    try:
        if sent:
            protocol.data_received(sent)
        protocol.connection_lost(reason)
        del protocol
        assert loop.timers == []
        assert left() is None
    finally:
        gc.enable()


@table(
    ("target", "namespace", "allowed"),
    {
        "of an enforced namespace": ("/validate", "shop", False),
        "by the hook that enforces": ("/validate/enforce", "shop", False),
        "before it is patched": ("/mutate", "shop", False),
        "of an audited namespace": ("/validate", "audited", True),
        "of an audited namespace, by the hook that enforces": ("/validate/enforce", "audited", False),
    },
)
@pytest.mark.parametrize("padding", [55_000, 300_000])
async def test_a_review_that_finds_no_room_is_answered_inside(
    target: str, namespace: str, allowed: bool, padding: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it comes the short way or not: 503 would be admitted by every hook that fails open."""
    audit = PolicySpec(priority=1, namespace_selector=LabelSelector({"kubernetes.io/metadata.name": "audited"}))
    documents = Documents((*ENFORCE.policies, NonRootPolicy(Metadata("lenient"), audit)))
    app = Reviews(Admission(PolicySnapshot(documents), Table({})), Metrics(), _fallback)
    monkeypatch.setattr(limits, "LARGE_LIMIT", 1000)
    body = review(minimal(), namespace=namespace) + b" " * padding
    sent = post(body, target=target)
    ((status, headers, found), *_) = await result(ReviewProtocol, app, [sent[:45_000], sent[45_000:]], 1)
    answer = json.loads(found)["response"]
    assert (status, headers[b"connection"], answer["uid"], answer["allowed"]) == (200, b"close", "the-uid", allowed)
    if not allowed:
        assert answer["status"]["code"] == 429
        assert "no room for another large review" in answer["status"]["message"]
