"""The probes and metrics of the admission server, as a Starlette application.

FastAPI is not imported for them: it takes 6 to 15 MiB and half of the time to start (docs/decisions/server.md).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from webhook.metrics import BuildInfo
from webhook.server.counters import Metrics

if TYPE_CHECKING:
    from webhook.cluster.metrics_readers import MetricsReaders


def build(
    metrics: Metrics,
    ready: Callable[[], str | None],
    ca: bytes | None = None,
    readers: "MetricsReaders | None" = None,
) -> Starlette:
    """The application. `ready` says why we are not; `ca` is the CA of a self-signed certificate, offered at /ca.crt.

    Without `readers` the metrics are shown to anybody.
    """
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    for each in (BuildInfo(), metrics):
        registry.register(each)

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_: Request) -> Response:
        why = ready()
        return PlainTextResponse(f"{why or 'ok'}\n", 503 if why else 200)

    async def prometheus(request: Request) -> Response:
        refusal = await readers.refusal(request.headers.get("authorization", "")) if readers else None
        if refusal is not None:
            status, text = refusal
            return PlainTextResponse(text, status, {"WWW-Authenticate": "Bearer"} if status == 401 else None)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def authority(_: Request) -> Response:
        return Response(ca, media_type="application/x-pem-file")

    routes = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", prometheus)]
    return Starlette(routes=[*routes, Route("/ca.crt", authority)] if ca is not None else routes)
