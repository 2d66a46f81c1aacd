"""A watch on patched Pods: Pods that were patched and do not start, or die at once, as the injected fields would cause.

Every change of a Pod is heard from its metadata alone. Some seconds after the first, one patched Pod of each maker is read,
and again after later changes until one of its Pods has come past its first seconds: so that what is read grows with the
makers, not with the Pods. A thousand replicas fail for one reason.

What the container says may have other reasons than ours. So it is only reported where the image's layers are known to need
what a field takes away, or where the same image ran without our fields, started by the same command: what scans have seen since
the controller began. The runtime's own refusal needs no such proof.
"""

import asyncio
import heapq
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import msgspec
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from webhook import metrics
from webhook.caching import LRUCache
from webhook.cluster.client import Cluster
from webhook.cluster.errors import ClusterError
from webhook.cluster.events import Event, Regarding
from webhook.cluster.object_meta import Object, Owned
from webhook.controller.loop import Interval
from webhook.errors import InvalidReference
from webhook.evaluation import start_failure
from webhook.evaluation.start_failure import StartFailure
from webhook.image import reference
from webhook.image.identity_index import IdentityIndex
from webhook.image.image_identity import ImageFacts
from webhook.policy.cache import PolicyLister
from webhook.policy.types import NonRootPolicy
from webhook.text import quoted
from webhook.workload import container_status
from webhook.workload.annotations import ANNOTATION
from webhook.workload.container_status import Pod, Start

FIRST_LOOK = 5.0  # seconds from the first change of a maker's Pods until one is read
NEXT_LOOK = 10.0  # seconds between two looks at Pods of one maker at least
REPORTED_PAUSE = 60.0  # the same once it was reported that they fail
LOOKS = 5  # Pods that are read in a second at most
WAITING_LIMIT = 10_000  # makers whose Pods wait to be read; of others the next change is heard
REMEMBERED = 4 << 20  # bytes of makers, and of containers that were reported: some 20,000 each
RECENT = timedelta(minutes=10)  # the age of a Pod that is read though nothing has changed since the controller began
IDLE = 3600.0  # seconds without a look where nothing changes


class _Annotations(msgspec.Struct, frozen=True):
    injected: str = msgspec.field(default="", name=ANNOTATION)


class _Labels(msgspec.Struct, frozen=True):
    revision: str = msgspec.field(default="", name="controller-revision-hash")


class _PodMeta(Owned, frozen=True, gc=False, kw_only=True):
    creation_timestamp: datetime
    annotations: _Annotations = _Annotations()
    labels: _Labels = _Labels()


_OBJECT = msgspec.json.Decoder(Object[_PodMeta])


