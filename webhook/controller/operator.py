"""The kopf operator that the controller's process is: what it watches wakes the controller's loops.

kopf has the process to itself, as it is meant to: it takes the signals, and its end is ours. It writes nothing, neither
finalizers nor annotations, because all handlers are of events.
"""

import itertools
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import kopf

from webhook.cluster.client import SILENCE_TIMEOUT, Cluster
from webhook.controller.triggers import Triggers

IDENTITY = "nonroot-webhook"  # for peering, which is off; kopf's own guess needs a passwd line for our uid
STREAM_LIFETIME = 300  # seconds; each stream is opened anew so often
STREAM_SILENCE = 330.0  # seconds without a word on a stream, after which it is taken for dead
RETRIES = (1, 2, 5, 10)  # seconds between the attempts of one request; the last for all further ones
# A listing is thousands of objects at once. Each would have a task until it has been quiet for 5 s, whose memory the process
# keeps: 25 MiB for 5,000 namespaces.
WORKERS, WORKER_IDLE = 16, 0.01  # objects that are handled at once, and seconds that a worker waits for more of one
OURS = "app.kubernetes.io/part-of=nonroot-webhook"  # the label of our CRDs: no other is ever read


async def run(cluster: Cluster, triggers: Triggers, end: Callable[[], Awaitable[object]]) -> None:
    """Run until SIGTERM or SIGINT; `end` is awaited before kopf ends, which cancels whatever still runs then."""
    logging.getLogger("kopf").setLevel(logging.WARNING)  # else it says of every event that it was handled
    registry, settings = kopf.OperatorRegistry(), _settings()
    triggers.register(registry, settings)

    @kopf.on.login(registry=registry)
    async def login(**_kwargs: Any) -> kopf.ConnectionInfo:
        access = await cluster.access()
        scheme, _, token = access.authorization.partition(" ")
        return kopf.ConnectionInfo(
            server=access.server,
            ca_path=access.ca_file,
            insecure=not access.verified,
            scheme=scheme or None,
            token=token or None,
            certificate_path=access.certificate_file,
            private_key_path=access.key_file,
            proxy_url=access.proxy,
        )

    @kopf.on.cleanup(registry=registry)
    async def cleanup(**_kwargs: Any) -> None:
        await end()

    await kopf.operator(
        registry=registry,
        settings=settings,
        standalone=True,
        clusterwide=True,
        identity=IDENTITY,  # type: ignore[arg-type]  # its type is not public
    )


class _Retries:
    """Pauses without an end: an API server that is away is waited for."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain(RETRIES, itertools.repeat(RETRIES[-1]))


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.watching.server_timeout = STREAM_LIFETIME
    settings.watching.inactivity_timeout = STREAM_SILENCE
    settings.watching.connect_timeout = SILENCE_TIMEOUT
    settings.networking.connect_timeout = SILENCE_TIMEOUT
    settings.networking.error_backoffs = _Retries()
    settings.queueing.worker_limit = WORKERS
    settings.queueing.idle_timeout = WORKER_IDLE
    settings.watching.label_selectors["apiextensions.k8s.io", "customresourcedefinitions"] = OURS
    return settings
