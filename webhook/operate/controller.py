"""The controller's process: the certificates' loop, what wakes it, and its probes."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import kopf

from webhook import certificates, watching
from webhook.cluster import Cluster, ClusterError, Conflict
from webhook.operate import OperateSettings, probes
from webhook.operate.rotation import ApplyBundle, InOrder, Names, Pending, Plan, Rotation, WriteSecret

PERIOD = 10.0  # seconds between two looks where nothing wakes us; Secrets are never watched, only read by name
PAUSE = 1.0  # seconds between two rounds at least, should somebody else write what we write
MOST_STEPS = 8  # of one round: a change of CA has five

log = logging.getLogger(__name__)


def main(settings: OperateSettings) -> None:
    """Run until SIGTERM or SIGINT."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(_operate(settings))


async def _operate(settings: OperateSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    state = probes.State()
    async with probes.serve(state, settings.host, settings.metrics_port) as port:
        log.info("probes and metrics at http://%s:%d", settings.host, port)
        if not settings.manage_certificates:
            state.problem = None
            await stop.wait()
            return
        wake = asyncio.Event()
        cluster = Cluster()
        async with contextlib.aclosing(cluster), asyncio.TaskGroup() as tasks:
            tasks.create_task(keep(rotation(cluster, settings), state, wake, stop))
            tasks.create_task(watching.run(_waker(settings, wake), stop))
            await stop.wait()
            wake.set()


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
    )
    hosts = certificates.service_hosts(settings.service, settings.namespace)
    return Rotation(cluster, names, Plan(hosts, settings.ca_lifetime, settings.leaf_lifetime))


async def keep(rotation: Rotation, state: probes.State, wake: asyncio.Event, stop: asyncio.Event) -> None:
    """Take steps whenever there are any, until `stop` is set; `wake` asks for a look right now."""
    while not stop.is_set():
        wake.clear()
        problem = await _round(rotation, state)
        if problem is not None and problem != state.problem:
            log.warning("the certificates are not in order: %s", problem)
        state.problem = problem
        await _wait(stop, PAUSE)
        if state.problem is None:
            await _wait(wake, PERIOD - PAUSE)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def _round(rotation: Rotation, state: probes.State) -> str | None:
    """Steps until there are none; what is not in order then, for a person."""
    for _ in range(MOST_STEPS):
        try:
            step = await rotation.step()
        except Conflict as error:
            log.info("looking again: %s", error)
            continue
        except ClusterError as error:
            return str(error)
        match step:
            case InOrder():
                state.expiry = {"ca": step.ca.end.timestamp(), "serving": step.leaf.end.timestamp()}
                return None
            case Pending():
                return step.why
            case WriteSecret() | ApplyBundle():
                state.writes += 1
    return "the certificates change faster than they can be put in order: does anything else write them?"


def _waker(settings: OperateSettings, wake: asyncio.Event) -> watching.Register:
    loop = asyncio.get_running_loop()
    return partial(register, settings, partial(loop.call_soon_threadsafe, wake.set))


def register(
    settings: OperateSettings,
    notify: Callable[[], object],
    registry: kopf.OperatorRegistry,
    operator: kopf.OperatorSettings,
) -> watching.Observe:
    """Add the handlers that call `notify` whenever one of the two webhook configurations changes."""
    operator.scanning.disabled = True  # built-in resources only: no CRD is of interest

    async def changed(**_: Any) -> None:
        notify()

    group = "admissionregistration.k8s.io"
    for plural, name in (
        ("mutatingwebhookconfigurations", settings.mutating_configuration),
        ("validatingwebhookconfigurations", settings.validating_configuration),
    ):
        operator.watching.field_selectors[group, plural] = f"metadata.name={name}"
        kopf.on.event(group, "v1", plural, registry=registry)(changed)
    return lambda _answer: None
