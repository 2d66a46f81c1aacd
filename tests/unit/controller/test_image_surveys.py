"""The layers of public images are read once each, the newest first and no faster than allowed, and stored as facts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from tests.support.images import multi, platform_image, unknown
from tests.support.scripted import Api
from webhook.cluster.client import Cluster
from webhook.controller.image_surveys import ImageSurveys
from webhook.image import image_identity
from webhook.image.capabilities import FileCapabilities
from webhook.image.filesystem import Capable, Directory, Special, StepDown, Survey
from webhook.image.image_identity import ImageFacts, ImageIdentity, ImageIdentitySpec
from webhook.image.source import Image, PlatformImage, Query, Unknown
from webhook.registry.transport.messages import Cost

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DIGEST = "sha256:" + "ab" * 32


def surveyed() -> PlatformImage:
    """A root image whose layers were read."""
    made = platform_image("", "root:x:0:0::/:/bin/sh\nredis:x:999:1000::/:/bin/sh\n")
    survey = Survey(
        None,
        (Directory("/data", "workingDirectory", present=True, uid=999, gid=1000, mode=0o750),),
        (Special("/bin/su", 0, 0, 0o4755), Special("/bin/wall", 0, 5, 0o2755)),
        (Capable("/app", FileCapabilities(("NET_RAW",), effective=True)),),
        (StepDown("/entrypoint.sh", "gosu", "redis"),),
    )
    config = msgspec.structs.replace(made.config, entrypoint=("/entrypoint.sh",), command=("redis-server",))
    return msgspec.structs.replace(made, survey=survey, config=config)


def identity(number: int, **more: Any) -> ImageIdentity:
    """A stored object; the higher the number, the newer."""
    spec = ImageIdentitySpec(
        **{
            "image": f"registry.example/app{number}:1",
            "platform": "linux/amd64",
            "uid": 0,
            "source": "registry",
            "first_seen": NOW + timedelta(days=number),
            "last_seen": NOW,
            **more,
        }
    )
    return ImageIdentity(f"sha256-{'ab' * 32}-linux-amd64-{number:08d}", spec, "7")


class Counting:
    """An image source that reads a megabyte for every image."""

    def __init__(self, found: Image | Unknown) -> None:
        self.total = Cost()
        self.asked: list[str] = []
        self._found = found

    async def find(self, query: Query) -> Image | Unknown:
        assert query.survey
        assert query.accounts
        self.asked.append(query.reference.partition("@")[0])
        self.total.bytes_read += 1_000_000
        return self._found


def listing(*identities: ImageIdentity) -> dict[str, Any]:
    items = [
        {"metadata": {"name": each.name, "resourceVersion": "7"}, "spec": msgspec.to_builtins(each.spec)}
        for each in identities
    ]
    return {"items": items, "metadata": {}}


def test_facts_come_back_as_what_they_stand_for() -> None:
    """Through the object, to the same answers about programs and the suggestion."""
    facts = image_identity.facts(surveyed())
    assert facts is not None
    spec = msgspec.convert(
        msgspec.to_builtins(msgspec.structs.replace(identity(1).spec, facts=facts)), ImageIdentitySpec
    )
    image = image_identity.platform_image(spec)
    assert isinstance(image.survey, Survey)
    assert image.survey.capable == (Capable("/app", FileCapabilities(("NET_RAW",), effective=True)),)
    assert [each.path for each in image.survey.special] == ["/bin/su"]
    assert image.survey.directories[0].mode == 0o750
    assert image.config.entrypoint == ("/entrypoint.sh", "redis-server")
    assert image.survey.suggestion is not None
    assert image.survey.suggestion.fields == "runAsUser 999, runAsGroup 1000"


def test_more_than_an_object_may_hold_is_not_stored() -> None:
    """Rather nothing than a part of it: a program that is left out would count as one that needs nothing."""
    programs = tuple(Capable(f"/{number}", FileCapabilities(("NET_RAW",), effective=True)) for number in range(65))
    assert image_identity.facts(msgspec.structs.replace(surveyed(), survey=Survey(None, (), (), programs))) is None
    assert image_identity.facts(platform_image()) is None


async def test_the_newest_is_read_first_and_nothing_twice(api: Api) -> None:
    """What has facts, was shown by a node, or takes pull secrets is left alone."""
    images, pauses = Counting(multi(surveyed())), list[float]()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    objects = [
        identity(1),
        identity(2),
        identity(3, facts=ImageFacts()),
        identity(4, source="observed"),
        identity(5, namespaces=("shop",)),
    ]
    cluster = Cluster()
    try:
        surveys = ImageSurveys(cluster, images, 500_000, pause)
        api.answer(200, listing(*objects))
        await surveys.round()
        await surveys.round()
    finally:
        await cluster.aclose()
    assert images.asked == ["registry.example/app2", "registry.example/app1"]
    assert pauses == [2.0, 2.0]
    assert surveys.written == 2
    _, path, body, _ = next(each for each in api.asked if each[0] == "PATCH")
    assert path.endswith("-00000002")
    assert body["metadata"] == {"resourceVersion": "7"}
    assert body["spec"]["facts"]["capable"] == [{"path": "/app", "capabilities": ["NET_RAW"], "effective": True}]


async def test_an_image_that_cannot_be_read_is_left_without_facts(api: Api) -> None:
    """And the next one has its turn."""
    images = Counting(unknown("unreachable"))

    async def pause(seconds: float) -> None:
        assert seconds

    cluster = Cluster()
    try:
        surveys = ImageSurveys(cluster, images, 500_000, pause)
        api.answer(200, listing(identity(1), identity(2)))
        await surveys.round()
    finally:
        await cluster.aclose()
    assert len(images.asked) == 2
    assert surveys.written == 0
