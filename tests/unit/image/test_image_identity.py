"""Stored identities: what is stored and what it stands for, under names of one digest, platform, repository and source alone."""

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tests.support.images import DIGEST, multi, platform_image, redis
from webhook.image import image_identity, reference
from webhook.image.capabilities import FileCapabilities
from webhook.image.config import Config, Platform, User, parse_user
from webhook.image.filesystem import Capable, Directory, Special, Suggestion, Survey
from webhook.image.image_identity import (
    CapableProgram,
    ImageFacts,
    ImageIdentity,
    ImageIdentitySpec,
    Observation,
    SuggestedIdentity,
    WorkingDirectory,
)
from webhook.image.passwd import ResolvedIds
from webhook.image.source import Image, PlatformImage

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


AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
REFERENCE = reference.parse("registry.example/team/app:1")


def indexed(*platforms: PlatformImage, index: tuple[Platform, ...] | None = (), **more: Any) -> Image:
    return msgspec.structs.replace(multi(*platforms), index=index, **more)


def test_what_a_registry_has_answered_to_the_letter() -> None:
    """A name that never changes: objects of former versions are found by it."""
    answer = indexed(
        platform_image("app", group="video:x:44:app"),
        platform_image("7", None, platform="linux/arm64"),
        index=(AMD64, ARM64),
    )
    first, second = image_identity.of_image(REFERENCE, answer, "shop", NOW)
    common = {"image": "registry.example/team/app:1", "source": "registry", "firstSeen": NOW, "lastSeen": NOW}
    common |= {"platforms": ["linux/amd64", "linux/arm64"], "namespaces": ["shop"], "digest": DIGEST}
    assert first == ImageIdentity(
        "app-u7bwtcqyolytc",
        msgspec.convert(
            {**common, "platform": "linux/amd64", "uid": 1000, "user": "app", "gid": 1000, "groups": [44, 1000]},
            ImageIdentitySpec,
        ),
    )
    assert second == ImageIdentity(
        "app-yez5scq3llblo",
        msgspec.convert(
            {**common, "platform": "linux/arm64", "uid": 7, "user": "7", "gid": 0, "groups": [0]}, ImageIdentitySpec
        ),
    )


def test_what_is_open_to_all_has_no_namespace_and_a_number_needs_no_accounts() -> None:
    answer = indexed(msgspec.structs.replace(platform_image("7"), accounts=None))
    (found,) = image_identity.of_image(REFERENCE, answer, None, NOW)
    assert (found.spec.namespaces, found.spec.platforms, found.resource_version) == ((), (), "")
    assert (found.spec.uid, found.spec.gid, found.spec.groups) == (7, None, ())


SHARED = "first:x:1000:7::/:\napp:x:1000:1000::/:\n"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(indexed(platform_image("app"), source="observed"), id="a node's word"),
        pytest.param(indexed(platform_image("app"), source="known"), id="the operator's"),
        pytest.param(indexed(platform_image("app"), age=1.0), id="what was true before"),
        pytest.param(indexed(platform_image("app"), index=None), id="platforms that nobody names"),
        pytest.param(indexed(platform_image("app"), index=(ARM64,)), id="another platform than those of the index"),
        pytest.param(indexed(platform_image("nobody")), id="nobody"),
        pytest.param(indexed(platform_image("app", unknown="pending")), id="accounts that are not known"),
        pytest.param(indexed(platform_image("app", SHARED)), id="a uid that is somebody else's first"),
        pytest.param(
            indexed(platform_image("app", SHARED.replace(":7:", ":1000:"), "video:x:44:app")), id="groups of its name"
        ),
        pytest.param(
            indexed(platform_image("app", SHARED.replace(":7:", ":1000:"), "team:x:1000:first")),
            id="a group that is the first one's own beside any other runAsGroup",
        ),
        pytest.param(indexed(platform_image("0" * 1024 + "7")), id="a USER that is too long"),
        pytest.param(indexed(platform_image("7", platform="linux/a_b")), id="a platform that the CRD does not take"),
        pytest.param(indexed(platform_image("7"), digest="sha512:" + "a" * 129), id="a digest that is too long"),
    ],
)
def test_what_is_not_proven_or_does_not_fit_is_not_stored(answer: Image) -> None:
    assert image_identity.of_image(REFERENCE, answer, None, NOW) == []


def test_what_is_not_stored_of_one_platform_is_stored_of_the_next() -> None:
    answer = indexed(platform_image("nobody"), platform_image("7", platform="linux/arm64"), index=(AMD64, ARM64))
    assert [each.spec.uid for each in image_identity.of_image(REFERENCE, answer, None, NOW)] == [7]


def seen(**more: Any) -> Observation:
    return msgspec.structs.replace(Observation("registry.example/app:1", DIGEST, AMD64, 1500, 1600), **more)


def test_what_a_node_has_shown_to_the_letter() -> None:
    found = image_identity.of_observation(
        seen(user="1500", groups=(7, 1600), namespace="shop"), (ARM64, AMD64, ARM64), NOW
    )
    assert found == ImageIdentity(
        "app-xzcxnhfzpbdlq",
        ImageIdentitySpec(
            "registry.example/app:1",
            "linux/amd64",
            1500,
            "observed",
            NOW,
            NOW,
            user="1500",
            gid=1600,
            groups=(7, 1600),
            platforms=("linux/amd64", "linux/arm64"),
            namespaces=("shop",),
            digest=DIGEST,
        ),
    )
    bare = image_identity.of_observation(seen(), (), NOW)
    assert bare is not None
    assert (bare.spec.user, bare.spec.groups, bare.spec.namespaces) == (None, (), ())
    assert bare.spec.platforms == ("linux/amd64",)


