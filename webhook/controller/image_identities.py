"""The reconciliation of ImageIdentity objects: those that nodes show are added, those out of use are removed.

reconciler = Reconciler(cluster, index)
await reconciler.load()                         # before a scan: what is stored, into `index`
await reconciler.reconcile(reader.observations, reader.uses, reader.platforms, now)       # after it; raises `ClusterError`
"""

import logging
from collections import defaultdict
from collections.abc import Awaitable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import msgspec

from webhook.cluster import image_identities
from webhook.cluster.client import Cluster
from webhook.cluster.errors import Absent, Denied
from webhook.image import image_identity, reference
from webhook.image.config import Platform
from webhook.image.identity_index import IdentityIndex
from webhook.image.image_identity import ALIASES_LIMIT, NAMESPACES_LIMIT, ImageIdentity, ImageIdentitySpec, Observation

DAY = timedelta(days=1)  # between two updates of `lastSeen`
RETENTION = timedelta(days=30)  # after which what nobody runs is forgotten
CAPACITY = 20_000  # objects; beyond, what was not seen for longest goes first, and nothing is added
WRITES = 1000  # a round; the rest is for the next one

log = logging.getLogger(__name__)

Use = tuple[str, str]
"""A normalised reference, and the digest that some node runs for it."""


class Plan(msgspec.Struct, frozen=True):
    """The writes that are due: objects to create, fields of the spec to change, objects to remove."""

    creations: tuple[ImageIdentity, ...] = ()
    changes: tuple[tuple[ImageIdentity, Mapping[str, Any]], ...] = ()
    removals: tuple[ImageIdentity, ...] = ()


def plan(
    stored: Collection[ImageIdentity],
    facts: Iterable[Observation],
    uses: Iterable[Use],
    nodes: tuple[Platform, ...],
    now: datetime,
) -> Plan:
    """The writes by which the stored identities match what nodes run.

    Where nothing has changed for a day there is nothing to write. `nodes` are the platforms of all nodes. Where nodes
    contradict each other about one image, neither is believed.
    """
    names: dict[str, set[str]] = defaultdict(set)
    for image, digest in uses:
        names[digest].add(image)
    shown, contradicted = _shown(facts, nodes, now)
    known = {each.name for each in stored}
    old = [
        each
        for each in stored
        if each.name in contradicted or _outlived(each, names.keys(), now) or _replaced(each, known)
    ]
    gone = {each.name for each in old}
    kept = [each for each in stored if each.name not in gone]
    idle = sorted((each for each in kept if each.digest not in names), key=lambda each: each.spec.last_seen)
    crowd = idle[: max(0, len(kept) - CAPACITY)]
    gone |= {each.name for each in crowd}
    room = max(0, CAPACITY - (len(stored) - len(gone)))
    changes = (
        (each, fields)
        for each in kept
        if each.name not in gone and (fields := _fields(each.spec, _wanted(each, shown.get(each.name), names, now)))
    )
    return Plan(
        tuple(islice((each for name, each in shown.items() if name not in known), room)), tuple(changes), (*old, *crowd)
    )


def _shown(
    facts: Iterable[Observation], nodes: tuple[Platform, ...], now: datetime
) -> tuple[dict[str, ImageIdentity], set[str]]:
    """The identities that nodes show now, by name, and the names about which they do not agree."""
    shown: dict[str, ImageIdentity] = {}
    contradicted: set[str] = set()
    for fact in sorted(facts, key=lambda each: each.image):
        made = image_identity.of_observation(fact, nodes, now)
        if made is None:
            continue
        one = shown.setdefault(made.name, made)
        spec, other = one.spec, made.spec
        if (spec.uid, spec.gid) != (other.uid, other.gid) or (
            spec.groups and other.groups and spec.groups != other.groups
        ):
            contradicted.add(made.name)
        namespaces = () if not (spec.namespaces and other.namespaces) else tuple({*spec.namespaces, *other.namespaces})
        merged = msgspec.structs.replace(
            spec,
            user=spec.user if other.user is None else other.user,
            groups=spec.groups or other.groups,
            namespaces=tuple(sorted(namespaces)[:NAMESPACES_LIMIT]),
        )
        shown[made.name] = ImageIdentity(made.name, merged)
    for name in contradicted:
        del shown[name]
    return shown, contradicted


def _outlived(identity: ImageIdentity, used: Collection[str], now: datetime) -> bool:
    return identity.digest not in used and now - identity.spec.last_seen >= RETENTION


