"""The metrics of the server and the controller, by name: collectors fill them in, and the reference is made of them.

Names follow Prometheus' conventions: a unit in the plural, `_total` for what only grows. Every label has few values,
whatever strangers ask for.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol

import msgspec
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from webhook import __version__
from webhook.registry.transport.stats import RegistryStats

_KINDS = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily}


class Family(msgspec.Struct, frozen=True):
    """A metric. `labels` says of each label which values it has; of a histogram `buckets` are the bounds, in seconds."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: Mapping[str, str] = {}
    buckets: tuple[float, ...] = ()

    def of(self, samples: Iterable[tuple[Sequence[str], float]]) -> Metric:
        """The metric with a value for each set of labels' values."""
        made: CounterMetricFamily | GaugeMetricFamily = _KINDS[self.kind](
            self.name, self.text, labels=tuple(self.labels)
        )
        for values, value in samples:
            made.add_metric(values, value)
        return made

    def at(self, value: float | None) -> Metric:
        """The metric without labels; None: there is nothing to report yet."""
        return self.of([] if value is None else [((), value)])

    def spread(self, samples: Iterable[tuple[Sequence[str], Sequence[int], float]]) -> Metric:
        """The histogram, from how many fell into each bucket, the last of them without a bound, and their sum."""
        made = HistogramMetricFamily(self.name, self.text, labels=tuple(self.labels))
        for values, counts, total in samples:
            below, buckets = 0, []
            for bound, count in zip((*map(str, self.buckets), "+Inf"), counts, strict=True):
                below += count
                buckets.append((bound, below))
            made.add_metric(values, buckets, total)
        return made


BUILD_INFO = Family(
    "nonroot_build_info", "gauge", "Always 1; the label says what runs.", {"version": "the version of nonroot-webhook"}
)

_HOOK = "`mutate`, `validate`"
_MODE = "`Audit`, `Warn`, `Enforce`; `none` where no policy was looked for"

