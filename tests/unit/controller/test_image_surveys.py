"""The layers of images in use are read once each, the newest first and no faster than allowed, and stored as facts."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from deploy.dev import oci
from deploy.dev.registry import Login, Registry
from tests.support.images import multi, platform_image, unknown
from tests.support.scripted import Api
from tests.unit.registry.samples import Secrets, secret
from webhook.cluster.client import Cluster
from webhook.controller.image_surveys import AGAIN, INTERVAL, AskedImages, ImageSurveys
from webhook.image import image_identity, reference
from webhook.image.capabilities import FileCapabilities
from webhook.image.filesystem import Capable, Directory, Special, StepDown, Survey
from webhook.image.image_identity import ImageFacts, ImageIdentity, ImageIdentitySpec
from webhook.image.source import Image, Images, PlatformImage, Query, Unknown
from webhook.registry.client import RegistryClient
from webhook.registry.settings import RegistrySettings
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


class Fake(Images):
    """An image source that reads a megabyte for every image; time passes by pauses alone."""

    def __init__(self, found: Image | Unknown) -> None:
        self.asked: list[Query] = []
        self.now = 0.0
        self._found = found

    @property
    def names(self) -> list[str]:
        """The repositories that were read, in order."""
        return [each.reference.partition("@")[0].rpartition("/")[2] for each in self.asked]

    async def find(self, query: Query, cost: Cost | None = None) -> Image | Unknown:
        self.asked.append(query)
        if cost is not None:
            cost.bytes_read += 1_000_000
        return self._found

    async def pause(self, seconds: float) -> None:
        self.now += seconds

    def surveys(self, cluster: Cluster, asked: Callable[[str], Query | None]) -> ImageSurveys:
        """Half a megabyte a second: two seconds an image."""
        return ImageSurveys(cluster, self, asked, 500_000, clock=lambda: self.now, pause=self.pause)


def anybody(name: str) -> Query:
    """Every image is in use, in a namespace of its own."""
    return Query(name, namespace=name.partition("@")[0].rpartition("/")[2])


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


@pytest.fixture
async def cluster(api: Api) -> AsyncIterator[Cluster]:
    made = Cluster()
    yield made
    await made.aclose()


async def test_the_newest_is_read_first_and_nothing_twice(api: Api, cluster: Cluster) -> None:
    """What has facts, or was shown by a node, is left alone."""
    registry = Fake(multi(surveyed()))
    surveys = registry.surveys(cluster, anybody)
    objects = [identity(1), identity(2), identity(3, facts=ImageFacts()), identity(4, source="observed")]
    api.answer(200, listing(*objects))
    await surveys.round()
    assert registry.names == ["app2", "app1"]
    assert all(each.survey and each.accounts and each.reference.endswith(f"@{DIGEST}") for each in registry.asked)
    assert registry.now == 4.0  # a megabyte each, at half a megabyte a second
    assert surveys.written == 2
    _, path, body, _ = next(each for each in api.asked if each[0] == "PATCH")
    assert path.endswith("-00000002")
    assert body["metadata"] == {"resourceVersion": "7"}
    assert body["spec"]["facts"]["capable"] == [{"path": "/app", "capabilities": ["NET_RAW"], "effective": True}]


async def test_one_namespace_takes_a_quarter_of_the_bytes_at_most(api: Api, cluster: Cluster) -> None:
    """However many new images it has, those of others are read in between, and it waits where there are none."""
    registry = Fake(multi(surveyed()))

    def asked(name: str) -> Query:
        return Query(name, namespace="quiet" if "app1@" in name else "busy")

    api.answer(200, listing(*map(identity, range(1, 5))))
    await registry.surveys(cluster, asked).round()
    assert registry.names == ["app4", "app1", "app3", "app2"]
    assert registry.now == 2 * 8 + 2.0  # two waits of 8 s, of which a megabyte is an eighth of what could be read


async def test_more_than_a_round_can_read_is_sorted_anew(api: Api, cluster: Cluster) -> None:
    """So that what is newer by then comes first."""
    registry = Fake(multi(surveyed()))
    surveys = registry.surveys(cluster, lambda name: Query(name, namespace="busy"))
    api.answer(200, listing(*map(identity, range(1, 101))))
    interval = await surveys.round()
    assert len(registry.asked) == INTERVAL / 8 + 0.5  # one in 8 s, the first at once
    assert interval.resync == 1.0


async def test_an_image_behind_pull_secrets_is_read_with_those_of_a_namespace_that_opened_it(
    api: Api, cluster: Cluster
) -> None:
    """And one that only another namespace may read, or that no namespace needs, is not."""
    registry = Fake(multi(surveyed()))
    queries = {
        "app1": Query("app1", namespace="shop", pull_secrets=("registry",), service_account="web"),
        "app2": Query("app2", namespace="other", pull_secrets=("registry",)),
    }
    closed = [identity(number, namespaces=("shop",)) for number in (1, 2, 3)]
    api.answer(200, listing(*closed))
    surveys = registry.surveys(cluster, lambda name: queries.get(name.partition("@")[0].rpartition("/")[2]))
    await surveys.round()
    (query,) = registry.asked
    assert (query.namespace, query.pull_secrets, query.service_account) == ("shop", ("registry",), "web")
    assert query.reference == f"registry.example/app1@{DIGEST}"
    assert surveys.written == 1


async def test_the_layers_behind_a_login_are_read_with_the_pull_secret_that_opened_them(
    api: Api, cluster: Cluster
) -> None:
    """By a real client: of a named image a scan reads no more than who it is, and a survey all of it."""
    sudo = oci.owned(oci.file("usr/bin/sudo", "x"), 0, 0, 0o4755)
    content = oci.image(oci.accounts_layer("root:x:0:0::/:", "app:x:1000:1000::/:"), oci.layer(sudo), user="app")
    async with Registry(login=Login({"user": "secret"})) as registry:
        registry.push("team/app:1", content)
        secrets = Secrets(mine=secret(registry.host, "user", "secret"))
        client = RegistryClient(RegistrySettings(insecure=frozenset({registry.host})), secrets)
        images = AskedImages(client)
        try:
            found = await images.find(Query(f"{registry.host}/team/app:1", namespace="shop", pull_secrets=("mine",)))
            assert isinstance(found, Image)
            assert found.private
            (stored,) = image_identity.of_image(reference.parse(f"{registry.host}/team/app:1"), found, "shop", NOW)
            api.answer(200, listing(stored))
            surveys = ImageSurveys(cluster, client, images.asked, 1_000_000_000)
            await surveys.round()
        finally:
            await client.aclose()
    assert surveys.written == 1
    (body,) = (body for method, _, body, _ in api.asked if method == "PATCH")
    assert body["spec"]["facts"]["setuid"] == ["/usr/bin/sudo"]


async def test_what_scans_ask_for_is_remembered_by_its_digest() -> None:
    """Only what a registry has answered: what was not read has nothing to read by."""
    images = AskedImages(Fake(multi(surveyed())))
    query = Query("registry.example/app:1", namespace="shop", pull_secrets=("registry",))
    found = await images.find(query)
    assert isinstance(found, Image)
    assert images.asked(f"registry.example/app@{found.digest}") == query
    assert images.asked(f"registry.example/other@{found.digest}") is None
    images = AskedImages(Fake(unknown("unauthorized")))
    await images.find(query)
    assert images.asked(f"registry.example/app@{found.digest}") is None


async def test_an_image_that_cannot_be_read_is_left_without_facts(api: Api, cluster: Cluster) -> None:
    """The next one has its turn, and it is tried again on another day."""
    registry = Fake(unknown("unreachable"))
    surveys = registry.surveys(cluster, anybody)
    for _ in range(2):
        api.answer(200, listing(identity(1), identity(2)))
        await surveys.round()
    assert len(registry.asked) == 2
    assert surveys.written == 0
    registry.now += AGAIN
    api.answer(200, listing(identity(1)))
    await surveys.round()
    assert len(registry.asked) == 3
