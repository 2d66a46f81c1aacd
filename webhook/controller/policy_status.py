"""The status of policies and exceptions, written whenever it changes, with an Event when it turns bad.

Every round reads all there is and compares: nothing is remembered between two, so that a controller that is killed anywhere
is continued by the next one, and a round in which nothing has changed writes nothing.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from webhook import metrics
from webhook.cluster import client
from webhook.cluster.client import Cluster
from webhook.cluster.errors import Absent, Conflict, Denied, Forbidden
from webhook.cluster.events import Event, Regarding
from webhook.cluster.object_meta import ObjectMeta
from webhook.controller import default_policy, enforcement_record
from webhook.controller.enforcement_record import NAMESPACES_LIMIT, Enforced, Record
from webhook.controller.kept_record import KeptRecord
from webhook.controller.namespace_labels import label_change
from webhook.policy import conditions as status
from webhook.policy.cache import PolicySnapshot, StoredObject, accept, in_force
from webhook.policy.conditions import Condition, ExceptionStatus, Outcomes, PolicyScope, PolicyStatus
from webhook.policy.exemptions import exempts
from webhook.policy.selection import EffectivePolicy, Namespace
from webhook.policy.types import API_VERSION, Documents, NonRootException, NonRootPolicy
from webhook.scan.collector import read_coverage
from webhook.scan.coverage import DEFAULT, Coverage

POLICIES, EXCEPTIONS = "nonrootpolicies", "nonrootexceptions"
# The status that is bad news.
_TROUBLE = {
    "Ready": "False",
    "NamespaceLabelsValid": "False",
    "FieldsKnown": "False",
    "FailsOpen": "True",
    "ExemptsRoot": "True",
    "ExpiresSoon": "True",
}

S = TypeVar("S", PolicyStatus, ExceptionStatus)

log = logging.getLogger(__name__)


class VersionedMeta(ObjectMeta, frozen=True, gc=False):
    """The metadata of one version of an object, with its labels and annotations."""

    generation: int = 0
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class _StoredDocument(msgspec.Struct, frozen=True):
    metadata: VersionedMeta
    spec: msgspec.Raw = msgspec.Raw(b"{}")
    status: msgspec.Raw = msgspec.Raw(b"{}")


class Item(msgspec.Struct, frozen=True):
    """A policy or exception as it is stored, what is in force of it, and its spec and status as they stand."""

    metadata: VersionedMeta
    stored: StoredObject
    spec: msgspec.Raw
    status: msgspec.Raw


class ClusterState(msgspec.Struct, frozen=True):
    """The namespaces, policies and exceptions of a cluster."""

    namespaces: tuple[VersionedMeta, ...]
    policies: tuple[Item, ...]
    exceptions: tuple[Item, ...]

    def view(self) -> PolicySnapshot:
        """A snapshot of the policies that are in force, by namespace."""
        documents = in_force(each.stored for each in (*self.policies, *self.exceptions))
        return PolicySnapshot(documents, {each.name: Namespace(each.name, each.labels) for each in self.namespaces})


async def read(api: Cluster) -> ClusterState:
    """All there is now; without our CRDs there are namespaces only. Raises `ClusterError`."""
    namespaces = [
        client.decode(raw, _StoredDocument, "a namespace").metadata
        async for page in api.pages("/api/v1/namespaces", "namespaces")
        for raw in page
    ]
    policies, exceptions = (
        await _items(api, POLICIES, "NonRootPolicy"),
        await _items(api, EXCEPTIONS, "NonRootException"),
    )
    return ClusterState(tuple(namespaces), policies, exceptions)


async def _items(api: Cluster, plural: str, kind: str) -> tuple[Item, ...]:
    found = []
    try:
        async for page in api.pages(f"/apis/{API_VERSION}/{plural}", plural):
            for raw in page:
                item = client.decode(raw, _StoredDocument, plural)
                # An item of a list may lack the two fields that the list itself has.
                stored = accept({"apiVersion": API_VERSION, "kind": kind, **msgspec.json.decode(raw)})
                found.append(Item(item.metadata, stored, item.spec, item.status))
    except Absent:
        return ()
    return tuple(found)


class PolicyStatusController(Collector):
    """Keeps every status up to date.

    `sums` are the last scan's, by policy, and `matches` the workloads of each exception, by namespace and name; None before
    the first scan, which keeps old ones. `view` is what applies where, as the last round found it.

    `hooks` is the ValidatingWebhookConfiguration that says of which namespaces the API server admits Pods unchecked while
    admission is away. With `labels_namespaces` it labels those that policies ask for, with `creates_default` it creates the
    policy of that name; each needs a right of its own. Where nothing `scans`, what was counted before is said to be old.
    """

    def __init__(
        self,
        api: Cluster,
        record: Callable[[Event], None],
        hooks: str = "nonroot-webhook",
        *,
        labels_namespaces: bool = False,
        creates_default: bool = False,
        enforcement: KeptRecord[Record] | None = None,
        scans: bool = True,
    ) -> None:
        self._api = api
        self._record = record
        self._hooks = hooks
        self._labels_namespaces = labels_namespaces
        self._creates_default = creates_default
        self._scans = scans
        self._announced: set[tuple[str, str]] = set()
        self._enforcement = enforcement or enforcement_record.in_config_map(api)
        self._weakened_at: datetime | None = None
        self._weakened = 0
        self._fail_open = 0
        self.sums: dict[str, Outcomes] | None = None
        self.matches: Mapping[tuple[str, str], int] | None = None
        self.view = PolicySnapshot(Documents(), {})

    async def round(self, now: datetime) -> tuple[ClusterState, datetime | None]:
        """Read, compare and write; gives what was read, and when time alone will make a difference. `ClusterError`."""
        state = await read(self._api)
        try:
            coverage = await read_coverage(self._api, self._hooks)
        except Forbidden:
            coverage = DEFAULT
        now = now.replace(microsecond=0)  # as Kubernetes has its times
        self.view = view = state.view()
        effective = {each.name: view.effective_policy(each.name) for each in state.namespaces}
        self._announce(state, effective)
        enforced = self._compare(await self._enforcement.read(), state, effective, now)
        self._weakened_at = enforced.weakened_at
        await self._enforcement.write(enforced)
        open_namespaces = _fail_open(state, effective, coverage)
        self._fail_open = len(open_namespaces)
        for each in state.policies:
            sums = None if self.sums is None else self.sums.get(each.metadata.name, Outcomes())
            scope = _scope(each.stored, state, effective, open_namespaces)
            former = _former(each, PolicyStatus)
            spec, generation = msgspec.json.decode(each.spec), each.metadata.generation
            new = status.of_policy(each.stored, spec, scope, sums, former, generation, now, scans=self._scans)
            await self._write(POLICIES, "NonRootPolicy", each, former, new)
        places = {each.metadata.namespace for each in state.exceptions}
        counted = {(place, each.metadata.name) for place in places for each in view.exceptions(place)}
        for each in state.exceptions:
            old = _former(each, ExceptionStatus)
            effective_policy = view.effective_policy(each.metadata.namespace)
            key = (each.metadata.namespace, each.metadata.name)
            matches = None if self.matches is None else self.matches.get(key, 0)
            generation = each.metadata.generation
            made = status.of_exception(
                each.stored,
                effective_policy,
                matches,
                old,
                generation,
                now,
                scans=self._scans,
                beyond_limit=key not in counted,
            )
            await self._write(EXCEPTIONS, "NonRootException", each, old, made)
        if self._labels_namespaces:
            await self._label(state, coverage)
        if self._creates_default and all(each.metadata.name != default_policy.NAME for each in state.policies):
            await default_policy.create(self._api)
        usable = [each.stored.document for each in state.exceptions]
        return state, status.next_change((each for each in usable if isinstance(each, NonRootException)), now)

    async def _write(self, plural: str, kind: str, item: Item, former: S, new: S) -> None:
        if new == former:
            return
        about = item.metadata
        place = f"namespaces/{about.namespace}/" if about.namespace else ""
        patch = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": about.resource_version},
            {"op": "add", "path": "/status", "value": new},
        ]
        what = f"the status of {kind} {about.namespace}/{about.name}".replace(" /", " ")
        path = f"/apis/{API_VERSION}/{place}{plural}/{about.name}/status"
        try:
            await self._api.call("PATCH", path, what, msgspec.to_builtins(patch), content_type=_JSON_PATCH)
        except (Conflict, Denied) as error:  # it has changed, or is gone: which is heard of, and looked at again
            log.info("looking again: %s", error)
            return
        for condition in _turned_bad(former.conditions, new.conditions):
            regarding = Regarding(API_VERSION, kind, about.namespace, about.name, about.uid)
            self._record(Event(regarding, "controller", "Review", condition.reason, condition.message))

    async def _label(self, state: ClusterState, coverage: Coverage) -> None:
        """Put and take away the labels of namespaces as policies ask."""
        policies = in_force(each.stored for each in state.policies).policies
        for about in state.namespaces:
            change = label_change(policies, about.name, about.labels, about.annotations, coverage)
            if change is None:
                continue
            patch, what = change.patch(about.resource_version), f"the labels of Namespace {about.name}"
            try:
                await self._api.call("PATCH", f"/api/v1/namespaces/{about.name}", what, patch, content_type=_JSON_PATCH)
            except (Conflict, Denied) as error:
                log.info("looking again: %s", error)
                continue
            regarding = Regarding("v1", "Namespace", "", about.name, about.uid)
            self._record(Event(regarding, "controller", "Review", "NamespaceLabelled", change.note, "Normal"))

    def _announce(self, state: ClusterState, effective: dict[str, EffectivePolicy]) -> None:
        """Record an Event about each namespace whose label has no meaning, once."""
        problems = {(each.uid, effective[each.name].problem): each for each in state.namespaces}
        for key in problems.keys() - self._announced:
            if key[1]:
                about = problems[key]
                regarding = Regarding("v1", "Namespace", "", about.name, about.uid)
                self._record(Event(regarding, "controller", "Review", "BadLabel", key[1]))
        self._announced = {key for key in problems if key[1]}

    def _compare(
        self, former: Record, state: ClusterState, effective: Mapping[str, EffectivePolicy], now: datetime
    ) -> Record:
        """Record an Event about each namespace that is enforced less than in the former record; the record of today."""
        before = {uid: (name, each) for name, each in former.policies.items() for uid in each.namespaces}
        weakened_at = former.weakened_at
        for about in state.namespaces:
            rule = effective[about.name]
            change = _weakened(*before[about.uid], rule) if about.uid in before else ""
            if change:
                weakened_at = now
                self._weakened += 1
                regarding = Regarding("v1", "Namespace", "", about.name, about.uid)
                note = f"{change}, by policy {rule.policy.metadata.name}: {rule.why}"
                self._record(Event(regarding, "controller", "Review", "EnforcementWeakened", note))
        return Record(_enforced(state, effective), weakened_at)

    def collect(self) -> Iterable[Metric]:
        """The families, for prometheus-client."""
        yield metrics.WEAKENED.at(self._weakened_at.timestamp() if self._weakened_at else 0)
        yield metrics.WEAKENED_NAMESPACES.at(self._weakened)
        yield metrics.FAIL_OPEN.at(self._fail_open)


def _enforced(state: ClusterState, effective: Mapping[str, EffectivePolicy]) -> dict[str, Enforced]:
    """The namespaces that each policy enforces."""
    uids: dict[str, list[str]] = {}
    for about in state.namespaces[:NAMESPACES_LIMIT]:
        if effective[about.name].mode == "Enforce":
            uids.setdefault(effective[about.name].policy.metadata.name, []).append(about.uid)
    allows = {each.policy.metadata.name: each.policy.spec.allows_root for each in effective.values()}
    return {name: Enforced(tuple(found), allows[name]) for name, found in uids.items()}


def _weakened(policy: str, before: Enforced, now: EffectivePolicy) -> str:
    """The words for what a namespace that a policy enforced has lost, "" where nothing."""
    if now.mode != "Enforce":
        return f"enforced by policy {policy} until now, it is in mode {now.mode}"
    allowed = [each for each in now.policy.spec.allows_root if each not in before.allows_root]
    return f"{', '.join(allowed)} lets containers run as root" if allowed else ""


def _fail_open(state: ClusterState, effective: Mapping[str, EffectivePolicy], coverage: Coverage) -> frozenset[str]:
    """The enforced namespaces whose Pods the API server admits where admission does not answer."""
    return frozenset(
        each.name
        for each in state.namespaces
        if effective[each.name].mode == "Enforce"
        and not exempts(effective[each.name].policy.spec, each.name)
        and coverage.fails_open(Namespace(each.name, each.labels))
    )


def _scope(
    stored: StoredObject, state: ClusterState, effective: Mapping[str, EffectivePolicy], fail_open: Collection[str]
) -> PolicyScope:
    policy = stored.document
    if not isinstance(policy, NonRootPolicy):
        return PolicyScope({})
    selector = policy.spec.namespace_selector
    selected = {
        each.name: effective[each.name]
        for each in state.namespaces
        if selector.matches(Namespace(each.name, each.labels).selectable)
    }
    name = policy.metadata.name
    return PolicyScope(
        selected, [each for each, rule in selected.items() if each in fail_open and rule.policy.metadata.name == name]
    )


_JSON_PATCH = "application/json-patch+json"


def _former(item: Item, kind: type[S]) -> S:
    """The status as it stands; an empty one where somebody has written what is none."""
    try:
        return msgspec.json.decode(item.status, type=kind)
    except msgspec.DecodeError:
        return kind()


def _turned_bad(former: tuple[Condition, ...], new: tuple[Condition, ...]) -> list[Condition]:
    known: set[Any] = {(each.type, each.status, each.reason) for each in former}
    return [
        each
        for each in new
        if _TROUBLE.get(each.type) == each.status and (each.type, each.status, each.reason) not in known
    ]
