"""The server of `nonroot serve`, from its settings to its last connection."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.types import ASGIApp

from webhook.admission.handler import Admission, Outcome
from webhook.admission.review import Review
from webhook.cluster.supervisor import supervise
from webhook.image.source import Images
from webhook.policy.cache import PolicyCache, PolicyLister, PolicySnapshot
from webhook.registry import config_file
from webhook.registry.client import RegistryClient
from webhook.registry.fallback import FallbackSource
from webhook.registry.layers.reader import SWITCH_INTERVAL
from webhook.registry.transport.stats import RegistryStats
from webhook.server.asgi import Reviews
from webhook.server.counters import Metrics
from webhook.server.probes import build
from webhook.server.protocols import protocol
from webhook.server.settings import ServeSettings
from webhook.server.sockets import listen
from webhook.server.tls import ClientAuthority, ServingCertificate, self_signed_files

if TYPE_CHECKING:
    from webhook.cluster.client import Cluster
    from webhook.cluster.image_identities import ClusterIdentityStore
    from webhook.cluster.metrics_readers import MetricsReaders

KEEP_ALIVE = 120  # seconds; the API server reuses idle connections for 90, and loses a Pod where we close first
HANDSHAKE = 10.0  # seconds that a client may take to begin TLS
DRAIN = 3.0  # seconds during which answers close their connections before the server goes
GRACE = 5  # seconds for requests in flight at the very end

log = logging.getLogger(__name__)


def run(settings: ServeSettings) -> None:
    """Serve until SIGTERM or SIGINT; `InvalidSetting` where the settings cannot be used."""
    sys.setswitchinterval(SWITCH_INTERVAL)
    settings.check()
    access = config_file.load(settings.registry_config, settings.insecure_registries)
    callers = ClientAuthority(settings.identity_api_client_ca) if settings.identity_api_client_ca else None
    with _files(settings) as (cert, key, ca), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        load = partial(ServingCertificate, cert, key, options=settings.tls)
        certificate = load(client_ca=settings.client_ca, callers=callers)
        of_metrics = load() if settings.metrics_tls else None
        runner.run(_serve(settings, access, certificate, of_metrics, ca, callers))


def _loop_factory() -> "type[asyncio.AbstractEventLoop]":
    import uvloop

    class Loop(uvloop.Loop):
        """uvloop's, but for the time that a client may take to begin TLS: a minute, for which uvicorn has no setting."""

        async def create_server(self, *arguments: Any, **keywords: Any) -> Any:
            hurry = {"ssl_handshake_timeout": HANDSHAKE} if keywords.get("ssl") else {}
            return await super().create_server(*arguments, **keywords, **hurry)  # type: ignore[call-overload]

    return Loop


@contextlib.contextmanager
def _files(settings: ServeSettings) -> Iterator[tuple[Path, Path, bytes | None]]:
    """The files of the serving certificate and its key, and the CA where these are our own."""
    if settings.cert and settings.key:
        yield settings.cert, settings.key, None
        return
    names = dict.fromkeys(("localhost", "127.0.0.1", "::1", settings.host))
    with self_signed_files(tuple(names)) as (ca, cert, key):
        yield cert, key, ca


