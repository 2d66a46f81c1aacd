"""How policies and exceptions stand, written into their status whenever that changes, and told as an Event when it turns bad.

Every round reads all there is and compares: nothing is remembered between two, so that a controller that is killed anywhere
is continued by the next one, and a round in which nothing has changed writes nothing.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from webhook.cluster import client
from webhook.cluster.client import Absent, Cluster, Conflict
from webhook.cluster.events import Event, Regarding
from webhook.policy import conditions as status
from webhook.policy.cache import PolicySnapshot, Rejected, accept
from webhook.policy.conditions import Condition, ExceptionStatus, Outcomes, PolicyStatus
from webhook.policy.selection import EffectivePolicy, Namespace
from webhook.policy.types import API_VERSION, Documents, NonRootException, NonRootPolicy

POLICIES, EXCEPTIONS = "nonrootpolicies", "nonrootexceptions"
_TROUBLE = {"Ready": "False", "NamespaceLabelsValid": "False", "ExpiresSoon": "True"}  # the status that is bad news

S = TypeVar("S", PolicyStatus, ExceptionStatus)

log = logging.getLogger(__name__)


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    """What identifies one version of an object."""

    name: str
    uid: str
    namespace: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = {}


class _Object(msgspec.Struct, frozen=True):
    metadata: Metadata
    status: msgspec.Raw = msgspec.Raw(b"{}")


class Item(msgspec.Struct, frozen=True):
    """A policy or exception as it is stored: what it says, or why that cannot be used, and its status as it stands."""

    metadata: Metadata
    content: NonRootPolicy | NonRootException | Rejected
    status: msgspec.Raw

    @property
    def problem(self) -> str:
        """Why it cannot be used."""
        return self.content.reason if isinstance(self.content, Rejected) else ""


class ClusterState(msgspec.Struct, frozen=True):
    """The cluster as far as policies go."""

    namespaces: tuple[Metadata, ...]
    policies: tuple[Item, ...]
    exceptions: tuple[Item, ...]

    def view(self) -> PolicySnapshot:
        """What applies where."""
        documents = Documents(
            tuple(each.content for each in self.policies if isinstance(each.content, NonRootPolicy)),
            tuple(each.content for each in self.exceptions if isinstance(each.content, NonRootException)),
        )
        return PolicySnapshot(documents, {each.name: Namespace(each.name, each.labels) for each in self.namespaces})


async def read(api: Cluster) -> ClusterState:
    """All there is now; without our CRDs there are namespaces only. Raises `ClusterError`."""
    namespaces = [
        client.decode(raw, _Object, "a namespace").metadata
        async for page in api.pages("/api/v1/namespaces", "namespaces")
        for raw in page
    ]
    return ClusterState(tuple(namespaces), await _items(api, POLICIES), await _items(api, EXCEPTIONS))


async def _items(api: Cluster, plural: str) -> tuple[Item, ...]:
    found = []
    try:
        async for page in api.pages(f"/apis/{API_VERSION}/{plural}", plural):
            for raw in page:
                stored = client.decode(raw, _Object, plural)
                found.append(Item(stored.metadata, accept(msgspec.json.decode(raw)), stored.status))
    except Absent:
        return ()
    return tuple(found)


class PolicyStatusController:
    """Keeps every status up to date. `sums` are the last scan's, by policy: None before the first, which keeps old ones."""

    def __init__(self, api: Cluster, record: Callable[[Event], None]) -> None:
        self._api = api
        self._record = record
        self._announced: set[tuple[str, str]] = set()
        self.sums: dict[str, Outcomes] | None = None

    async def round(self, now: datetime) -> tuple[ClusterState, datetime | None]:
        """Read, compare and write; gives what was read, and when time alone will make a difference. `ClusterError`."""
        state = await read(self._api)
        now = now.replace(microsecond=0)  # as Kubernetes has its times
        view = state.view()
        governed = {each.name: view.effective_policy(each.name) for each in state.namespaces}
        self._announce(state, governed)
        for each in state.policies:
            name = each.metadata.name
            former = _former(each, PolicyStatus)
            sums = None if self.sums is None else self.sums.get(name, Outcomes())
            new = status.of_policy(name, each.problem, governed, sums, former, each.metadata.generation, now)
            await self._write(POLICIES, "NonRootPolicy", each, former, new)
        for each in state.exceptions:
            content = each.content if isinstance(each.content, NonRootException) else None
            old = _former(each, ExceptionStatus)
            effective_policy = view.effective_policy(each.metadata.namespace)
            made = status.of_exception(content, each.problem, effective_policy, old, each.metadata.generation, now)
            await self._write(EXCEPTIONS, "NonRootException", each, old, made)
        usable = (each.content for each in state.exceptions if isinstance(each.content, NonRootException))
        return state, status.next_change(usable, now)

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
        except Conflict as error:  # it has changed, or is gone: which is heard of, and looked at again
            log.info("looking again: %s", error)
            return
        for condition in _turned_bad(former.conditions, new.conditions):
            regarding = Regarding(API_VERSION, kind, about.namespace, about.name, about.uid)
            self._record(Event(regarding, "controller", "Review", condition.reason, condition.message))

    def _announce(self, state: ClusterState, governed: dict[str, EffectivePolicy]) -> None:
        """Tell of labels without a meaning on the namespaces themselves, once each."""
        problems = {(each.uid, governed[each.name].problem): each for each in state.namespaces}
        for key in problems.keys() - self._announced:
            if key[1]:
                about = problems[key]
                regarding = Regarding("v1", "Namespace", "", about.name, about.uid)
                self._record(Event(regarding, "controller", "Review", "BadLabel", key[1]))
        self._announced = {key for key in problems if key[1]}


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
