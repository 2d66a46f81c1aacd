"""The run of a scan: workloads are evaluated while others are still being listed."""

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime

import msgspec

from webhook.evaluation.evaluator import Progress
from webhook.image import image_identity
from webhook.image.identity_index import IdentityIndex
from webhook.image.source import Images
from webhook.policy.cache import PolicySnapshot
from webhook.policy.types import Documents
from webhook.registry.fallback import FallbackSource
from webhook.scan.collector import Reader
from webhook.scan.document import UNREACHED, Document, Workload, document
from webhook.scan.effective_policy import qualified
from webhook.scan.evaluate import predict
from webhook.scan.image_cache import MemoizedSource
from webhook.scan.inventory import OBSERVATIONS_LIMIT
from webhook.scan.inventory_item import InventoryItem

AT_ONCE = 32  # workloads whose images are asked for together
_AHEAD = 2 * AT_ONCE  # workloads that are listed and wait; then listing waits


async def scan(
    reader: Reader,
    images: Images,
    *,
    cluster: str,
    documents: Documents | None = None,
    known: IdentityIndex | None = None,
    seen: IdentityIndex | None = None,
    former: Document | None = None,
    now: datetime | None = None,
    labels: Collection[str] = (),
    progress: Progress | None = None,
) -> Document:
    """Predict what becomes of every workload; `ClusterError` where the API server does not answer.

    `documents` are the policies and exceptions to evaluate by, instead of the cluster's; `cluster` is its name for people.
    An image that `images` do not know may be among the `known` ones, which admission knows, or be known from the Pods that
    run it: these are added to what other Pods have shown before, `seen`. What the `former` document says as well is not kept
    twice. `labels` are the keys of those of namespaces that each workload is to carry.
    """
    now = now or datetime.now(UTC)
    namespaces = {each.name: each for each in await reader.namespaces()}
    view = PolicySnapshot(await reader.documents() if documents is None else documents, namespaces)
    coverage = await reader.coverage()
    beyond = {name for name, namespace in namespaces.items() if not coverage.covers(namespace)}
    silent = {name for name, namespace in namespaces.items() if not coverage.asks_today(namespace)}
    owners = {
        name: {key: namespace.labels[key] for key in labels if key in namespace.labels}
        for name, namespace in namespaces.items()
    }
    seen = IdentityIndex() if seen is None else seen
    storage = await reader.storage()
    once = MemoizedSource(images, await reader.accounts())
    source = FallbackSource(once if known is None else FallbackSource(once, known), seen)
    waiting: asyncio.Queue[InventoryItem | None] = asyncio.Queue(_AHEAD)
    evaluated: list[Workload] = []
    # What is said of many workloads is kept once: it is half of a large cluster's document.
    alike = {each: each for workload in (former.workloads if former else ()) for each in workload.containers}
    listed = 0

    async def evaluate_listed() -> None:
        while (found := await waiting.get()) is not None:
            exemption = UNREACHED if found.reference.namespace in beyond else ""
            asked = found.reference.namespace not in silent
            predicted = await predict(found, view, source, now, exemption, asked_today=asked, storage=storage)
            labels_read = reader.labels_read(found.reference.namespace)
            containers = tuple(alike.setdefault(each, each) for each in predicted.containers)
            predicted = msgspec.structs.replace(predicted, containers=containers)
            if labels:
                predicted = msgspec.structs.replace(predicted, labels=owners.get(predicted.namespace, {}))
            evaluated.append(qualified(predicted, policies_read=reader.policies_read, labels_read=labels_read))
            if progress:
                progress(len(evaluated), listed)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(evaluate_listed())
            async for found in reader.workloads():
                if not listed:
                    _learn(seen, reader, now)
                listed += 1
                await waiting.put(found)
            for _ in range(AT_ONCE):
                await waiting.put(None)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return document(cluster, now.isoformat(timespec="seconds"), evaluated, reader.skipped)


def _learn(seen: IdentityIndex, reader: Reader, now: datetime) -> None:
    """Take what the Pods have taught, which is complete before the first workload comes."""
    for fact in reader.observations:
        identity = image_identity.of_observation(fact, reader.platforms, now)
        if identity is not None and len(seen) < OBSERVATIONS_LIMIT:
            seen.update(fact, identity)