async def _serve(
    settings: ServeSettings,
    access: config_file.Access,
    certificate: ServingCertificate,
    of_metrics: ServingCertificate | None,
    ca: bytes | None,
    callers: ClientAuthority | None,
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stats = RegistryStats()
    metrics = Metrics(stats)
    metrics.expiry = lambda: certificate.expiry
    async with (
        _cluster(settings) as cluster,
        _identity_store(cluster) as store,
        _view(settings, cluster) as view,
        _images(cluster, access, store, stats) as images,
        _denials(cluster, view, images, metrics) as answered,
        _identity_api(settings, cluster, callers, images, view, metrics) as identity_api,
    ):
        if isinstance(view, PolicyCache):
            metrics.view_age = lambda: view.age
        if store is not None:
            metrics.identities = lambda: len(store)
            metrics.background.writers["ImageIdentity"] = store.writer

        def ready() -> str | None:
            if stop.is_set():
                return "shutting down"
            return "no view of the cluster yet" if isinstance(view, PolicyCache) and not view.ready else None

        app = build(metrics, ready, ca, _readers(settings, cluster))
        reviews = Reviews(Admission(view, images), metrics, identity_api(app), answered)
        secure, probes = _Server(reviews, certificate), _Server(app, of_metrics)
        sockets = (
            listen(settings.host, settings.port, "--port or --host"),
            listen(settings.host, settings.metrics_port, "--metrics-port or --host"),
        )
        async with asyncio.TaskGroup() as tasks:
            watching = [
                tasks.create_task(supervise("watching the certificate", each.watch))
                for each in (certificate, of_metrics)
                if each is not None
            ]
            serving = [
                tasks.create_task(server.serve([each])) for server, each in zip((secure, probes), sockets, strict=True)
            ]
            while not (secure.started and probes.started):
                await asyncio.sleep(0.005)
            gc.collect()
            gc.freeze()  # what is there now stays to the end: the collector need not look at it again and again
            log.info("reviews at https://%s:%d", *sockets[0].getsockname()[:2])
            scheme = "https" if of_metrics else "http"
            log.info("probes and metrics at %s://%s:%d", scheme, *sockets[1].getsockname()[:2])
            await stop.wait()
            reviews.draining = True
            await _drained(secure)
            secure.should_exit = probes.should_exit = True
            await asyncio.wait(serving)
            for each in watching:
                each.cancel()


async def _drained(server: uvicorn.Server) -> None:
    """Wait until no connection is left, DRAIN seconds at most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN):
            while server.server_state.connections:
                await asyncio.sleep(0.1)


def _readers(settings: ServeSettings, cluster: "Cluster | None") -> "MetricsReaders | None":
    """Those to whom the metrics are shown; None: anybody."""
    if not settings.metrics_authentication or cluster is None:
        return None
    from webhook.cluster.metrics_readers import MetricsReaders

    return MetricsReaders.of(cluster)


@contextlib.asynccontextmanager
async def _cluster(settings: ServeSettings) -> "AsyncIterator[Cluster | None]":
    """The one connection to the API server; standalone there is none."""
    if settings.standalone:
        yield None
        return
    from webhook.cluster.client import Cluster  # what standalone never needs is not imported

    async with contextlib.aclosing(Cluster()) as cluster:
        yield cluster


@contextlib.asynccontextmanager
async def _identity_store(cluster: "Cluster | None") -> "AsyncIterator[ClusterIdentityStore | None]":
    """The store of image identities that replicas share and that outlives a restart; None standalone."""
    if cluster is None:
        yield None
        return
    from webhook.cluster.image_identities import ClusterIdentityStore

    store = ClusterIdentityStore(cluster)
    async with store.alive():
        yield store


@contextlib.asynccontextmanager
async def _view(settings: ServeSettings, cluster: "Cluster | None") -> AsyncIterator[PolicySnapshot | PolicyCache]:
    if cluster is None:
        yield PolicySnapshot(settings.documents)
        return
    from webhook.cluster.supervisor import background
    from webhook.server.policy_watch import PolicyWatch

    view = PolicyCache()
    async with background(*PolicyWatch(view).loops(cluster)):
        yield view


@contextlib.asynccontextmanager
async def _images(
    cluster: "Cluster | None", access: config_file.Access, store: "ClusterIdentityStore | None", stats: RegistryStats
) -> AsyncIterator[Images]:
    client = partial(RegistryClient, access.settings, credentials=access.credentials, store=store, stats=stats)
    if cluster is None:
        async with contextlib.aclosing(client()) as images:
            yield images
        return
    from webhook.cluster.pull_secrets import PullSecrets
    from webhook.cluster.service_range import ServiceRange
    from webhook.cluster.supervisor import background

    async with contextlib.aclosing(client(PullSecrets(cluster))) as images:
        service_range = ServiceRange(cluster, images.deny)
        await service_range.read()
        async with background(supervise("following the Service range", service_range.follow)):
            yield images if store is None else FallbackSource(images, store)


@contextlib.asynccontextmanager
async def _identity_api(
    settings: ServeSettings,
    cluster: "Cluster | None",
    authority: ClientAuthority | None,
    images: Images,
    view: PolicyLister,
    metrics: Metrics,
) -> AsyncIterator[Callable[[ASGIApp], ASGIApp]]:
    """A wrapper that puts the identity API in front of an app, where the settings ask for it."""
    if not settings.identity_api:
        yield lambda app: app
        return
    from webhook.identity_api.app import IdentityAPI
    from webhook.identity_api.callers import Callers
    from webhook.identity_api.lookup import Lookup

    reviews = None
    if cluster is not None:
        from webhook.cluster.access_reviews import ClusterAccessReviews

        reviews = ClusterAccessReviews(cluster, settings.identity_api_audiences)
    async with contextlib.aclosing(Callers(authority, reviews)) as callers:
        yield lambda app: IdentityAPI(Lookup(images, view), callers, app, metrics.identified)


@contextlib.asynccontextmanager
async def _denials(
    cluster: "Cluster | None", view: PolicyLister, images: Images, metrics: Metrics
) -> AsyncIterator[Callable[[Review, Outcome], None]]:
    """The callback for every answer, which records Events on workloads."""
    if cluster is None:
        yield lambda _asked, _outcome: None
        return
    from webhook.cluster.events import EventRecorder
    from webhook.cluster.workqueue import run_in_background
    from webhook.server.denial_events import DenialEvents

    recorder = EventRecorder(cluster, socket.gethostname())
    metrics.background.writers["Event"] = recorder.writer
    denials = DenialEvents(view, images, recorder.record)
    async with run_in_background(recorder.writer, denials.dry_runs):
        yield denials.observe


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to us: two of them run in one process."""

    def __init__(self, app: ASGIApp, certificate: ServingCertificate | None = None) -> None:
        config = uvicorn.Config(
            app,
            loop="none",
            http=protocol(app),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=GRACE,
            ssl_context_factory=(lambda _config, _default: certificate.context) if certificate else None,
        )
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing: see `_serve`."""
        yield
