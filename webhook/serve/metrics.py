"""Counters as plain numbers on the hot path, turned into Prometheus families only when somebody asks."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from webhook.admission import Outcome

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # seconds


class Writes(Protocol):
    """The counts of a `webhook.background.Writer`."""

    written: int
    failed: int
    dropped: int


class Metrics(Collector):
    """What this process has answered, as `/metrics` shows it. Times are seconds."""

    def __init__(self) -> None:
        self._reviews: defaultdict[tuple[str, str, str, str], int] = defaultdict(int)
        self._findings: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._malformed: defaultdict[str, int] = defaultdict(int)
        self._injected = 0
        self._durations = {door: [0] * (len(BUCKETS) + 1) for door in ("mutate", "validate")}
        self._seconds = dict.fromkeys(("mutate", "validate"), 0.0)
        self._gauges: list[tuple[str, str, Callable[[], float]]] = []
        self._writers: list[tuple[str, Writes]] = []

    def gauge(self, name: str, help: str, read: Callable[[], float]) -> None:  # noqa: A002  # Prometheus' word
        """Show what `read` says whenever somebody asks."""
        self._gauges.append((name, help, read))

    def writer(self, kind: str, writes: Writes) -> None:
        """Show what becomes of the objects of a kind that are written in the background."""
        self._writers.append((kind, writes))

    def answered(self, outcome: Outcome, operation: str, seconds: float) -> None:
        """Count one answered review."""
        mode = outcome.governing.mode if outcome.governing else ""
        self._reviews[(outcome.door, operation, mode, outcome.decision)] += 1
        self._durations[outcome.door][bisect_left(BUCKETS, seconds)] += 1
        self._seconds[outcome.door] += seconds
        if outcome.operations:
            self._injected += 1
        if outcome.verdict is not None:
            for finding in outcome.verdict.findings:
                self._findings[(finding.rule, mode)] += 1

    def malformed(self, status: int) -> None:
        """Count one request that was no review."""
        self._malformed[str(status)] += 1

    def collect(self) -> Iterable[Metric]:
        """The families, for prometheus-client."""
        reviews = CounterMetricFamily(
            "nonroot_reviews", "Admission reviews answered.", labels=("door", "operation", "mode", "decision")
        )
        for review, count in self._reviews.items():
            reviews.add_metric(review, count)
        findings = CounterMetricFamily("nonroot_findings", "Findings by rule.", labels=("rule", "mode"))
        for rule, count in self._findings.items():
            findings.add_metric(rule, count)
        malformed = CounterMetricFamily(
            "nonroot_malformed_requests", "Requests that were no admission review.", labels=("status",)
        )
        for status, count in self._malformed.items():
            malformed.add_metric((status,), count)
        injections = CounterMetricFamily("nonroot_injections", "Pods that got a patch.", value=self._injected)
        yield from (reviews, findings, malformed, injections, self._histogram())
        writes = CounterMetricFamily(
            "nonroot_background_writes", "Objects to write in the background, by outcome.", labels=("kind", "outcome")
        )
        for kind, counts in self._writers:
            for outcome in ("written", "failed", "dropped"):
                writes.add_metric((kind, outcome), getattr(counts, outcome))
        yield writes
        for name, text, read in self._gauges:
            yield GaugeMetricFamily(name, text, value=read())

    def _histogram(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily(
            "nonroot_review_duration_seconds", "Time to answer a review, from its last byte read.", labels=("door",)
        )
        for door, counts in self._durations.items():
            total, buckets = 0, []
            for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric((door,), buckets, self._seconds[door])
        return family
