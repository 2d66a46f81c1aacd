"""kopf, embedded: streams of changes of the cluster's objects, for as long as the program runs.

kopf believes that the event loop is its own: it takes over SIGTERM, and when it ends it cancels every task that began
after it (nolar/kopf kopf/_core/reactor/running.py). So it gets a thread and a loop to itself, and an API server that is
away ends an operator, never the program.

kopf does not notice what vanished while no stream was open: after "410 Gone" it lists anew, and says nothing of what the
new list lacks (nolar/kopf kopf/_cogs/clients/watching.py). So a second listing of anything ends the operator, and the
next one begins with nothing.

Its indices would wait for a full listing, but at a cost that grows with the square of the objects: 4 s for 1,000
namespaces, 20 s for 2,000 (nolar/kopf kopf/_cogs/aiokits/aiotoggles.py wakes every waiter for every object). So handlers
are `on.event` only, and the operator's owner is told what each listing holds.

Event handlers must be async; kopf then writes nothing, neither finalizers nor annotations.
"""

import asyncio
import concurrent.futures
import contextlib
import logging
from collections.abc import Callable
from typing import Any, NoReturn

import aiohttp
import kopf
import msgspec
import yarl

IDENTITY = "nonroot-webhook"  # for peering, which is off; kopf's own guess needs a passwd line for our uid
STREAM = 30  # seconds; each stream is opened anew so often, which proves that it is alive
SILENCE = 45.0  # seconds without a word on a stream, after which it is taken for dead
TIMEOUT = 10.0  # seconds for any other answer
ENDING = 5.0  # seconds for a stream to end that was told to
FORBIDDEN = 403
RETRIES = (0.5, 1, 2)  # seconds between the attempts of one request
WORKERS, IDLE = 16, 0.01  # objects that are handled at once, and seconds that a worker waits for more of the same one
OURS = "app.kubernetes.io/part-of=nonroot-webhook"  # the label of our CRDs: no other is ever read
PAUSES = (1, 2, 5, 10)  # seconds before the next operator; the last for all further ones
# What they say of requests, and with a traceback for each stream, is said here in a line.
SILENCED = ("_cogs.clients", "_core.reactor.observation", "_core.reactor.orchestration", "_core.reactor.running")


class ApiAnswer(msgspec.Struct, frozen=True):
    """What the API server has answered: the `name` that ends the path, which is a resource's plural or an API version.

    `resources` are those that an API version has; `uids` the objects of a full listing, and None for anything else.
    """

    name: str
    resources: frozenset[str] = frozenset()
    uids: frozenset[str] | None = None


Observe = Callable[[ApiAnswer], None]
Register = Callable[[kopf.OperatorRegistry, kopf.OperatorSettings], Observe]


class _Resource(msgspec.Struct):
    name: str


class _Metadata(msgspec.Struct):
    uid: str


class _Object(msgspec.Struct):
    metadata: _Metadata


class _Body(msgspec.Struct):
    """A discovery document or a list, as far as it matters here."""

    resources: list[_Resource] = []
    items: list[_Object] | None = None


log = logging.getLogger(__name__)


async def run(register: Register, stop: asyncio.Event) -> None:
    """Run operators, one after the other, until `stop` is set.

    `register` adds the handlers of each, may narrow its settings, and gives a function that is told of every answer: of a
    listing before its objects are handled, of a stream when it opens. Both are called in kopf's thread.
    """
    logging.getLogger("kopf").setLevel(logging.WARNING)
    for name in SILENCED:
        logging.getLogger(f"kopf.{name}").setLevel(logging.CRITICAL)
    failures, refusals = 0, _Refusals()
    while not stop.is_set():
        operator = _Operator(register, refusals)
        try:
            await operator.run(stop)
            failures = 0
        except Exception as error:  # noqa: BLE001 - whatever went wrong in there, the next one may do better
            failures = 0 if operator.listed else failures
            pause = PAUSES[min(failures, len(PAUSES) - 1)]
            failures += 1
            if getattr(error, "status", None) != FORBIDDEN:  # which has been told, with the right that is missing
                log.warning("the streams from the API server ended; the next attempt is in %d s: %r", pause, error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)


class _Refusals:
    """What the API server does not let us do; each is told once, until it lets us."""

    def __init__(self) -> None:
        self._standing: set[str] = set()

    def note(self, url: yarl.URL, status: int) -> None:
        """Take note of how a request was answered."""
        verb = "watch" if "watch" in url.query else "list"
        what = f"{verb} {url.name} ({url.path})"
        if status != FORBIDDEN:
            self._standing.discard(what)
        elif what not in self._standing:
            self._standing.add(what)
            log.warning(
                "the ServiceAccount may not %s: a ClusterRole has to allow it, as the chart's rbac.create does", what
            )


