"""Whose driver a volume is of, and whether an fsGroup changes its owners."""

import msgspec
import pytest

from tests.support.pods import Object, minimal, tweak, within, workload
from webhook.workload.podspec import Volume
from webhook.workload.storage import UNKNOWN, Storage

CLUSTER = Storage(
    {"block.example": "ReadWriteOnceWithFSType", "share.example": "None", "gives.example": "File"},
    {"": "block.example", "shared": "share.example", "local": "rancher.io/local-path"},
    {("default", "data"): "shared", ("default", "old"): "gone"},
)


@pytest.mark.parametrize(
    ("volume", "driver"),
    [
        ({"csi": {"driver": "gives.example"}}, "gives.example"),
        ({"persistentVolumeClaim": {"claimName": "data"}}, "share.example"),
        ({"persistentVolumeClaim": {"claimName": "old"}}, ""),
        ({"persistentVolumeClaim": {"claimName": "elsewhere"}}, ""),
        ({"ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": "local"}}}}, "rancher.io/local-path"),
        ({"ephemeral": {"volumeClaimTemplate": {"spec": {}}}}, "block.example"),
        ({"ephemeral": {}}, "block.example"),
        ({"ephemeral": {"volumeClaimTemplate": None}}, "block.example"),
        ({"emptyDir": {}}, ""),
    ],
)
def test_the_driver(volume: Object, driver: str) -> None:
    found = msgspec.convert({"name": "data", **volume}, Volume)
    assert CLUSTER.driver(found, "default") == driver
    assert UNKNOWN.driver(found, "default") == ("gives.example" if "csi" in volume else "")


@pytest.mark.parametrize(
    ("name", "driver"), [(None, "block.example"), ("shared", "share.example"), ("", "block.example")]
)
def test_the_claims_of_a_stateful_set_say_their_class(name: str | None, driver: str) -> None:
    claim = {"metadata": {"name": "data"}, "spec": {} if name is None else {"storageClassName": name}}
    (volume,) = (
        workload(tweak(within("StatefulSet", minimal()), {"spec.volumeClaimTemplates": [claim]})).spec.volumes or ()
    )
    assert CLUSTER.driver(volume, "default") == driver


def test_what_a_driver_says_of_its_volumes() -> None:
    drivers = ("gives.example", "share.example", "block.example", "another.example")
    assert [CLUSTER.changes_owners(each) for each in drivers] == [True, False, None, None]


def test_the_claims_of_a_stateful_set_replace_volumes_of_their_names() -> None:
    """And stand before the others; one without a name claims nothing that a Pod can mount."""
    template = tweak(minimal(), {"spec.volumes": [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]})
    claims = [{"metadata": {"name": "data"}, "spec": {}}, {"spec": {}}, {"metadata": {}, "spec": {}}]
    holder = tweak(within("StatefulSet", template), {"spec.volumeClaimTemplates": claims})
    volumes = workload(holder).spec.volumes or ()
    assert [(each.name, each.persistent_volume_claim is not None) for each in volumes] == [
        *(("data", True), ("", True), ("tmp", False)),
    ]
