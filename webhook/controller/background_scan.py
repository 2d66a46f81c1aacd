"""The background scan and its results: counts, reports, Events about wrong predictions, the report page.

A scan that finds nothing new writes nothing.
"""

import asyncio
import heapq
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial

import msgspec
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from webhook import metrics
from webhook.caching import LRUCache
from webhook.cluster.client import Cluster
from webhook.cluster.events import Event, Regarding
from webhook.controller import scan_history
from webhook.controller.image_identities import Reconciler
from webhook.controller.kept_record import KeptRecord
from webhook.controller.reports import Reports
from webhook.controller.scan_history import History
from webhook.image.config import Platform
from webhook.image.identity_index import IdentityIndex
from webhook.image.source import Images
from webhook.policy.conditions import Outcomes
from webhook.scan import policyreport
from webhook.scan.collector import Reader
from webhook.scan.document import Container, Document, Workload, renewed
from webhook.scan.html import page
from webhook.scan.run import scan
from webhook.text import many
from webhook.workload.container_status import Start

UNPATCHED_BYTES = 8 << 20  # of what has run unpatched: some 40,000 images and commands
ANNOUNCED_LIMIT = 10_000  # mismatches that are not reported again
NAMESPACE_METRICS_LIMIT = 1_000  # namespaces with numbers of their own: each costs a Prometheus up to five series

log = logging.getLogger(__name__)