class _Operator:
    """One kopf operator, from its first listing to its second."""

    def __init__(self, register: Register, refusals: _Refusals) -> None:
        self._register = register
        self._refusals = refusals
        self._handle: concurrent.futures.Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = (
            concurrent.futures.Future()
        )
        self.listed: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set or something is listed anew; raises what kopf raises."""
        thread = asyncio.create_task(asyncio.to_thread(asyncio.run, self._operate()))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({thread, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            loop, end = await asyncio.wrap_future(self._handle)
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(end.set)
            await thread

    async def _operate(self) -> None:
        """In the thread: one operator."""
        end, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.set_exception_handler(_unretrieved)
        self._handle.set_result((loop, end))
        registry, settings = kopf.OperatorRegistry(), _settings()
        self._observe = self._register(registry, settings)
        insisting = asyncio.create_task(_insist())
        async with contextlib.AsyncExitStack() as sessions:
            sessions.callback(insisting.cancel)

            @kopf.on.login(registry=registry)
            async def login(**kwargs: Any) -> kopf.AiohttpSession:
                info = kopf.login_via_client(**kwargs)
                if info is None:
                    raise kopf.LoginError("there is neither a service account nor a kubeconfig")
                session = await sessions.enter_async_context(self._session(info, end))
                return kopf.AiohttpSession(server=info.server, aiohttp_session=session)

            await kopf.operator(
                registry=registry,
                settings=settings,
                standalone=True,
                clusterwide=True,
                stop_flag=end,
                identity=IDENTITY,  # type: ignore[arg-type]  # its type is not public
            )

    def _session(self, info: kopf.ConnectionInfo, end: asyncio.Event) -> aiohttp.ClientSession:
        """A session with the credentials of the Pod, or else of the kubeconfig, whose answers are noted."""

        async def opened(_session: object, _context: object, request: aiohttp.TraceRequestEndParams) -> None:
            self._refusals.note(request.url, request.response.status)
            if request.response.status == 200 and "watch" in request.url.query:
                self._observe(ApiAnswer(request.url.name))

        async def read(_session: object, _context: object, answer: aiohttp.TraceResponseChunkReceivedParams) -> None:
            if answer.method == "GET":
                self._read(answer.url, answer.chunk, end)

        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(opened)
        trace.on_response_chunk_received.append(read)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
            headers=info.as_http_headers(),
            trace_configs=[trace],
        )

    def _read(self, url: yarl.URL, content: bytes, end: asyncio.Event) -> None:
        try:
            body = msgspec.json.decode(content, type=_Body)
        except msgspec.DecodeError:
            return  # kopf says what is wrong with it
        resources = frozenset(each.name for each in body.resources)
        if body.items is None:
            self._observe(ApiAnswer(url.name, resources))
            return
        if url.path in self.listed:
            end.set()
        self.listed.add(url.path)
        self._observe(ApiAnswer(url.name, uids=frozenset(each.metadata.uid for each in body.items)))


async def _insist() -> NoReturn:
    """Cancel once more what goes on in spite of it, for an operator ends with its last stream.

    One that is about to open the next stream takes its cancellation for that of a task of its own (nolar/kopf
    kopf/_cogs/clients/watching.py, streaming_block).
    """
    former: set[asyncio.Task[Any]] = set()
    while True:
        await asyncio.sleep(ENDING)
        ending = {task for task in asyncio.all_tasks() if task.cancelling()}
        for task in ending & former:
            task.cancel()
        former = ending


def _unretrieved(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """When one stream fails kopf ends the others, and never asks what they failed with."""
    log.debug("%s: %r", context["message"], context.get("exception"))


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.process.ultimate_exiting_timeout = None  # it would kill the program, not the thread
    settings.watching.server_timeout = STREAM
    settings.watching.inactivity_timeout = SILENCE
    settings.watching.connect_timeout = TIMEOUT
    settings.networking.request_timeout = TIMEOUT
    settings.networking.error_backoffs = RETRIES
    # A listing is thousands of objects at once. Each would have a task until it has been quiet for 5 s, whose memory the
    # process keeps: 25 MiB for 5,000 namespaces.
    settings.queueing.worker_limit = WORKERS
    settings.queueing.idle_timeout = IDLE
    settings.watching.label_selectors["apiextensions.k8s.io", "customresourcedefinitions"] = OURS
    return settings