class PatchedPods(Collector):
    """The watch: a store of Pods' metadata, and `round`, which reads what is due. The owner sets off rounds by `due`.

    `ran` says whether something was seen to run unpatched, `known` has what is stored of images, and `view` gives what
    policies apply where.
    """

    def __init__(
        self,
        api: Cluster,
        record: Callable[[Event], None],
        ran: Callable[[Start], bool],
        known: IdentityIndex,
        view: Callable[[], PolicyLister],
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api = api
        self._record = record
        self._ran = ran
        self._known = known
        self._view = view
        self._clock = clock
        self._now = now
        self._listed = False
        self._waiting: dict[int, str] = {}  # the Pod to read, by its maker
        self._times: list[tuple[float, int]] = []  # a heap: when, and which maker's
        self._pauses: LRUCache[int, float] = LRUCache(REMEMBERED)  # until when a maker's Pods are not read
        self._reported: LRUCache[tuple[str, str], bool] = LRUCache(REMEMBERED)
        self._counts = dict.fromkeys(start_failure.FIELDS, 0)
        self.due = asyncio.Event()

    def update(self, key: str, raw: msgspec.Raw) -> None:
        """Take note of a Pod that has changed."""
        about = _OBJECT.decode(raw).metadata
        if not about.annotations.injected or (not self._listed and self._now() - about.creation_timestamp > RECENT):
            return
        maker = (about.controller or about).uid
        self._wait(hash((maker, about.labels.revision, about.annotations.injected)), key, FIRST_LOOK)

    def delete(self, key: str) -> None:
        """A Pod that is gone is found to be when its turn comes."""

    def replace(self, keys: Collection[str]) -> None:  # noqa: ARG002 - as any store
        """From the first listing on, every change is news."""
        self._listed = True

    def _wait(self, maker: int, key: str, pause: float) -> None:
        if maker in self._waiting or len(self._waiting) >= WAITING_LIMIT:
            return
        when = max(self._clock() + pause, self._pauses.get(maker) or 0.0)
        if when == math.inf:  # they start
            return
        self._waiting[maker] = key
        heapq.heappush(self._times, (when, maker))
        self.due.set()

    async def round(self) -> Interval:
        """Read the Pods whose time has come. Raises `ClusterError`; that one is then tried again."""
        for _ in range(LOOKS):
            if not self._times or self._times[0][0] > self._clock():
                break
            _, maker = heapq.heappop(self._times)
            key = self._waiting.pop(maker)
            try:
                await self._look(maker, key)
            except ClusterError:
                self._wait(maker, key, NEXT_LOOK)
                raise
        left = self._times[0][0] - self._clock() if self._times else IDLE
        return Interval(1.0, max(1.0, left))

    async def _look(self, maker: int, key: str) -> None:
        namespace, _, name = key.partition("/")
        path = f"/api/v1/namespaces/{namespace}/pods?fieldSelector={quote(f'metadata.name={name}')}"
        pause = NEXT_LOOK
        async for page in self._api.pages(path, f"Pod {key}"):
            for raw in page:
                pause = self._evaluate(container_status.decode(raw))
        self._pauses.put(maker, self._clock() + pause)

    def _evaluate(self, pod: Pod) -> float:
        """Record what fails; the seconds until the next look at Pods of the same maker."""
        policy = self._view().effective_policy(pod.metadata.namespace or "").policy
        reported = [self._report(pod, each, policy) for each in start_failure.failures(pod)]
        if any(reported):
            return REPORTED_PAUSE
        return math.inf if start_failure.started(pod, self._now()) else NEXT_LOOK

    def _facts(self, failure: StartFailure) -> Iterator[ImageFacts]:
        """The stored facts about the layers of the container's image."""
        try:
            repository = reference.parse(failure.container.image or "").name
        except InvalidReference:
            return
        for each in self._known.of_digest(repository, failure.digest):
            if each.spec.facts is not None:
                yield each.spec.facts

    def _report(self, pod: Pod, failure: StartFailure, policy: NonRootPolicy) -> bool:
        """Tell of a failure, if there is enough to say that a field of ours is its cause; whether there is."""
        ran = any(map(self._ran, container_status.starts(failure.container, failure.digest)))
        facts = next(
            filter(None, (start_failure.blamed(failure, each, policy.spec) for each in self._facts(failure))), ()
        )
        match failure.proof:
            case "words":
                fields, likely = failure.fields, "The cause is most likely"
            case _ if facts:
                fields, likely = facts, "The cause is most likely"
            case "unpatched" if ran:
                fields, likely = failure.fields, "A possible cause is"
            case _:
                return False
        about, container, field = pod.metadata, failure.container, fields[0]
        key = (about.uid, container.name)
        if not self._reported.get(key):
            self._reported.put(key, value=True, weight=sum(map(len, key)))
            self._counts[field] += 1
        others = f" (or {', '.join(fields[1:])})" if fields[1:] else ""
        without = "; the same image ran without it" if ran else ""
        note = (
            f"container {quoted(container.name, 63)} {failure.symptom}. {likely} the injected {field}{others}{without}. "
            f"To leave it out, write into NonRootPolicy {policy.metadata.name}: "
            f"{start_failure.remedy(field, container.image or '', policy.spec)}"
        )
        regarding = Regarding("v1", "Pod", about.namespace or "", about.name or "", about.uid)
        self._record(Event(regarding, "controller", "Watch", "InjectionStopsContainer", note))
        return True

    def collect(self) -> Iterable[Metric]:
        """The families, for prometheus-client."""
        yield metrics.INJECTION_FAILURES.of(((field,), count) for field, count in self._counts.items())
