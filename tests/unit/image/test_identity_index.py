"""What is stored, in memory: found by every name, and gone when its object is."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from webhook.image import identity_index
from webhook.image.config import Platform
from webhook.image.identity_index import IdentityIndex
from webhook.image.image_identity import ImageIdentity, Observation, of_observation

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
