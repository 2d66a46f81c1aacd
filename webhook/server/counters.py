"""Counters as plain numbers on the hot path, turned into Prometheus families only when somebody asks."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import get_args

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from webhook import metrics
from webhook.admission.handler import Outcome
from webhook.image.source import Cause
from webhook.policy.types import Mode
from webhook.registry.transport.stats import RegistryStats

_BUCKETS = metrics.REVIEW_DURATION.buckets
_OPERATIONS = {each: each for each in ("CREATE", "UPDATE", "DELETE", "CONNECT")}


class Metrics(Collector):
    """The metrics of this process's answers. Times are seconds.

    `view_age`, `expiry` (of the serving certificate) and `identities` are asked whenever somebody looks.
    """

    def __init__(self, stats: RegistryStats | None = None) -> None:
        """`stats` is the registry client's."""
        self.view_age: Callable[[], float] | None = None
        self.expiry: Callable[[], float] | None = None
        self.identities: Callable[[], float] | None = None
        self.background = metrics.Background(stats or RegistryStats())
        self._reviews: defaultdict[tuple[str, str, str, str], int] = defaultdict(int)
        self._findings: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self._malformed: defaultdict[tuple[str], int] = defaultdict(int)
        self._identified: defaultdict[tuple[str, str], int] = defaultdict(int)
        self._verifications = dict.fromkeys([(cause,) for cause in get_args(Cause)], 0)
        self._exempted = dict.fromkeys([(mode,) for mode in get_args(Mode)], 0)
        self._injected = 0
        self._durations = {hook: [0] * (len(_BUCKETS) + 1) for hook in ("mutate", "validate")}
        self._seconds = dict.fromkeys(("mutate", "validate"), 0.0)

    def answered(self, outcome: Outcome, operation: str, seconds: float) -> None:
        """Count one answered review."""
        hook = outcome.hook
        mode = outcome.effective_policy.mode if outcome.effective_policy else "none"
        self._reviews[hook, _OPERATIONS.get(operation, "other"), mode, outcome.decision] += 1
        self._durations[hook][bisect_left(_BUCKETS, seconds)] += 1
        self._seconds[hook] += seconds
        if outcome.operations:
            self._injected += 1
        if hook == "validate" and outcome.decision == "allow" and outcome.effective_policy:
            self._exempted[(mode,)] += outcome.exempted
            on_unknown = outcome.effective_policy.policy.spec.on_unknown
            for finding in outcome.findings if mode == "Enforce" else ():
                if finding.severity == "unknown" and on_unknown.action(finding.cause) == "Verify":
                    self._verifications[(finding.cause,)] += 1
        for finding in outcome.findings:
            self._findings[hook, finding.rule, mode] += 1

    def malformed(self, status: int) -> None:
        """Count one request that was no review."""
        self._malformed[(str(status),)] += 1

    def identified(self, path: str, status: int) -> None:
        """Count one request to the identity API."""
        self._identified[path, str(status)] += 1

    def collect(self) -> Iterable[Metric]:
        """The families, for prometheus-client."""
        yield metrics.REVIEWS.of(self._reviews.items())
        yield metrics.FINDINGS.of(self._findings.items())
        yield metrics.MALFORMED.of(self._malformed.items())
        yield metrics.IDENTITY_REQUESTS.of(self._identified.items())
        yield metrics.VERIFICATIONS.of(self._verifications.items())
        yield metrics.EXEMPTED_CONTAINERS.of(self._exempted.items())
        yield metrics.INJECTIONS.at(self._injected)
        durations = (((hook,), counts, self._seconds[hook]) for hook, counts in self._durations.items())
        yield metrics.REVIEW_DURATION.spread(durations)
        yield metrics.VIEW_AGE.at(self.view_age and self.view_age())
        yield metrics.CERTIFICATE_EXPIRY.of([(("serving",), self.expiry())] if self.expiry else [])
        yield metrics.IMAGE_IDENTITIES.at(self.identities and self.identities())
        yield from self.background.collect()