REVIEWS = Family(
    "nonroot_reviews_total",
    "counter",
    "Admission reviews answered.",
    {
        "door": _HOOK,
        "operation": "`CREATE`, `UPDATE`, `DELETE`, `CONNECT`, `other`",
        "mode": _MODE,
        "decision": "`allow`, `deny`, `retry` (an image is still being read), `skip` (nothing to evaluate)",
    },
)
REVIEW_DURATION = Family(
    "nonroot_review_duration_seconds",
    "histogram",
    "Time to answer a review, from its last byte read.",
    {"door": _HOOK},
    (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
FINDINGS = Family(
    "nonroot_findings_total",
    "counter",
    "What rules found in reviews. A Pod passes both webhooks, and is counted at each.",
    {"door": _HOOK, "rule": "as `nonroot explain` lists them", "mode": _MODE},
)
VERIFICATIONS = Family(
    "nonroot_verifications_total",
    "counter",
    "Containers of enforced namespaces whose image could not be read, so that the kubelet decides by runAsNonRoot.",
    {"cause": "as `onUnknown` names them"},
)
EXEMPTED_CONTAINERS = Family(
    "nonroot_exempted_containers_total",
    "counter",
    "Containers that were let in because an exception, a preset or the policy exempts them.",
    {"mode": _MODE},
)
INJECTIONS = Family("nonroot_injections_total", "counter", "Pods that got a patch.")
MALFORMED = Family(
    "nonroot_malformed_requests_total",
    "counter",
    "Requests that were no admission review.",
    {"status": "the HTTP status that they got"},
)
IDENTITY_REQUESTS = Family(
    "nonroot_identity_requests_total",
    "counter",
    "Requests to the identity API that were answered.",
    {"path": "`/v1/identities`, `/externaldata`, `/openapi.json`", "status": "the HTTP status that they got"},
)
VIEW_AGE = Family(
    "nonroot_view_age_seconds",
    "gauge",
    "Seconds since the view of namespaces, policies and exceptions was confirmed; infinite before the first.",
)
IMAGE_IDENTITIES = Family("nonroot_image_identities", "gauge", "ImageIdentity objects that are known here.")
BACKGROUND_WRITES = Family(
    "nonroot_background_writes_total",
    "counter",
    "Objects to write to the API server in the background.",
    {"kind": "`ImageIdentity`, `Event`", "outcome": "`written`, `failed`, `dropped`"},
)
CERTIFICATE_EXPIRY = Family(
    "nonroot_certificate_expiry_timestamp_seconds",
    "gauge",
    "When a certificate ends, in seconds since 1970.",
    {"certificate": "`serving`; of the controller also `ca`"},
)
REGISTRY_REQUESTS = Family(
    "nonroot_registry_requests_total",
    "counter",
    "Requests to registries, by whose they are. A demand for a token counts as unauthorized.",
    {
        "host_class": "`hub` (Docker Hub), `public`, `cloud` (of a cloud's customer), `own` (any other)",
        "outcome": "`ok`, `unauthorized`, `notFound`, `rateLimited`, `unreachable`, `invalid`, `tooLarge`, `abandoned`",
    },
)
REGISTRY_BYTES = Family(
    "nonroot_registry_read_bytes_total",
    "counter",
    "Bytes read from registries.",
    {"host_class": REGISTRY_REQUESTS.labels["host_class"]},
)
CACHE_LOOKUPS = Family(
    "nonroot_cache_lookups_total",
    "counter",
    "What memory was asked for before a registry was.",
    {
        "level": "`answer` (a whole image), `tag` (its digest), `identity` (an ImageIdentity), `document` (a manifest or "
        "config), `layer` (its accounts files)",
        "result": "`hit`, `miss`",
    },
)
REGISTRY_FAULTS = Family(
    "nonroot_registry_faults_total",
    "counter",
    "Images that were not read because of an error of our own, which the log has; they count as invalid. Must stay zero.",
)
CERTIFICATE_WRITES = Family("nonroot_certificate_writes_total", "counter", "Secrets and caBundles that were written.")
WORKLOADS = Family(
    "nonroot_workloads",
    "gauge",
    "Workloads as they were last scanned, by the mode in force and by what becomes of them once enforced.",
    {
        # `namespace` would meet the label that Prometheus gives to every metric of a Pod.
        "resource_namespace": "the thousand namespaces with the most workloads; empty for the sum of all others",
        "mode": "`Audit`, `Warn`, `Enforce`",
        "state": "`unchanged`, `fixed`, `refused`, `unknown`, `excepted`: the former names of `verdict`",
        "verdict": "`compliant`, `fixable`, `denied`, `unknown`, `exempted`",
    },
)
ROOT_WORKLOADS = Family("nonroot_root_workloads", "gauge", "Workloads that run as uid 0 now, by what kubelets report.")
SCAN_TIMESTAMP = Family(
    "nonroot_scan_timestamp_seconds", "gauge", "When the last scan was made, in seconds since 1970."
)
SCAN_DURATION = Family("nonroot_scan_duration_seconds", "gauge", "How long the last scan took.")
WEAKENED = Family(
    "nonroot_enforcement_weakened_timestamp_seconds",
    "gauge",
    "When a namespace went from Enforce to a lesser mode, or root was allowed there, for the last time, in seconds since 1970; "
    "0: never. An Event names each.",
)
WEAKENED_NAMESPACES = Family(
    "nonroot_enforcement_weakened_total",
    "counter",
    "Namespaces that went from Enforce to a lesser mode, or where root was allowed, since the controller started.",
)
FAIL_OPEN = Family(
    "nonroot_fail_open_namespaces",
    "gauge",
    "Enforced namespaces whose Pods are admitted while admission is away: a policy enforces them, and no label does.",
)
MISMATCHES = Family(
    "nonroot_identity_mismatches_total",
    "counter",
    "Containers that a kubelet reports as somebody else than was predicted. Must stay zero.",
)
INJECTION_FAILURES = Family(
    "nonroot_injection_failures_total",
    "counter",
    "Patched containers that do not start, or die within seconds, as the injected field causes; an Event names each.",
    {
        "field": "the likeliest: `runAsNonRoot`, `capabilities`, `allowPrivilegeEscalation`, `seccompProfile`, `runAsUser`, "
        "`runAsGroup`"
    },
)
REPORT_WRITES = Family("nonroot_report_writes_total", "counter", "Policy reports created, replaced or deleted.")
IDENTITY_WRITES = Family(
    "nonroot_image_identity_writes_total",
    "counter",
    "ImageIdentity objects that the controller created, changed or deleted.",
)

_BACKGROUND = (REGISTRY_REQUESTS, REGISTRY_BYTES, REGISTRY_FAULTS, CACHE_LOOKUPS, BACKGROUND_WRITES)
ADMISSION = (
    *(
        BUILD_INFO,
        REVIEWS,
        REVIEW_DURATION,
        FINDINGS,
        VERIFICATIONS,
        EXEMPTED_CONTAINERS,
        INJECTIONS,
        MALFORMED,
        IDENTITY_REQUESTS,
        VIEW_AGE,
        CERTIFICATE_EXPIRY,
    ),
    *(*_BACKGROUND, IMAGE_IDENTITIES),
)
CONTROLLER = (
    *(BUILD_INFO, WORKLOADS, ROOT_WORKLOADS, MISMATCHES, INJECTION_FAILURES),
    *(SCAN_TIMESTAMP, SCAN_DURATION, REPORT_WRITES, IDENTITY_WRITES),
    *(WEAKENED, WEAKENED_NAMESPACES, FAIL_OPEN, CERTIFICATE_EXPIRY, CERTIFICATE_WRITES, *_BACKGROUND),
)


class BuildInfo(Collector):
    """The version of the process."""

    def collect(self) -> Iterable[Metric]:
        """The family, for prometheus-client."""
        yield BUILD_INFO.of([((__version__,), 1)])


class Writes(Protocol):
    """The counts of a `webhook.cluster.workqueue.WorkQueue`."""

    written: int
    failed: int
    dropped: int


class Background(Collector):
    """The metrics of look-ups at registries and of background writes; `writers` are by the kind that they write."""

    def __init__(self, stats: RegistryStats, **writers: Writes) -> None:
        self.writers = writers
        self._stats = stats

    def collect(self) -> Iterable[Metric]:
        """The families, for prometheus-client."""
        yield REGISTRY_REQUESTS.of(self._stats.requests.items())
        yield REGISTRY_BYTES.of(((kind,), cost.bytes_read) for kind, cost in self._stats.costs.items())
        yield REGISTRY_FAULTS.at(self._stats.faults)
        yield CACHE_LOOKUPS.of(self._stats.known.items())
        yield BACKGROUND_WRITES.of(
            ((kind, outcome), getattr(counts, outcome))
            for kind, counts in self.writers.items()
            for outcome in ("written", "failed", "dropped")
        )