class BackgroundScan(Collector):
    """Scans a cluster, or looks at some namespaces of it, and keeps what came of that; also for `/metrics`.

    `reconciler` gets what nodes have shown. Without `reports` none are written, and those that are there are deleted;
    without `passes` results that say nothing against a container are left out.
    `hooks` is the ValidatingWebhookConfiguration that says which namespaces admission is asked about, `cluster_name` what the
    page calls the cluster, if not by the API server's address. `labels` are the keys of those of namespaces that reports get.
    `history` keeps the counts of each scan.
    """

    def __init__(
        self,
        api: Cluster,
        images: Images,
        reconciler: Reconciler,
        record: Callable[[Event], None],
        *,
        reports: bool,
        passes: bool = True,
        hooks: str = "nonroot-webhook",
        cluster_name: str = "",
        labels: Collection[str] = (),
        history: KeptRecord[History] | None = None,
    ) -> None:
        self._api = api
        self._cluster_name = cluster_name
        self._labels = labels
        self._history = history or scan_history.in_config_map(api)
        self._images = images
        self._record = record
        self._wants_reports = reports
        self._passes = passes
        self._hooks = hooks
        self._reconciler = reconciler
        self._reports = Reports(api)
        self._nodes: Mapping[str, Platform] = {}
        self._seen = IdentityIndex()
        self._announced: dict[tuple[str, ...], None] = {}
        self._unpatched: LRUCache[int, bool] = LRUCache(UNPATCHED_BYTES)
        self._page = ""
        self.mismatches = 0
        self.seconds = 0.0
        self.document: Document | None = None

    async def round(self) -> None:
        """One scan, to the last write. Raises `ClusterError`; whatever was not written then is written the next time."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        reader, seen, now = Reader(self._api, hooks=self._hooks), IdentityIndex(), datetime.now(UTC)
        await self._reconciler.load()
        cluster = self._cluster_name or await self._api.name()
        document = await scan(
            reader,
            self._images,
            cluster=cluster,
            known=self._reconciler.index,
            seen=seen,
            former=self.document,
            now=now,
            labels=self._labels,
        )
        if document.skipped and (self.document is None or document.skipped != self.document.skipped):
            first = document.skipped[0]
            log.warning("%d could not be scanned, such as %s: %s", len(document.skipped), first.object, first.reason)
        self._nodes, self._seen = reader.nodes, seen
        self._remember(reader)
        history = scan_history.extended(await self._history.read(), document)
        document = msgspec.structs.replace(document, history=history.samples)
        self.document, self._page = document, ""
        self._announce(document)
        self.seconds = loop.time() - began
        counts = document.summary.workloads
        log.info(
            "scanned %s in %.1f s: %d unchanged, %d fixable, %d denied, %d unknown, %d exempted once enforced; %d run as root now",
            many(len(document.workloads), "workload"),
            self.seconds,
            counts.unchanged,
            counts.fixed,
            counts.refused,
            counts.unknown,
            counts.excepted,
            counts.root,
        )
        try:
            await self._reconciler.reconcile(reader.observations, reader.uses, reader.platforms, now)
        finally:  # reports are about something else
            await self._report(document)
        await self._history.write(history)

    async def look(self, namespaces: Collection[str]) -> None:
        """The last scan of some namespaces; empty before the first scan. What Pods have shown elsewhere is remembered."""
        former = self.document
        if former is None or not namespaces:
            return
        now, names = datetime.now(UTC), tuple(sorted(namespaces))
        reader = Reader(self._api, names, self._hooks, nodes=self._nodes, renewing=True)
        known = self._reconciler.index
        part = await scan(
            reader,
            self._images,
            cluster=former.cluster,
            known=known,
            seen=self._seen,
            former=former,
            now=now,
            labels=self._labels,
        )
        self.document, self._page = renewed(former, part, namespaces), ""
        self._remember(reader)
        self._announce(part)
        await self._reconciler.save(reader.observations, reader.platforms, now)
        await self._report(part, names)

    async def _report(self, document: Document, namespaces: tuple[str, ...] = ()) -> None:
        if self._wants_reports:
            reports = partial(policyreport.reports, document.workloads, passes=self._passes)
            await self._reports.update(reports, namespaces, complete=not document.skipped)
        else:
            await self._reports.update(None, namespaces)

    def _remember(self, reader: Reader) -> None:
        for each in reader.unpatched:
            self._unpatched.put(hash(each), value=True)

    def ran_unpatched(self, start: Start) -> bool:
        """Whether some scan has seen that image run, started by the same command, with no field that was injected."""
        return self._unpatched.get(hash(start)) is not None

    def sums(self) -> dict[str, Outcomes] | None:
        """The workloads by what would become of them, for each policy; None before the first scan."""
        return None if self.document is None else by_policy(self.document.workloads)

    def matches(self) -> Counter[tuple[str, str]] | None:
        """The number of workloads of each exception, by namespace and name; None where not everything was scanned."""
        document = self.document
        if document is None or document.skipped:
            return None
        return Counter(
            (workload.namespace, name)
            for workload in document.workloads
            for name in {name for container in workload.containers for name in container.exceptions}
        )

    async def html(self) -> str:
        """The page of the last scan, "" before the first; made when it is asked for first, beside everything else."""
        document = self.document
        if document is None or self._page:
            return self._page
        made = await asyncio.to_thread(page.render, document)
        if self.document is document:  # else what was looked at meanwhile is not in it
            self._page = made
        return made

    def _announce(self, document: Document) -> None:
        """Count the predictions that were wrong, and say so on the workloads; once for the same."""
        for workload, container in _mismatches(document):
            wrong = container.mismatch or ""
            key = (workload.object_uid, container.kind, container.name, container.digest, wrong)
            if key in self._announced:
                continue
            self._announced[key] = None
            if len(self._announced) > ANNOUNCED_LIMIT:
                del self._announced[next(iter(self._announced))]
            self.mismatches += 1
            about = Regarding(
                workload.api_version, workload.kind, workload.namespace, workload.name, workload.object_uid
            )
            note = f"container {container.name!r} of image {container.image!r} {wrong}"
            self._record(Event(about, "controller", "Scan", "IdentityMismatch", note))

    def collect(self) -> Iterable[Metric]:
        """The families, for prometheus-client."""
        found = self.document
        yield metrics.WORKLOADS.of(by_namespace(found.workloads if found else ()).items())
        yield metrics.ROOT_WORKLOADS.at(found.summary.workloads.root if found else None)
        yield metrics.SCAN_TIMESTAMP.at(datetime.fromisoformat(found.at).timestamp() if found else None)
        yield metrics.SCAN_DURATION.at(self.seconds if found else None)
        yield metrics.MISMATCHES.at(self.mismatches)
        yield metrics.REPORT_WRITES.at(self._reports.writes)
        yield metrics.IDENTITY_WRITES.at(self._reconciler.writes)


def by_namespace(workloads: Collection[Workload]) -> Counter[tuple[str, str, str, str]]:
    """The numbers of workloads by namespace, mode, outcome and verdict.

    Namespaces beyond the `NAMESPACE_METRICS_LIMIT` count as one, "".
    """
    sizes = Counter(each.namespace for each in workloads)
    named = {
        name
        for name, _ in heapq.nsmallest(NAMESPACE_METRICS_LIMIT, sizes.items(), key=lambda each: (-each[1], each[0]))
    }
    return Counter(
        (each.namespace if each.namespace in named else "", each.mode or "Unknown", each.outcome, each.state)
        for each in workloads
    )


def by_policy(workloads: Iterable[Workload]) -> dict[str, Outcomes]:
    """The sums that a policy's status shows."""
    counts: dict[str, Counter[str]] = {}
    for each in workloads:
        counts.setdefault(each.policy, Counter())[each.state] += 1
    return {policy: Outcomes.of(**found) for policy, found in counts.items()}


def _mismatches(document: Document) -> Iterator[tuple[Workload, Container]]:
    return (
        (workload, container)
        for workload in document.workloads
        for container in workload.containers
        if container.mismatch is not None
    )
