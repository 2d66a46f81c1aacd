"""Learning beside the requests: once, in the background, and quietly where there is no place for it."""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tests.support.images import DIGEST, image
from tests.unit.image.test_identity_index import made
from webhook.cluster import image_identities, workqueue
from webhook.cluster.client import Cluster
from webhook.cluster.errors import Absent, Conflict, Forbidden
from webhook.cluster.image_identities import ClusterIdentityStore
from webhook.cluster.workqueue import run_in_background
from webhook.image import image_identity, reference
from webhook.image.image_identity import ImageIdentity
from webhook.image.source import Query

ASKED = reference.parse("registry.example/app:1")
FOUND = msgspec.structs.replace(image("app"), index=())


class Api(Cluster):
    """An API server that says one thing to everything."""

    def __init__(self, answer: Exception | None = None) -> None:
        super().__init__()
        self.answer = answer
        self.bodies: list[Any] = []

    async def call(self, method: str, path: str, what: str, body: object = None, **_: Any) -> bytes | None:
        """As the API server."""
        self.bodies.append(body)
        if self.answer is not None:
            raise self.answer
        return b"{}"


class Clock:
    """A clock that stands still until it is told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def writes_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workqueue, "WRITE_INTERVAL", 0.0)


async def turn() -> None:
    """Let the writer have its turn; the API server answers at once."""
    for _ in range(10):
        await asyncio.sleep(0)


async def save(known: ClusterIdentityStore, digest: str = DIGEST, **query: Any) -> None:
    """Learn one image, and let it be written."""
    known.save(ASKED, msgspec.structs.replace(FOUND, digest=digest), Query("registry.example/app:1", **query))
    await turn()


@pytest.mark.parametrize("answer", [None, Conflict("it is there")], ids=["the first", "somebody else was first"])
async def test_an_identity_is_written_once_a_day(answer: Exception | None) -> None:
    api, clock = Api(answer), Clock()
    known = ClusterIdentityStore(api, clock)
    async with run_in_background(known.writer):
        for _ in range(3):
            await save(known)
        assert [body["spec"]["uid"] for body in api.bodies] == [1000]
        assert (known.writer.written, known.writer.failed) == (1, 0)
        clock.now = image_identities.RENEWAL_INTERVAL
        await save(known)
        assert len(api.bodies) == 2


async def test_a_dry_run_is_never_written() -> None:
    api = Api()
    known = ClusterIdentityStore(api)
    async with run_in_background(known.writer):
        await save(known, dry_run=True)
        assert api.bodies == []


async def test_there_is_an_end_to_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who makes up images does not fill the API server with them."""
    monkeypatch.setattr(image_identities, "OBJECTS_LIMIT", 1)
    api = Api()
    known = ClusterIdentityStore(api)
    async with run_in_background(known.writer):
        await save(known)
        known.update("stored", *image_identity.of_image(ASKED, FOUND, None, datetime.now(UTC)))
        await save(known, f"sha256:{1:064d}")
    assert len(api.bodies) == 1


@pytest.mark.parametrize("answer", [Absent("no such kind"), Forbidden("not for you")], ids=["no CRD", "no right"])
async def test_where_nothing_can_be_stored_that_is_said_once(
    answer: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    api = Api(answer)
    known = ClusterIdentityStore(api)
    with caplog.at_level(logging.WARNING):
        async with run_in_background(known.writer):
            for number in range(5):
                await save(known, f"sha256:{number:064d}")
    assert len(api.bodies) == 1
    assert (known.writer.written, known.writer.failed, known.writer.dropped) == (0, 1, 4)
    assert len(caplog.records) == 1
    assert str(answer) in caplog.text


@pytest.mark.parametrize(("private", "namespaces"), [(True, ["shop"]), (False, None)])
async def test_what_a_pull_secret_opened_is_for_its_namespace(private: bool, namespaces: list[str] | None) -> None:
    api = Api()
    known = ClusterIdentityStore(api)
    result = msgspec.structs.replace(FOUND, private=private)
    async with run_in_background(known.writer):
        known.save(ASKED, result, Query("registry.example/app:1", namespace="shop"))
        await turn()
    (body,) = api.bodies
    assert body["spec"].get("namespaces") == (tuple(namespaces) if namespaces else None)


@pytest.mark.parametrize("change", [{"age": 3.0}, {"source": "observed"}, {"index": None}], ids=str)
async def test_what_is_not_the_registrys_fresh_word_is_not_written(change: dict[str, Any]) -> None:
    api = Api()
    known = ClusterIdentityStore(api)
    async with run_in_background(known.writer):
        known.save(ASKED, msgspec.structs.replace(FOUND, **change), Query("registry.example/app:1"))
        await turn()
    assert api.bodies == []


def body(**spec: Any) -> dict[str, Any]:
    """An object as the API server gives it, of which some fields are replaced."""
    good = made()
    return {
        "metadata": {"name": good.name, "resourceVersion": "7"},
        "spec": {**msgspec.to_builtins(good.spec), **spec},
    }


def test_an_object_is_read_as_it_was_written() -> None:
    assert image_identities.read(msgspec.json.encode(body())) == ImageIdentity(made().name, made().spec, "7")


FORMER = f"sha256-{'ab' * 32}-linux-amd64-1a2b3c4d"


def test_an_object_of_a_former_version_is_read_by_its_name() -> None:
    found = image_identities.read(msgspec.json.encode(body(digest="") | {"metadata": {"name": FORMER}}))
    assert found is not None
    assert found.digest == f"sha256:{'ab' * 32}"


@pytest.mark.parametrize(
    "broken",
    [
        {"metadata": {"name": "mine"}},
        {"metadata": {"name": FORMER}},
        {"metadata": {"name": made("registry.example/other:1").name}},
        {"spec": body(digest="")["spec"]},
        {"metadata": {"name": "sha256-crd-test"}},
        {"metadata": {"name": f"sha256-{'AB' * 32}-linux-amd64"}},
        {"spec": {}},
        {"spec": None},
        {"spec": body(image="Not//An:Image")["spec"]},
        {"spec": body(uid="root")["spec"]},
        {"spec": body(lastSeen="yesterday")["spec"]},
    ],
    ids=lambda each: str(each)[:60],
)
def test_what_nobody_of_ours_has_made_counts_for_nothing(broken: dict[str, Any]) -> None:
    assert image_identities.read(msgspec.json.encode({**body(), **broken})) is None
