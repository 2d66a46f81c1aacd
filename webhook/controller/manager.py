"""The controller manager: the process with its loops, their triggers and the probes."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from functools import partial

from webhook.cluster.client import Cluster
from webhook.cluster.errors import ClusterError, Conflict
from webhook.cluster.events import EventRecorder
from webhook.cluster.image_identities import ClusterIdentityStore
from webhook.cluster.metrics_readers import MetricsReaders
from webhook.cluster.pull_secrets import PullSecrets
from webhook.cluster.service_range import ServiceRange
from webhook.cluster.supervisor import background, supervise
from webhook.cluster.workqueue import run_in_background
from webhook.controller import enforcement_record, operator, probes, report_kinds, scan_history
from webhook.controller.background_scan import BackgroundScan
from webhook.controller.certificate_objects import CertificateObjects
from webhook.controller.certificate_rotation import (
    InjectCaBundle,
    Names,
    Pending,
    Plan,
    Rotation,
    UpToDate,
    WriteSecret,
)
from webhook.controller.image_identities import Reconciler
from webhook.controller.image_surveys import AskedImages, ImageSurveys
from webhook.controller.loop import repeat
from webhook.controller.patched_pods import PatchedPods
from webhook.controller.policy_status import PolicyStatusController
from webhook.controller.report_page import ReportPage
from webhook.controller.report_readers import ReportReaders
from webhook.controller.scheduler import Scheduler
from webhook.controller.settings import OperateSettings
from webhook.controller.triggers import Triggers
from webhook.controller.workload_watch import Workloads
from webhook.metrics import Background
from webhook.registry import config_file
from webhook.registry.client import RegistryClient
from webhook.server import certificates
from webhook.server.tls import ServingCertificate, self_signed_files

PERIOD = 10.0  # seconds between two looks where nothing wakes us; Secrets are never watched, only read by name
PAUSE = 1.0  # seconds between two rounds at least, should somebody else write what we write
MOST_STEPS = 8  # of one round: a change of CA has five

log = logging.getLogger(__name__)


def main(settings: OperateSettings) -> None:
    """Run until SIGTERM or SIGINT."""
    asyncio.run(_operate(settings))


async def _operate(settings: OperateSettings) -> None:
    state = probes.State()
    certificates_due = asyncio.Event()
    async with contextlib.AsyncExitStack() as closing:
        cluster = await closing.enter_async_context(contextlib.aclosing(Cluster()))
        recorder = EventRecorder(cluster, socket.gethostname())
        store = ClusterIdentityStore(cluster)
        await closing.enter_async_context(run_in_background(recorder.writer, store.writer))
        statuses = PolicyStatusController(
            cluster,
            recorder.record,
            settings.validating_configuration,
            labels_namespaces=settings.label_namespaces,
            creates_default=settings.default_policy,
            enforcement=enforcement_record.in_config_map(cluster, settings.namespace, f"{settings.service}-enforced"),
            scans=bool(settings.scan_interval),
        )
        access = config_file.load(settings.registry_config, settings.insecure_registries)
        client = RegistryClient(access.settings, PullSecrets(cluster), credentials=access.credentials, store=store)
        images = await closing.enter_async_context(contextlib.aclosing(client))
        service_range = ServiceRange(cluster, images.deny)
        await service_range.read()
        reconciler = Reconciler(cluster, store)
        hooks = settings.validating_configuration
        asked = AskedImages(images)
        scanning = BackgroundScan(
            cluster,
            asked,
            reconciler,
            recorder.record,
            reports=settings.reports,
            passes=settings.pass_results,
            hooks=hooks,
            cluster_name=settings.cluster_name,
            labels=settings.report_labels,
            history=scan_history.in_config_map(cluster, settings.namespace, f"{settings.service}-history"),
        )
        patched = PatchedPods(cluster, recorder.record, scanning.ran_unpatched, store, lambda: statuses.view)
        readers = ReportReaders(cluster) if settings.report_page_authentication else None
        routes = ReportPage(scanning, readers).routes() if settings.report_page else ()
        collectors = scanning, statuses, patched, Background(client.stats, Event=recorder.writer)
        certificate = closing.enter_context(_metrics_certificate(settings))
        serving = probes.serve(
            state,
            settings.host,
            settings.metrics_port,
            collectors,
            routes,
            tls=certificate.context if certificate else None,
            readers=MetricsReaders.of(cluster) if settings.metrics_authentication else None,
        )
        scheme, port = "https" if certificate else "http", await closing.enter_async_context(serving)
        log.info("probes and metrics at %s://%s:%d", scheme, settings.host, port)

        scheduler = Scheduler(statuses, scanning, Workloads(cluster, patched), settings.scan_interval)
        loops = [*scheduler.loops(), supervise("following the Service range", service_range.follow)]
        if certificate:
            loops.append(supervise("watching the certificate of the metrics", certificate.watch))
        if settings.scan_interval:
            loops.append(repeat("the watch on patched Pods", patched.round, patched.due))
        if settings.scan_interval and settings.reports:
            loops += report_kinds.loops(cluster, scheduler.scan_due.set)
        if settings.survey_rate and settings.scan_interval:
            surveys = ImageSurveys(cluster, images, asked.asked, settings.survey_rate * 1_000_000)
            loops.append(repeat("reading the layers of images", surveys.round, asyncio.Event()))
        if settings.manage_certificates:
            kept = rotation(cluster, settings)
            work = partial(keep, kept, state, certificates_due, asyncio.Event())
            loops.append(supervise("keeping the certificates", work))
        else:
            state.problem = None
        await closing.enter_async_context(background(*loops))
        notify = certificates_due.set if settings.manage_certificates else None
        await operator.run(cluster, Triggers(settings, notify, scheduler.policy_changed, cluster.now()), closing.aclose)


@contextlib.contextmanager
def _metrics_certificate(settings: OperateSettings) -> Iterator[ServingCertificate | None]:
    """The certificate of probes and metrics, where they have one.

    Its files come from the Secret that this very process makes after an installation: until they are there, another is served.
    """
    if not (settings.metrics_cert and settings.metrics_key):
        yield None
        return
    hosts = certificates.service_hosts(settings.service, settings.namespace)
    with self_signed_files(hosts) as (_, cert, key):
        yield ServingCertificate(
            settings.metrics_cert, settings.metrics_key, options=settings.tls, meanwhile=(cert, key)
        )


def rotation(cluster: Cluster, settings: OperateSettings) -> Rotation:
    """The certificates' state machine for some settings."""
    names = Names(
        settings.namespace,
        settings.ca_secret,
        settings.tls_secret,
        (
            ("MutatingWebhookConfiguration", settings.mutating_configuration),
            ("ValidatingWebhookConfiguration", settings.validating_configuration),
        ),
        settings.provider,
    )
    hosts = certificates.service_hosts(settings.service, settings.namespace)
    plan = Plan(hosts, settings.ca_lifetime, settings.leaf_lifetime)
    return Rotation(CertificateObjects(cluster), names, plan, cluster.now)


async def keep(rotation: Rotation, state: probes.State, wake: asyncio.Event, stop: asyncio.Event) -> None:
    """Take steps whenever there are any, until `stop` is set; `wake` asks for a look right now."""
    while not stop.is_set():
        wake.clear()
        problem = await _round(rotation, state)
        if problem is not None and problem != state.problem:
            log.warning("the certificates are not ready: %s", problem)
        state.problem = problem
        await _wait(stop, PAUSE)
        if state.problem is None:
            await _wait(wake, PERIOD - PAUSE)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def _round(rotation: Rotation, state: probes.State) -> str | None:
    """Take steps until the certificates are up to date; the reason, for a person, where they are not."""
    for _ in range(MOST_STEPS):
        try:
            step = await rotation.step()
        except Conflict as error:
            log.info("looking again: %s", error)
            continue
        except ClusterError as error:
            return str(error)
        match step:
            case UpToDate():
                state.expiry = {"ca": step.ca.end.timestamp(), "serving": step.leaf.end.timestamp()}
                return None
            case Pending():
                return step.why
            case WriteSecret() | InjectCaBundle():
                state.writes += 1
    return f"the certificates were not up to date after {MOST_STEPS} writes: does anything else write them?"
