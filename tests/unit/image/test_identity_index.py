"""What is stored, in memory: found by every name, and gone when its object is."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from webhook.image import identity_index
from webhook.image.config import Platform
from webhook.image.identity_index import IdentityIndex
from webhook.image.image_identity import ImageIdentity, ImageIdentitySpec, Observation, of_observation

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DIGEST = "sha256:" + "ab" * 32
IMAGE = "registry.example/app:1"
AMD64 = Platform("linux", "amd64")


def made(image: str = IMAGE, digest: str = DIGEST, **more: Any) -> ImageIdentity:
    found = of_observation(Observation(image, digest, AMD64, 1500, 1600), (AMD64,), NOW)
    assert found is not None
    return ImageIdentity(found.name, msgspec.structs.replace(found.spec, **more))


def test_an_object_is_found_by_its_names_until_it_is_gone() -> None:
    known = IdentityIndex()
    known.update("1", made(aliases=("registry.example/app:latest",)))
    known.update("2", made("registry.example/app:2", "sha256:" + "cd" * 32))
    (found,) = known.of_reference(IMAGE)
    assert (
        known.of_reference("registry.example/app:latest") == known.of_digest("registry.example/app", DIGEST) == (found,)
    )
    assert known.of_digest("registry.example/other", DIGEST) == ()
    known.update("1", made(uid=7))
    assert [each.spec.uid for each in known.of_reference(IMAGE)] == [7]
    assert known.of_reference("registry.example/app:latest") == ()
    assert len(known) == 2
    known.replace({"2"})
    known.delete("1")
    assert (len(known), known.of_reference(IMAGE)) == (1, ())
    known.replace(())
    assert (known._stored, known._found) == ({}, {})


def test_what_is_shared_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity_index, "_SHARED", 4)
    known = IdentityIndex()
    for number in range(20):
        known.update(str(number), made(user=f"user-{number}"))
    assert len(known._shared) <= 9
    assert {each.spec.user for each in known.of_reference(IMAGE)} == {f"user-{number}" for number in range(20)}


def test_what_many_objects_have_in_common_there_is_once() -> None:
    """Of thousands of objects: a namespace, a platform."""
    known = IdentityIndex()
    common = {
        "platform": "linux/arm64",
        "user": "somebody",
        "groups": [5, 6],
        "platforms": ["linux/amd64", "linux/arm64"],
        "namespaces": ["shop"],
    }
    for number in (0, 1):  # what is decoded twice is equal, and two objects
        text = json.dumps(msgspec.to_builtins(made().spec) | common)
        known.update(str(number), ImageIdentity("x", msgspec.json.decode(text, type=ImageIdentitySpec)))
    one, other = known.of_reference(IMAGE)
    stored = msgspec.json.decode(msgspec.json.encode(one.spec))
    for name, value in common.items():
        assert stored[name] == value
        assert getattr(one.spec, name) is getattr(other.spec, name)


def test_every_change_is_a_revision() -> None:
    """And what changes nothing is none."""
    known = IdentityIndex()
    assert known.revision == 0
    known.update("1", made())
    known.update("1", made(uid=7))
    known.delete("2")
    assert known.revision == 2
    known.delete("1")
    assert known.revision == 3


def test_objects_of_one_name_are_found_in_the_order_in_which_they_came() -> None:
    """One that another takes the place of comes last."""
    known = IdentityIndex()
    for key, uid in (("1", 1), ("2", 2), ("3", 3), ("2", 4)):
        known.update(key, made(uid=uid))
    assert [each.spec.uid for each in known.of_reference(IMAGE)] == [1, 3, 4]
    assert known.of_digest("registry.example/app", DIGEST) == known.of_reference(IMAGE)
    known.update("1", made("registry.example/app:2", uid=5))
    assert [each.spec.uid for each in known.of_reference(IMAGE)] == [3, 4]
    assert [each.spec.uid for each in known.of_digest("registry.example/app", DIGEST)] == [3, 4, 5]
    known.replace({"2", "1", "unknown"})
    assert [each.spec.uid for each in known.of_digest("registry.example/app", DIGEST)] == [4, 5]
