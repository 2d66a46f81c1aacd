"""The names of stored identities: short, readable, and of one digest, platform, repository and source alone."""

import re
from datetime import UTC, datetime

import msgspec
import pytest

from webhook.image.image_identity import ImageIdentity, ImageIdentitySpec

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SPEC = ImageIdentitySpec(
    "registry.example/team/app:1", "linux/amd64", 1500, "registry", NOW, NOW, digest=f"sha256:{'ab' * 32}"
)


def name(spec: ImageIdentitySpec) -> str:
    return ImageIdentity("", spec).proper_name


@pytest.mark.parametrize(
    ("image", "readable"),
    [
        ("registry.example/team/app:1", "app"),
        ("docker.io/library/nginx", "nginx"),
        ("registry.example/a.b__c--d:1", "a-b-c-d"),
        ("registry.example/one/" + "very-long-name-" * 9 + "end:1", "very-long-name-very"),
    ],
)
def test_a_name_begins_with_the_repositorys_last_word_and_fits_a_line(image: str, readable: str) -> None:
    found = name(msgspec.structs.replace(SPEC, image=image))
    assert re.fullmatch(rf"{readable}-[a-z2-7]{{13}}", found)


@pytest.mark.parametrize(
    "change",
    [
        {"digest": f"sha256:{'cd' * 32}"},
        {"platform": "linux/arm64/v8"},
        {"image": "registry.example/other/app:1"},
        {"source": "observed"},
    ],
    ids=str,
)
def test_another_object_has_another_name(change: dict[str, str]) -> None:
    assert name(msgspec.structs.replace(SPEC, **change)) != name(SPEC)


def test_another_tag_or_time_is_the_same_object() -> None:
    assert name(msgspec.structs.replace(SPEC, image="registry.example/team/app:2", uid=7)) == name(SPEC)
