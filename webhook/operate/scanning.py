"""The background scan, and what follows from it: sums, reports, Events about predictions that were wrong, the page.

A scan that finds nothing new writes nothing.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from webhook import metrics
from webhook.cluster import Cluster
from webhook.events import Event, Regarding
from webhook.image import Images
from webhook.operate.identities import Keeper
from webhook.operate.reports import Reports
from webhook.scan import page, policyreport
from webhook.scan.document import Container, Document, Workload
from webhook.scan.listing import Reader
from webhook.scan.run import scan
from webhook.status import Outcomes

REMEMBERED = 10_000  # mismatches that are not told again

log = logging.getLogger(__name__)


class Scanning(Collector):
    """Scans a cluster whenever it is told to, and keeps what came of the last time; also for `/metrics`.

    `keeper` is told what nodes have shown. Without `reports` none are written, and those that are there are deleted.
    `hooks` is the ValidatingWebhookConfiguration that says which namespaces admission is asked about.
    """

    def __init__(
        self,
        api: Cluster,
        images: Images,
        keeper: Keeper,
        record: Callable[[Event], None],
        *,
        reports: bool,
        hooks: str = "nonroot-webhook",
    ) -> None:
        self._api = api
        self._images = images
        self._record = record
        self._wants_reports = reports
        self._hooks = hooks
        self._keeper = keeper
        self._reports = Reports(api)
        self._told: dict[tuple[str, ...], None] = {}
        self._page = ""
        self.mismatches = 0
        self.seconds = 0.0
        self.document: Document | None = None

    async def round(self) -> None:
        """One scan, to the last write. Raises `ClusterError`; whatever was not written then is written the next time."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        reader, now = Reader(self._api, hooks=self._hooks), datetime.now(UTC)
        await self._keeper.load()
        document = await scan(reader, self._images, cluster=await self._api.name(), known=self._keeper.memory, now=now)
        if document.skipped and (self.document is None or document.skipped != self.document.skipped):
            first = document.skipped[0]
            log.warning("%d could not be scanned, such as %s: %s", len(document.skipped), first.object, first.reason)
        self.document, self._page = document, ""
        for workload, container in _mismatches(document):
            self._tell(workload, container)
        self.seconds = loop.time() - began
        await self._keeper.keep(reader.facts, reader.uses, reader.platforms, now)
        reports = partial(policyreport.reports, document.workloads) if self._wants_reports else None
        await self._reports.update(reports, complete=not document.skipped)

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
        wrong = container.mismatch or ""
        key = (workload.object_uid, container.kind, container.name, container.digest, wrong)
        if key in self._told:
            return
        self._told[key] = None
        if len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]
        self.mismatches += 1
        about = Regarding(workload.api_version, workload.kind, workload.namespace, workload.name, workload.object_uid)
        note = f"container {container.name!r} of image {container.image!r} {wrong}"
        self._record(Event(about, "controller", "Scan", "IdentityMismatch", note))

    def collect(self) -> Iterable[Metric]:
        """The families, for prometheus-client."""
        found = self.document
        states = Counter((each.mode, each.outcome) for each in (found.workloads if found else ()))
        yield metrics.WORKLOADS.of(states.items())
        yield metrics.ROOT_WORKLOADS.at(found.summary.workloads.root if found else None)
        yield metrics.SCAN_TIMESTAMP.at(datetime.fromisoformat(found.at).timestamp() if found else None)
        yield metrics.SCAN_DURATION.at(self.seconds if found else None)
        yield metrics.MISMATCHES.at(self.mismatches)
        yield metrics.REPORT_WRITES.at(self._reports.writes)
        yield metrics.IDENTITY_WRITES.at(self._keeper.writes)


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
