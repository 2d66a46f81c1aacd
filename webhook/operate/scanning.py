"""The background scan, and what follows from it: sums, reports, Events about predictions that were wrong, the page.

A scan that finds nothing new writes nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from webhook.cluster import Cluster
from webhook.events import Event, Regarding
from webhook.image import Images
from webhook.operate.identities import Keeper
from webhook.operate.reports import Report, Reports
from webhook.scan import page
from webhook.scan.document import Container, Document, Workload
from webhook.scan.listing import Reader
from webhook.scan.run import scan
from webhook.status import Outcomes

REMEMBERED = 10_000  # mismatches that are not told again


MakeReports = Callable[[Iterable[Workload], str], Iterable[Report]]
"""Workloads and the API version of reports -> their reports."""


class Scanning(Collector):
    """Scans a cluster whenever it is told to, and keeps what came of the last time; also for `/metrics`.

    `keeper` is told what nodes have shown; `report` None: no reports are written, and those that are there deleted.
    """

    def __init__(
        self,
        api: Cluster,
        images: Images,
        record: Callable[[Event], None],
        report: MakeReports | None,
        keeper: Keeper | None = None,
    ) -> None:
        self._api = api
        self._images = images
        self._record = record
        self._report = report
        self._keeper = keeper
        self._reports = Reports(api)
        self._told: dict[tuple[str, Container], None] = {}
        self._page = ""
        self.mismatches = 0
        self.seconds = 0.0
        self.document: Document | None = None

    async def round(self) -> None:
        """One scan, to the last write. Raises `ClusterError`; whatever was not written then is written the next time."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        reader, now = Reader(self._api), datetime.now(UTC)
        if self._keeper is not None:
            await self._keeper.load()
        document = await scan(reader, self._images, cluster=await self._api.name(), now=now)
        self.document, self._page = document, ""
        for workload, container in _mismatches(document):
            self._tell(workload, container)
        self.seconds = loop.time() - began
        reports = partial(self._report, document.workloads) if self._report else None
        await self._reports.update(reports, complete=not document.skipped)
        if self._keeper is not None:
            await self._keeper.keep(reader.facts, reader.uses, reader.platforms, now)

    def sums(self) -> dict[str, Outcomes]:
        """The workloads by what would become of them, for each policy."""
        return by_policy(self.document.workloads if self.document else ())

    async def html(self) -> str:
        """The page of the last scan, "" before the first; made when it is asked for first, beside everything else."""
        if self.document is not None and not self._page:
            self._page = await asyncio.to_thread(page.render, self.document)
        return self._page

    def _tell(self, workload: Workload, container: Container) -> None:
        """Count a prediction that was wrong, and say so on the workload; once for the same."""
        key = (workload.object_uid, container)
        if key in self._told:
            return
        self._told[key] = None
        if len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]
        self.mismatches += 1
        about = Regarding(workload.api_version, workload.kind, workload.namespace, workload.name, workload.object_uid)
        note = f"container {container.name!r} of image {container.image!r} {container.mismatch}"
        self._record(Event(about, "controller", "Scan", "IdentityMismatch", note))

    def collect(self) -> Iterable[Metric]:
        """The families, for prometheus-client."""
        workloads = GaugeMetricFamily(
            "nonroot_workloads",
            "Workloads by the mode in force and by what becomes of them once enforced.",
            labels=("mode", "state"),
        )
        found = self.document.workloads if self.document else ()
        for labels, count in Counter((each.mode, each.outcome) for each in found).items():
            workloads.add_metric(labels, count)
        yield workloads
        if self.document is not None:
            yield GaugeMetricFamily(
                "nonroot_root_workloads",
                "Workloads that run as uid 0 now, by what kubelets report.",
                value=self.document.summary.workloads.root,
            )
            yield GaugeMetricFamily(
                "nonroot_scan_timestamp_seconds",
                "When the last scan was made.",
                value=datetime.fromisoformat(self.document.at).timestamp(),
            )
        yield GaugeMetricFamily("nonroot_scan_duration_seconds", "How long the last scan took.", value=self.seconds)
        yield CounterMetricFamily(
            "nonroot_identity_mismatches",
            "Containers that a kubelet reports as somebody else than was foretold. Must stay zero.",
            value=self.mismatches,
        )
        yield CounterMetricFamily(
            "nonroot_report_writes", "Policy reports created, replaced or deleted.", value=self._reports.writes
        )


def by_policy(workloads: Iterable[Workload]) -> dict[str, Outcomes]:
    """The sums that a policy's status shows."""
    counts: dict[str, Counter[str]] = {}
    for each in workloads:
        counts.setdefault(each.policy, Counter())["failing" if each.outcome == "refused" else each.outcome] += 1
    return {policy: Outcomes(**found) for policy, found in counts.items()}


def _mismatches(document: Document) -> Iterator[tuple[Workload, Container]]:
    return (
        (workload, container)
        for workload in document.workloads
        for container in workload.containers
        if container.mismatch is not None
    )
