"""Everything that the admission server answers besides reviews: probes and metrics, an ordinary FastAPI application."""

from collections.abc import Callable

from fastapi import FastAPI, Response
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

import webhook
from webhook.metrics import BuildInfo
from webhook.server.counters import Metrics


def build(metrics: Metrics, ready: Callable[[], str | None], ca: bytes | None = None) -> FastAPI:
    """The application. `ready` says why we are not; `ca` is the CA of a self-signed certificate, offered at /ca.crt."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    for each in (BuildInfo(), metrics):
        registry.register(each)
    app = FastAPI(title="nonroot-webhook", version=webhook.__version__, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    async def healthz() -> Response:
        return Response("ok\n", media_type="text/plain")

    @app.get("/readyz")
    async def readyz() -> Response:
        why = ready()
        return Response(f"{why or 'ok'}\n", 503 if why else 200, media_type="text/plain")

    @app.get("/metrics")
    async def prometheus() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    if ca is not None:

        @app.get("/ca.crt")
        async def ca_certificate() -> Response:
            return Response(ca, media_type="application/x-pem-file")

    return app
