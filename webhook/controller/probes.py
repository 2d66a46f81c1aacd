"""The controller's HTTP endpoints: liveness, readiness with its problem, metrics, and the report page."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable

from aiohttp import web
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from webhook import metrics
from webhook.cluster.metrics_readers import MetricsReaders
from webhook.server.sockets import listen


class State(Collector):
    """The state of the controller; `problem` is None once it is ready."""

    def __init__(self) -> None:
        self.problem: str | None = "the certificates have not been looked at yet"
        self.expiry: dict[str, float] = {}  # seconds since the epoch, by certificate
        self.writes = 0

    def collect(self) -> Iterable[Metric]:
        """The families, for prometheus-client."""
        yield metrics.CERTIFICATE_EXPIRY.of(((name,), end) for name, end in self.expiry.items())
        yield metrics.CERTIFICATE_WRITES.at(self.writes)


@contextlib.asynccontextmanager
async def serve(
    state: State,
    host: str,
    port: int,
    collectors: Iterable[Collector] = (),
    routes: Iterable[web.RouteDef] = (),
    *,
    tls: ssl.SSLContext | None = None,
    readers: MetricsReaders | None = None,
) -> AsyncIterator[int]:
    """Answer `/healthz`, `/readyz` and `/metrics`; gives the port, which is a free one where 0 was asked for.

    `collectors` are shown beside the state; `routes` are answered as well. Without `readers` the metrics are shown to anybody.
    """
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector):
        collector(registry=registry)
    for each in (metrics.BuildInfo(), state, *collectors):
        registry.register(each)

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text=f"{state.problem or 'ok'}\n", status=503 if state.problem else 200)

    async def prometheus(request: web.Request) -> web.Response:
        refusal = await readers.refusal(request.headers.get("Authorization", "")) if readers else None
        if refusal is not None:
            status, text = refusal
            return web.Response(
                text=text, status=status, headers={"WWW-Authenticate": "Bearer"} if status == 401 else None
            )
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", prometheus)])
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.SockSite(runner, listen(host, port, "--metrics-port"), ssl_context=tls).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
