"""The stored identities over time: a plan that is empty while nothing changes, and its writes."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from webhook.cluster.client import Cluster
from webhook.cluster.errors import Absent
from webhook.controller import image_identities as identities
from webhook.controller.image_identities import RETENTION, Plan, Reconciler, Use, plan
from webhook.image import image_identity
from webhook.image.config import Platform
from webhook.image.identity_index import IdentityIndex
from webhook.image.image_identity import ImageIdentity, ImageIdentitySpec, Observation

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DIGEST, OTHER = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32
IMAGE = "registry.example/app:1"
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
NODES = (AMD64,)
USES = {(IMAGE, DIGEST)}


def fact(**more: Any) -> Observation:
    return Observation(
        **{"image": IMAGE, "digest": DIGEST, "platform": AMD64, "uid": 1500, "gid": 1600, "groups": (1600,), **more}
    )


def stored(days: float = 0, *, digest: str = DIGEST, **more: Any) -> ImageIdentity:
    """What was written some days ago; `more` are fields of the spec."""
    made = image_identity.of_observation(fact(digest=digest), NODES, NOW - timedelta(days=days))
    assert made is not None
    return ImageIdentity(made.name, msgspec.structs.replace(made.spec, **more), "7")


def planned(
    *there: ImageIdentity,
    observations: tuple[Observation, ...] = (),
    uses: set[Use] = USES,
    nodes: tuple[Platform, ...] = NODES,
) -> Plan:
    return plan(there, observations, uses, nodes, NOW)


def changed(before: ImageIdentity, **given: Any) -> dict[str, Any]:
    """The fields that are to change of one object, and nothing else is to happen."""
    found = planned(before, **given)
    assert (found.creations, found.removals) == ((), ())
    ((identity, fields),) = found.changes
    assert identity is before
    return wire(fields)


def wire(fields: Mapping[str, Any]) -> dict[str, Any]:
    """As the API server gets them."""
    sent: dict[str, Any] = json.loads(json.dumps(fields))
    return sent


def after(before: ImageIdentity, fields: dict[str, Any]) -> ImageIdentity:
    """The object as the API server has it then."""
    merged = msgspec.to_builtins(before.spec) | fields
    spec = {key: value for key, value in merged.items() if value is not None}
    return ImageIdentity(before.name, msgspec.convert(spec, ImageIdentitySpec), "8")


def test_what_a_node_shows_is_created_once() -> None:
    (made,) = planned(observations=(fact(),)).creations
    assert made == ImageIdentity(stored().name, stored().spec)
    assert planned(made, observations=(fact(),)) == Plan()


def test_what_is_in_use_is_seen_once_a_day() -> None:
    assert planned(stored(0.9)) == Plan()
    assert changed(stored(1.0)) == {"lastSeen": "2026-06-01T12:00:00Z"}
    assert planned(stored(29.9), uses=set()) == Plan()


def test_what_nobody_runs_for_a_month_is_forgotten() -> None:
    old = stored(RETENTION / timedelta(days=1))
    assert planned(old, uses=set()) == Plan(removals=(old,))
    assert changed(old).keys() == {"lastSeen"}


@pytest.mark.parametrize("source", ["registry", "observed"])
def test_other_tags_of_the_repository_become_aliases(source: str) -> None:
    uses = {
        (IMAGE, DIGEST),
        ("registry.example/app:latest", DIGEST),
        ("registry.example/other:1", DIGEST),
        ("registry.example/app:2", OTHER),
        (f"registry.example/app@{DIGEST}", DIGEST),
    }
    before = stored(source=source)
    fields = changed(before, uses=uses)
    assert fields == {"aliases": ["registry.example/app:latest"]}
    assert planned(after(before, fields), uses=uses) == Plan()


@pytest.mark.parametrize(
    ("before", "shown", "fields"),
    [
        pytest.param({}, {"user": "1500"}, {"user": "1500"}, id="a kubelet has verified the number"),
        pytest.param({"user": "1500"}, {}, {}, id="and that stays"),
        pytest.param({"groups": ()}, {}, {"groups": [1600]}, id="a Pod that adds no groups"),
        pytest.param({}, {"groups": None}, {}, id="one that does"),
        pytest.param({}, {"uid": 1501}, {"uid": 1501}, id="what was stored is wrong"),
        pytest.param(
            {"user": "1500"},
            {"uid": 1501, "groups": None},
            {"uid": 1501, "user": None, "groups": None},
            id="and nothing of it is kept",
        ),
        pytest.param({"namespaces": ("shop",)}, {}, {"namespaces": None}, id="a Pod without pull secrets runs it"),
        pytest.param({}, {"namespace": "shop"}, {}, id="everybody may know already"),
        pytest.param(
            {"namespaces": ("shop",)}, {"namespace": "blog"}, {"namespaces": ["shop", "blog"]}, id="two namespaces"
        ),
        pytest.param(
            {"platforms": ("linux/amd64", "linux/arm64")}, {}, {"platforms": ["linux/amd64"]}, id="nodes have gone"
        ),
    ],
)
def test_what_nodes_show_now_counts(before: dict[str, Any], shown: dict[str, Any], fields: dict[str, Any]) -> None:
    there = stored(**before)
    found = planned(there, observations=(fact(**shown),))
    assert [wire(each) for _, each in found.changes] == ([fields] if fields else [])
    assert planned(after(there, fields), observations=(fact(**shown),)) == Plan()


def test_a_node_of_another_platform_makes_all_knowledge_incomplete() -> None:
    there = stored()
    fields = changed(there, observations=(fact(),), nodes=(ARM64, AMD64))
    assert fields == {"platforms": ["linux/amd64", "linux/arm64"]}


def test_nothing_that_nodes_show_changes_the_identity_from_a_registry() -> None:
    there = stored(uid=7, source="registry")
    there = ImageIdentity(there.proper_name, there.spec)
    found = planned(there, observations=(fact(),))
    assert (len(found.creations), found.changes, found.removals) == (1, (), ())


def test_an_object_with_a_former_name_goes_once_the_same_is_stored_by_its_proper_one() -> None:
    there = stored()
    name = f"{DIGEST}-linux-amd64-1a2b3c4d.observed".replace(":", "-")
    former = ImageIdentity(name, msgspec.structs.replace(there.spec, digest=""))
    assert (former.digest, former.proper_name) == (DIGEST, there.name)
    (made,) = planned(former, observations=(fact(),)).creations
    assert made.name == there.name
    assert planned(former) == Plan()
    assert planned(former, there, observations=(fact(),)) == Plan(removals=(former,))


def test_nodes_that_contradict_each_other_are_not_believed() -> None:
    both = (fact(), fact(uid=0, image="registry.example/app:2"))
    assert planned(observations=both) == Plan()
    assert planned(stored(), observations=both).removals == (stored(),)
    assert planned(observations=(fact(), fact(groups=(5, 1600)))) == Plan()
    assert len(planned(observations=(fact(), fact(groups=None))).creations) == 1


def test_several_pods_of_one_image_are_one_object() -> None:
    observations = (fact(namespace="shop", groups=None), fact(namespace="blog"), fact(namespace="shop", user="1500"))
    (made,) = planned(observations=observations).creations
    assert (made.spec.namespaces, made.spec.user, made.spec.groups) == (("blog", "shop"), "1500", (1600,))
    (made,) = planned(observations=(*observations, fact())).creations
    assert made.spec.namespaces == ()


def test_beyond_the_capacity_the_longest_unseen_goes_and_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identities, "CAPACITY", 2)
    digests = [f"sha256:{number:064d}" for number in range(4)]
    there = [stored(days, digest=digest) for days, digest in zip((3, 5, 4, 0), digests, strict=True)]
    found = planned(*there, observations=(fact(),), uses={(IMAGE, digests[3])})
    assert found.removals == (there[1], there[2])
    assert found.creations == ()
    assert len(planned(there[0], observations=(fact(), fact(digest=OTHER)), uses=set()).creations) == 1
    in_use = {(IMAGE, digest) for digest in digests}
    assert planned(*there, uses=in_use).removals == ()  # of what is in use nothing is forgotten


async def kept(api: Cluster, observations: tuple[Observation, ...], uses: set[Use], now: datetime) -> int:
    """One round of a controller that has just started; how much it wrote."""
    reconciler = Reconciler(api, IdentityIndex())
    await reconciler.load()
    await reconciler.reconcile(observations, uses, NODES, now)
    return reconciler.writes


async def test_without_the_crd_nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    async def absent(*_: Any, **__: Any) -> bytes:
        raise Absent("no such kind")

    connection = Cluster()
    monkeypatch.setattr(connection, "call", absent)
    assert await kept(connection, (fact(),), USES, NOW) == 0