def _replaced(identity: ImageIdentity, known: Collection[str]) -> bool:
    """Whether it has a former version's name, and the same is stored by the proper one."""
    return identity.name != identity.proper_name and identity.proper_name in known


def _wanted(
    identity: ImageIdentity, shown: ImageIdentity | None, names: Mapping[str, Collection[str]], now: datetime
) -> ImageIdentitySpec:
    """The spec as it should be."""
    spec = identity.spec
    if identity.digest in names and now - spec.last_seen >= DAY:
        spec = msgspec.structs.replace(spec, last_seen=now)
    if shown is not None:
        news = shown.spec
        agree = (spec.uid, spec.gid) == (news.uid, news.gid)
        closed = spec.namespaces and news.namespaces
        spec = msgspec.structs.replace(
            spec,
            uid=news.uid,
            gid=news.gid,
            groups=spec.groups if agree and not news.groups else news.groups,
            user=spec.user if agree and news.user is None else news.user,
            platforms=news.platforms,
            namespaces=_more(spec.namespaces, news.namespaces, NAMESPACES_LIMIT) if closed else (),
        )
    repository = reference.parse(spec.image).name
    others = {each for each in names.get(identity.digest, ()) if each != spec.image and _tags(each, repository)}
    return msgspec.structs.replace(spec, aliases=_more(spec.aliases, others, ALIASES_LIMIT))


def _more(old: Sequence[str], new: Iterable[str], limit: int) -> tuple[str, ...]:
    return (*old, *sorted(set(new) - set(old)))[:limit]


def _tags(image: str, repository: str) -> bool:
    """Whether it is a tag of that repository; digests are found by themselves."""
    parsed = reference.parse(image)
    return parsed.name == repository and parsed.digest is None


def _fields(old: ImageIdentitySpec, new: ImageIdentitySpec) -> dict[str, Any]:
    """The fields that differ, as a merge patch has them: what is left out is None there."""
    if old == new:
        return {}
    before, after = msgspec.to_builtins(old), msgspec.to_builtins(new)
    return {key: after.get(key) for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def _writes(cluster: Cluster, todo: Plan) -> Iterator[Awaitable[None]]:
    """The writes one by one: what is not asked for is not begun."""
    yield from (image_identities.remove(cluster, each) for each in todo.removals)
    yield from (image_identities.create(cluster, each) for each in todo.creations)
    yield from (image_identities.change(cluster, each, fields) for each, fields in todo.changes)


class Reconciler:
    """Loads what is stored into `index` and writes what `plan` says; without the CRD it does neither."""

    def __init__(self, cluster: Cluster, index: IdentityIndex) -> None:
        self._cluster = cluster
        self.index = index
        self._stored: list[ImageIdentity] | None = None
        self.writes = 0

    async def load(self) -> None:
        """Read all that is stored."""
        try:
            self._stored = [each async for each in image_identities.listed(self._cluster)]
        except Absent:
            self._stored = None
            return
        for each in self._stored:
            self.index.update(each.name, each)
        self.index.replace([each.name for each in self._stored])

    async def save(self, facts: Iterable[Observation], nodes: tuple[Platform, ...], now: datetime) -> None:
        """Store an identity that is reported for the first time; whatever else follows from it is for the next `reconcile`."""
        shown, _ = _shown(facts, nodes, now)
        for each in islice(shown.values(), WRITES):
            repository = reference.parse(each.spec.image).name
            if len(self.index) >= CAPACITY or each.name in {
                known.name for known in self.index.of_digest(repository, each.digest)
            }:
                continue
            try:
                await image_identities.create(self._cluster, each)
            except Absent:
                return
            except Denied as error:  # this one alone
                log.warning("an ImageIdentity is not taken: %s", error)
                continue
            self.index.update(each.name, each)
            self.writes += 1

    async def reconcile(
        self, facts: Iterable[Observation], uses: Iterable[Use], nodes: tuple[Platform, ...], now: datetime
    ) -> None:
        """Write what has changed since `load`; what somebody else has changed meanwhile is left to the next round."""
        if self._stored is None:
            return
        todo = plan(self._stored, facts, uses, nodes, now)
        self._stored = None
        for write in islice(_writes(self._cluster, todo), WRITES):
            try:
                await write
            except Denied as error:  # this one alone
                log.warning("an ImageIdentity is not taken: %s", error)
                continue
            self.writes += 1
