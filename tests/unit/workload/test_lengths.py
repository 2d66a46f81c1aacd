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
