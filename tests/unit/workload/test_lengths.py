"""Names that are longer than any can be: cut or dropped, so that nothing keeps megabytes of them."""

import json

import msgspec
import pytest

from tests.support.pods import IMAGE, minimal, tweak
from webhook.errors import InvalidReference
from webhook.image import reference
from webhook.workload import lengths, workload
from webhook.workload.workload import Workload

LONG = "a" * 3_000_000
OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u", "controller": True}


def read(**changes: object) -> Workload:
    pod = tweak(minimal(), {key.replace("__", "."): value for key, value in changes.items()})
    found = workload.decode("Pod", json.dumps(pod).encode())
    assert found is not None
    return found


def test_what_can_be_is_left_as_it_is() -> None:
    digest = "sha512:" + "0" * 128
    longest = f"{'h' * 61}.{'h' * 61}.{'h' * 61}.{'h' * 60}:65535/{'p' * 255}:{'t' * 128}@{digest}"
    reference.parse(longest)
    found = read(spec__containers=[{"name": "c" * 253, "image": longest}], spec__imagePullSecrets=[{"name": "s" * 253}])
    assert lengths.bounded(found) is found


@pytest.mark.parametrize(
    "changes",
    [
        {"spec__containers": [{"name": "app", "image": LONG}]},
        {"spec__containers": [{"name": LONG, "image": IMAGE}]},
        {"spec__initContainers": [{"name": "app", "image": LONG}]},
        {"spec__imagePullSecrets": [{"name": LONG}, {"name": "good"}]},
        {"spec__serviceAccountName": LONG},
        {"metadata__name": LONG},
        {"metadata__namespace": LONG},
        {"metadata__ownerReferences": [{**OWNER, "name": LONG}, OWNER]},
        {"metadata__ownerReferences": [{**OWNER, "uid": LONG}, OWNER]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_cannot_be_is_cut_or_dropped(changes: dict[str, object]) -> None:
    found = lengths.bounded(read(**changes))
    assert len(msgspec.msgpack.encode(found)) < 5_000
    assert lengths.bounded(found) == found or len(found.name) <= lengths.NAME_LIMIT + 1


def test_a_cut_image_is_no_reference() -> None:
    """Else it could be another image."""
    found = lengths.bounded(read(spec__containers=[{"name": "app", "image": f"{'a' * 1024}/b:1"}]))
    (slot,) = found.slots()
    with pytest.raises(InvalidReference):
        reference.parse(slot.container.image or "")


def test_secrets_and_owners_that_can_be_stay() -> None:
    found = lengths.bounded(
        read(
            spec__imagePullSecrets=[{"name": LONG}, {"name": "good"}],
            metadata__ownerReferences=[{**OWNER, "kind": LONG}, OWNER],
        )
    )
    assert [each.name for each in found.spec.image_pull_secrets or ()] == ["good"]
    assert [each.name for each in found.metadata.owner_references or ()] == ["web"]


def everything(over: int) -> Workload:
    """Every name as long as one can be, and so many characters more."""
    name, image = "n" * (lengths.NAME_LIMIT + over), "i" * (lengths.IMAGE_LIMIT + over)
    container = {"name": name, "image": image}
    return read(
        metadata={"name": name, "generateName": name, "namespace": name, "uid": name, "ownerReferences": [OWNER]},
        spec={
            **{each: [container] for each in ("containers", "initContainers", "ephemeralContainers")},
            "imagePullSecrets": [{"name": "good"}],
            "serviceAccountName": name,
        },
    )


def test_every_name_is_cut_where_it_cannot_be_and_left_where_it_can() -> None:
    whole, cut = everything(0), lengths.bounded(everything(1))
    assert lengths.bounded(whole) is whole
    text = json.dumps(msgspec.to_builtins(whole))
    for limit, letter in ((lengths.NAME_LIMIT, "n"), (lengths.IMAGE_LIMIT, "i")):
        text = text.replace(letter * limit, letter * limit + "…")
    assert json.dumps(msgspec.to_builtins(cut), ensure_ascii=False) == text


@pytest.mark.parametrize("field", ["name", "kind", "uid", "apiVersion"])
def test_an_owner_is_dropped_for_any_name_that_cannot_be(field: str) -> None:
    kept, dropped = (
        read(metadata__ownerReferences=[{**OWNER, field: "o" * (lengths.NAME_LIMIT + over)}]) for over in (0, 1)
    )
    assert lengths.bounded(kept) is kept
    assert lengths.bounded(dropped).metadata.owner_references == ()


@pytest.mark.parametrize(
    "changes", [{"spec__imagePullSecrets": [{"name": "s" * 254}]}, {"spec__serviceAccountName": "s" * 254}]
)
def test_each_name_alone_is_looked_at(changes: dict[str, object]) -> None:
    found = read(**changes)
    assert lengths.bounded(found) != found


def test_the_metadata_of_a_template_is_bounded_too() -> None:
    found = msgspec.structs.replace(read(), template_metadata=read(metadata__name="n" * 254).metadata)
    assert lengths.bounded(found).template_metadata.name == "n" * 253 + "…"


def test_the_longest_names_stay_whole_beside_one_that_cannot_be() -> None:
    longest = "n" * lengths.NAME_LIMIT
    found = lengths.bounded(
        read(
            metadata__name=longest,
            metadata__uid=LONG,
            spec__serviceAccountName=longest,
            spec__imagePullSecrets=[{"name": longest}, {"name": LONG}],
        )
    )
    assert (found.name, found.spec.service_account_name) == (longest, longest)
    assert [each.name for each in found.spec.image_pull_secrets or ()] == [longest]