def nodes(number: int) -> tuple[Platform, ...]:
    return (AMD64, *(Platform("linux", f"a{each}") for each in range(number - 1)))


@pytest.mark.parametrize(
    ("fits", "platforms", "does_not", "more"),
    [
        ({}, 1, {"image": "r.example/" + "a" * 1015}, 1),
        ({"user": "0" * 1024}, 1, {"user": "0" * 1025}, 1),
        ({"groups": tuple(range(1000))}, 1, {"groups": tuple(range(1001))}, 1),
        ({}, 64, {}, 65),
        ({"digest": "sha512:" + "a" * 128}, 1, {"digest": "sha512:" + "a" * 129}, 1),
        ({"platform": Platform("linux", "arm64", "v8.1")}, 1, {"platform": Platform("linux", "arm64", "v8.")}, 1),
    ],
    ids=["image", "user", "groups", "platforms", "digest", "platform"],
)
def test_what_is_beyond_the_crd_is_not_stored(
    fits: dict[str, Any], platforms: int, does_not: dict[str, Any], more: int
) -> None:
    assert image_identity.of_observation(seen(**fits), nodes(platforms), NOW) is not None
    assert image_identity.of_observation(seen(**does_not), nodes(more), NOW) is None


def test_an_object_of_a_former_version_has_its_digest_in_its_name() -> None:
    spec = msgspec.structs.replace(SPEC, digest="")
    assert ImageIdentity(f"sha256-{'cd' * 32}-linux-amd64", spec).digest == f"sha256:{'cd' * 32}"
    assert ImageIdentity("odd", spec).digest == "odd:"
    assert ImageIdentity(f"sha256-{'cd' * 32}-linux-amd64", SPEC).digest == SPEC.digest


def surveyed(*directories: Directory) -> PlatformImage:
    """A root image with everything that facts are about."""
    (one,) = redis().platforms
    assert isinstance(one.survey, Survey)
    survey = msgspec.structs.replace(
        one.survey,
        directories=(*one.survey.directories, *directories),
        special=(Special("/bin/su", 0, 0, 0o4755), Special("/bin/wall", 0, 5, 0o2755)),
        capable=(Capable("/bin/ping", FileCapabilities(("NET_RAW",), effective=True)),),
    )
    config = msgspec.structs.replace(
        one.config, entrypoint=tuple(f"word{number}" for number in range(15)), command=("c" * 600, "beyond")
    )
    return msgspec.structs.replace(one, survey=survey, config=config)


WORKDIR = Directory("/srv", "workingDirectory", present=True, uid=5, gid=6, mode=0o750)


def test_the_facts_of_an_image_to_the_letter() -> None:
    """Of its start the first words, of its directories the one where it starts."""
    absent = Directory("/new", "workingDirectory", present=False)
    found = image_identity.facts(surveyed(absent, WORKDIR))
    assert found == ImageFacts(
        (*(f"word{number}" for number in range(15)), "c" * 512),
        (CapableProgram("/bin/ping", ("NET_RAW",), effective=True),),
        ("/bin/su",),
        WorkingDirectory("/srv", 5, 6, 0o750),
        SuggestedIdentity(
            999,
            1000,
            "high",
            ("redis is uid 999 in /etc/passwd", "owns /data", "docker-entrypoint.sh steps down to it by gosu"),
            1000,
        ),
    )
    assert image_identity.facts(surveyed(absent)).working_directory is None  # type: ignore[union-attr]
    bare = msgspec.structs.replace(platform_image("7"), survey=Survey(None, (), (), ()))
    assert image_identity.facts(bare) == ImageFacts()


def test_there_are_no_facts_of_layers_that_nobody_read_or_that_do_not_fit() -> None:
    assert image_identity.facts(platform_image("7")) is None
    long = Directory("/" + "a" * 512, "workingDirectory", present=True)
    assert image_identity.facts(surveyed(long)) is None


def test_an_object_is_the_image_that_it_stands_for() -> None:
    """As far as it matters to who runs, and to what its programs need."""
    facts = image_identity.facts(surveyed(WORKDIR))
    suggested = SuggestedIdentity(999, 1000, "medium", ("it",), 7)
    assert facts is not None
    spec = msgspec.structs.replace(
        SPEC,
        user="app",
        gid=5,
        groups=(5, 6),
        platform="linux/arm/v7",
        facts=msgspec.structs.replace(facts, suggestion=suggested),
    )
    assert image_identity.platform_image(spec) == PlatformImage(
        Config(parse_user("app"), Platform("linux", "arm", "v7"), entrypoint=facts.command_line),
        accounts=ResolvedIds(1500, 5, (5, 6)),
        survey=Survey(
            None,
            (WORKDIR,),
            (Special("/bin/su", 0, 0, 0o4755),),
            (Capable("/bin/ping", FileCapabilities(("NET_RAW",), effective=True)),),
            suggestion=Suggestion(999, 1000, 7, "medium", ("it",)),
        ),
    )
    assert image_identity.platform_image(msgspec.structs.replace(SPEC, facts=ImageFacts())).survey == Survey(
        None, (), (), ()
    )
    assert image_identity.platform_image(SPEC) == PlatformImage(
        Config(User("", uid=1500), AMD64), accounts=ResolvedIds(1500, None, None)
    )
