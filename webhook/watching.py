"""kopf, embedded: streams of changes of the cluster's objects, for as long as the program runs.

kopf believes that the event loop is its own: it takes over SIGTERM, and when it ends it cancels every task that began
after it (nolar/kopf kopf/_core/reactor/running.py). So it gets a thread and a loop to itself, and an API server that is
away ends an operator, never the program.

kopf does not notice what vanished while no stream was open: after "410 Gone" it lists anew, and its indices keep what the
new list lacks (nolar/kopf kopf/_cogs/clients/watching.py). So a second listing of anything ends the operator, and the
next one, with indices of its own, lists everything.

Handlers are `on.event` and `index` only, and async: then kopf writes nothing, neither finalizers nor annotations.
"""

import asyncio
import concurrent.futures
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import aiohttp
import kopf
import yarl

IDENTITY = "nonroot-webhook"  # for peering, which is off; kopf's own guess needs a passwd line for our uid
STREAM = 30  # seconds; each stream is opened anew so often, which proves that it is alive
SILENCE = 45.0  # seconds without a word on a stream, after which it is taken for dead
TIMEOUT = 10.0  # seconds for any other answer
RETRIES = (0.5, 1, 2)  # seconds between the attempts of one request
OURS = "app.kubernetes.io/part-of=nonroot-webhook"  # the label of our CRDs: no other is ever read
PAUSES = (1, 2, 5, 10)  # seconds before the next operator; the last for all further ones

Register = Callable[[kopf.OperatorRegistry, kopf.OperatorSettings], None]

log = logging.getLogger(__name__)


async def run(register: Register, stop: asyncio.Event, confirm: Callable[[str], None]) -> None:
    """Run operators, one after the other, until `stop` is set.

    `register` adds the handlers of each and may narrow its settings; `confirm` gets the plural name of a resource
    whenever the API server has begun to answer for it. Both are called in kopf's thread.
    """
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)  # it misses the signals, which are ours
    failures = 0
    while not stop.is_set():
        operator = _Operator(register, confirm)
        try:
            await operator.run(stop)
            failures = 0
        except Exception as error:  # noqa: BLE001 - whatever went wrong in there, the next one may do better
            failures = 0 if operator.listed else failures
            pause = PAUSES[min(failures, len(PAUSES) - 1)]
            failures += 1
            log.warning("the streams from the API server ended; the next attempt is in %d s: %r", pause, error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)


class _Operator:
    """One kopf operator, from its first listing to its second."""

    def __init__(self, register: Register, confirm: Callable[[str], None]) -> None:
        self._register = register
        self._confirm = confirm
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
        end = asyncio.Event()
        self._handle.set_result((asyncio.get_running_loop(), end))
        registry, settings = kopf.OperatorRegistry(), _settings()
        self._register(registry, settings)
        async with contextlib.AsyncExitStack() as sessions:

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

        async def answered(_session: object, _context: object, request: aiohttp.TraceRequestEndParams) -> None:
            if request.method == "GET" and request.response.status == 200:
                self._answered(request.url, end)

        trace = aiohttp.TraceConfig()
        trace.on_request_end.append(answered)
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
            headers=info.as_http_headers(),
            trace_configs=[trace],
        )

    def _answered(self, url: yarl.URL, end: asyncio.Event) -> None:
        self._confirm(url.name)
        if "watch" in url.query:
            return
        if url.path in self.listed:
            end.set()
        self.listed.add(url.path)


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.process.ultimate_exiting_timeout = None  # it would kill the program, not the thread
    settings.watching.server_timeout = STREAM
    settings.watching.inactivity_timeout = SILENCE
    settings.watching.connect_timeout = TIMEOUT
    settings.networking.request_timeout = TIMEOUT
    settings.networking.error_backoffs = RETRIES
    settings.watching.label_selectors["apiextensions.k8s.io", "customresourcedefinitions"] = OURS
    return settings
