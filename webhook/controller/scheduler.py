"""The scheduler of the controller: when statuses are updated, and when the cluster or some namespaces are scanned.

A scan finds everything, and is what nothing can be missed by; a look at the namespaces of which a change was heard is there
within seconds.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from webhook.cluster.errors import ClusterError
from webhook.controller.background_scan import BackgroundScan
from webhook.controller.loop import Interval, repeat
from webhook.controller.policy_status import PolicyStatusController
from webhook.controller.workload_watch import Workloads

STATUS_INTERVAL = 1.0  # seconds between two looks at statuses at least: ours change them, too
RESYNC_INTERVAL = 300.0  # seconds after which they are looked at in any case
SCAN_INTERVAL = 10.0  # seconds between two scans at least: several changes make one
BATCH_DELAY = 1.0  # seconds from the first change of some namespace until it is looked at: few changes come alone
RUNTIME_CHECK_DELAY = 60.0  # seconds until it is looked at once more, when its Pods run and kubelets say as whom
FULL_SCAN_NAMESPACES = 200  # namespaces; where more have changed everything is scanned
REST_FACTOR = 10  # times the seconds of CPU of a scan or look until the next: not a tenth of a core is spent on either


class Scheduler:
    """Three steps to be repeated. An `interval` of zero: no scan at all."""

    def __init__(
        self,
        statuses: PolicyStatusController,
        scanning: BackgroundScan,
        workloads: Workloads,
        interval: timedelta,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._statuses = statuses
        self._scanning = scanning
        self._workloads = workloads
        self._interval = interval
        self._now = now
        self._turn: datetime | None = None  # when time alone changes what an exception is worth
        self._policy_objects: dict[str, str] = {}
        self._changed: set[str] = set()
        self._settled: set[str] = set()
        self._one_at_a_time = asyncio.Lock()  # a scan that began before a look must not have the last word
        self.status_due, self.scan_due, self.look_due = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def policy_changed(self, namespace: str | None) -> None:
        """Take note that the effective policy of a namespace may have changed; None: of any."""
        self.status_due.set()
        if namespace is None:
            self.scan_due.set()
        else:
            self.changed(namespace)

    def changed(self, namespace: str) -> None:
        """A namespace has, or a workload in it."""
        if len(self._changed) < FULL_SCAN_NAMESPACES:
            self._changed.add(namespace)
            self.look_due.set()
        elif namespace not in self._changed:
            self.scan_due.set()

    def loops(self) -> tuple[Coroutine[None, None, NoReturn], ...]:
        """The coroutines to run until cancelled, which may be at any point: the next controller goes on from what was written."""
        statuses = repeat("the statuses of policies and exceptions", self.update_statuses, self.status_due)
        if not self._interval:
            return (statuses,)
        scan = repeat("the background scan", self.scan, self.scan_due)
        look = repeat("the scan of what has changed", self.look, self.look_due)
        return (statuses, scan, look, *self._workloads.loops(self.changed))

    async def update_statuses(self) -> Interval:
        """Look at the statuses. Raises `ClusterError`."""
        now = self._now()
        if self._turn is not None and now >= self._turn:
            self.scan_due.set()
        state, self._turn = await self._statuses.round(now)
        self._notice_vanished(
            {each.metadata.uid: each.metadata.namespace for each in (*state.policies, *state.exceptions)}
        )
        left = RESYNC_INTERVAL if self._turn is None else (self._turn - self._now()).total_seconds()
        return Interval(STATUS_INTERVAL, min(max(left, STATUS_INTERVAL), RESYNC_INTERVAL))

    def _notice_vanished(self, objects: dict[str, str]) -> None:
        """Take note of policies and exceptions that are gone: kopf does not see what vanishes while no stream is open.

        `objects` has their namespaces, by uid. Source: nolar/kopf kopf/_cogs/clients/watching.py (continuous_watch).
        """
        for uid in self._policy_objects.keys() - objects.keys():
            if self._policy_objects[uid]:
                self.changed(self._policy_objects[uid])
            else:
                self.scan_due.set()
        self._policy_objects = objects

    async def scan(self) -> Interval:
        """Scan, and have its sums shown. Raises `ClusterError`."""
        async with self._one_at_a_time:
            if self._scanning.document is None:
                await self._workloads.listed()
            began = time.process_time()
            self.scan_due.clear()
            self._changed.clear()
            await self._scanning.round()
        return self._rest(began, SCAN_INTERVAL, self._interval.total_seconds())

    async def look(self) -> Interval:
        """Scan the namespaces in which something has changed, and have the sums shown. Raises `ClusterError`."""
        await asyncio.sleep(BATCH_DELAY)
        async with self._one_at_a_time:
            began = time.process_time()
            changed, settled = self._changed, self._settled
            self._changed, self._settled = set(), set()
            try:
                await self._scanning.look(changed | settled)
            except ClusterError:
                self._changed |= changed
                self._settled |= settled
                raise
        if changed:
            asyncio.get_running_loop().call_later(RUNTIME_CHECK_DELAY, self._settle, changed)
        return self._rest(began, BATCH_DELAY, RESYNC_INTERVAL)

    def _settle(self, namespaces: set[str]) -> None:
        self._settled |= namespaces
        self.look_due.set()

    def _rest(self, began: float, minimum: float, resync: float) -> Interval:
        found = self._scanning.sums(), self._scanning.matches()
        if found != (self._statuses.sums, self._statuses.matches):
            self._statuses.sums, self._statuses.matches = found
            self.status_due.set()
        minimum = max(minimum, REST_FACTOR * (time.process_time() - began))
        return Interval(minimum, max(minimum, resync))
