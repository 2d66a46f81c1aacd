"""From a reference to the image: what is asked, what is answered, what is remembered."""

import asyncio
import base64
import gc
import re
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import msgspec
import pytest

from deploy.dev import oci
from deploy.dev.oci import file, image, layer
from deploy.dev.registry import Hang, Login, Registry, Replace, Reset, Slow, Status
from tests.unit.registry.clients import Client
from tests.unit.registry.samples import ACCOUNTS, APP, BASE, BOTH, NAMED, Connect, Secrets, secret
from webhook.image.passwd import AccountFiles
from webhook.image.source import Image, Query, Unknown
from webhook.registry.client import RegistryClient
from webhook.registry.settings import CacheLimits, Timeouts
from webhook.registry.transport.messages import Cost


@pytest.mark.parametrize("reference", ["", "team/UPPER", "a" * 64, "x@sha256:1", "a/b:c d", "x" * 100_000])
async def test_a_bad_reference_is_invalid(client: Client, reference: str) -> None:
    """And nothing is asked."""
    assert await client.cause(reference) == "invalid"
    assert len(client._answers) == 0


# Memory.


async def test_a_known_image_costs_nothing(registry: Registry, client: Client) -> None:
    """Not even a turn of the event loop: the coroutine never waits."""
    reference = registry.push("team/app:1", NAMED)
    first = await client.image(reference)
    asked = len(registry.requests)
    with pytest.raises(StopIteration) as finished:
        client.find(Query(reference)).send(None)
    assert finished.value.value is first
    assert len(registry.requests) == asked


@pytest.mark.parametrize(
    ("fault", "cause", "seconds"),
    [
        (Status(404), "notFound", 15),
        (Status(401), "unauthorized", 15),
        (Status(403), "unauthorized", 15),
        (Status(429), "rateLimited", 30),
        (Status(429, {"Retry-After": "100"}), "rateLimited", 100),
        (Status(429, {"Retry-After": "99999"}), "rateLimited", 600),
        (Status(500), "unreachable", 5),
        (Status(418), "unreachable", 5),
        (Replace(lambda _: b"{}"), "invalid", 60),
    ],
)
async def test_a_failure_is_remembered_for_a_while(
    registry: Registry, client: Client, fault: Any, cause: str, seconds: float
) -> None:
    """And told apart."""
    reference = registry.push("team/app:1", image(user="1"))
    registry.lie(fault)
    assert await client.cause(reference) == cause
    asked = len(registry.requests)
    registry.honest()
    client.clock.now += seconds - 1
    assert await client.cause(reference) == cause
    assert len(registry.requests) == asked
    client.clock.now += 2
    await client.image(reference)


async def test_accounts_that_were_not_read_are_tried_again_soon(registry: Registry, client: Client) -> None:
    """The rest of the image is kept."""
    reference = registry.push("team/app:1", NAMED)
    registry.lie(Status(503), path="blobs/" + BASE.blob.digest)
    found = await client.image(reference)
    assert isinstance(found.platforms[0].accounts, Unknown)
    registry.honest()
    client.clock.now += 20
    assert (await client.image(reference)).platforms[0].accounts == ACCOUNTS


async def test_the_base_is_not_read_for_its_group_file_alone(registry: Registry, client: Client) -> None:
    """Unless somebody asks for all: the numbers that are injected are those of /etc/passwd."""
    above = layer(file("etc/passwd", "app:x:1000:1000::/:\n"))
    reference = registry.push("team/app:1", image(BASE, APP, above, user="app"))
    (found,) = (await client.image(reference)).platforms
    assert found.accounts == AccountFiles(b"app:x:1000:1000::/:\n", None, group_read=False)
    assert not registry.asked(path=BASE.blob.digest)
    (found,) = (await client.image(reference, accounts=True)).platforms
    assert found.accounts == AccountFiles(b"app:x:1000:1000::/:\n", b"video:x:44:app\n")
    assert registry.asked(path=BASE.blob.digest) == 1


async def test_memory_is_bounded(registry: Registry, connect: Connect) -> None:
    """With caches too small for anything every answer is still right."""
    client = connect(cache_limits=CacheLimits(answers=3000, resolutions=500, documents=3000, layers=2000))
    for number in range(20):
        registry.push(f"team/app{number}:1", image(layer(file("etc/passwd", f"app:x:{number}:1::/:")), user="app"))
    for number in [*range(20), *range(20)]:
        found = await client.image(f"{registry.host}/team/app{number}:1")
        accounts = found.platforms[0].accounts
        assert isinstance(accounts, AccountFiles)
        assert accounts.passwd == f"app:x:{number}:1::/:".encode()
    assert client._answers.weight <= 3000


# Budget.


async def test_past_the_budget_the_work_goes_on(registry: Registry, client: Client) -> None:
    """And whoever asks again finds it done, or joins it."""
    release = asyncio.Event()
    reference = registry.push("team/app:1", NAMED)
    registry.lie(Slow(release), path="blobs")
    assert await client.cause(reference, budget=0.01) == "pending"
    assert await client.cause(reference, budget=0.01) == "pending"
    release.set()
    assert (await client.image(reference)).platforms[0].accounts == ACCOUNTS
    assert registry.asked("GET", "manifests") == 1


async def test_without_a_budget_nothing_is_waited_for(registry: Registry, client: Client) -> None:
    """What is known is answered, the rest is looked up meanwhile."""
    reference = registry.push("team/app:1", image(user="1"))
    assert await client.cause(reference, budget=0) == "pending"
    found = await client.image(reference)
    assert await client.ask(reference, budget=0) is found
    client.clock.now += 400
    aged = await client.image(reference, budget=0)
    assert aged.age == 400


async def test_a_slow_registry_gets_the_old_answer(registry: Registry, client: Client) -> None:
    """Rather than none."""
    reference = registry.push("team/app:1", image(user="1"))
    await client.image(reference)
    client.clock.now += 400
    registry.lie(Hang())
    assert (await client.image(reference, budget=0.01)).age == 400


async def test_a_look_up_has_an_end(registry: Registry, connect: Connect) -> None:
    """Though its caller has long gone."""
    client = connect(timeouts=Timeouts(backoff=(), look_up=0.05))
    registry.lie(Hang())
    assert "within 0.05 s" in await client.detail(f"{registry.host}/team/app:1")


async def test_a_layer_has_an_end(registry: Registry, connect: Connect) -> None:
    """Its failure is told in the platform that it belongs to."""
    client = connect(timeouts=Timeouts(backoff=(), layer=0.05))
    registry.lie(Slow(), path=APP.blob.digest)
    found = await client.image(registry.push("team/app:1", NAMED))
    assert isinstance(found.platforms[0].accounts, Unknown)
    assert "within 0.05 s" in found.platforms[0].accounts.detail


async def test_too_many_at_once_are_put_off(registry: Registry, connect: Connect) -> None:
    """Without a place in the queue; a namespace that has less than its share of turns finds one."""
    client = connect(queued=1, look_ups_per_namespace=1)
    registry.lie(Hang())
    assert await client.cause(f"{registry.host}/team/a:1", budget=0.01) == "pending"
    assert "too many" in await client.detail(f"{registry.host}/team/b:1", budget=0.01)
    assert "still being" in await client.detail(f"{registry.host}/team/b:1", budget=0.01, namespace="other")
    client = connect(queued_per_namespace=1)
    assert "still being" in await client.detail(f"{registry.host}/team/a:1", budget=0.01)
    assert "too many" in await client.detail(f"{registry.host}/team/b:1", budget=0.01)


async def test_closing_leaves_nothing_behind(registry: Registry, connect: Connect) -> None:
    """No task, no connection; whoever waits is told that it is not known."""
    client = connect()
    registry.lie(Slow(), path="blobs")
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(client.ask(registry.push("team/app:1", NAMED)))
    while not registry.asked("GET", "blobs"):
        await asyncio.sleep(0)
    await client.aclose()
    found = await waiting
    assert isinstance(found, Unknown)
    assert found.cause == "pending"
    ours = {task for task in asyncio.all_tasks() - before if "webhook/registry" in repr(task)}
    assert ours == set()


@pytest.mark.parametrize("path", ["token", "manifests", "blobs"])
@pytest.mark.parametrize("fault", [Hang, Slow])
async def test_callers_that_give_up_leave_nothing_behind(connect: Connect, fault: Any, path: str) -> None:
    """Their looks go on, and give every connection back; whoever was first is not missed by the others."""
    release, sockets = asyncio.Event(), _sockets()
    async with Registry(Login({}, anonymous=True)) as slow:
        references = [slow.push(f"team/app{number}:1", image(BASE, user="app")) for number in range(5)]
        slow.lie(fault(release), path=path)
        client = connect(insecure=frozenset({slow.host}))
        callers = [asyncio.create_task(client.ask(each)) for each in (*references, *references)]
        while slow.asked("", path) < len(references):
            await asyncio.sleep(0.01)
        for caller in callers[:-1]:
            caller.cancel()
        release.set()
        await asyncio.gather(*callers, return_exceptions=True)
        assert isinstance(callers[-1].result(), Image)
        for each in references:
            await client.image(each)
        connectors = [session.connector for session in client._transport._sessions.values()]
        assert [getattr(connector, "_acquired", None) for connector in connectors] == [set()]
        assert len(client._flights) == len(client._resolver._asking) == 0
        await client.aclose()
    assert _sockets() <= sockets


def _sockets() -> int:
    """How many this process holds."""
    links = (str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.is_symlink())
    return sum(1 for link in links if link.startswith("socket:"))


async def test_a_breaker_spares_a_dead_registry(registry: Registry, connect: Connect) -> None:
    """After some failures in a row nobody waits for it, until it is tried again."""
    client = connect()
    registry.lie(Status(503))
    for number in range(4):
        assert await client.cause(f"{registry.host}/team/app{number}:1") == "unreachable"
    asked = len(registry.requests)
    assert "did not answer lately (status 503)" in await client.detail(f"{registry.host}/team/another:1")
    assert len(registry.requests) == asked
    registry.honest()
    registry.push("team/back:1", image(user="1"))
    client.clock.now += 11
    await client.image(f"{registry.host}/team/back:1")


# Access.


def reachable(*roots: object) -> list[object]:
    """Everything that these objects hold on to, as far as it is data."""
    found: dict[int, object] = {}
    pending = list(roots)
    while pending:
        each = pending.pop()
        if id(each) not in found and not isinstance(each, type | ModuleType | FunctionType):
            found[id(each)] = each
            pending.extend(
                msgspec.structs.astuple(each) if isinstance(each, msgspec.Struct) else gc.get_referents(each)
            )
    return list(found.values())


@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
async def test_no_password_outlives_its_request(registry: Registry, connect: Connect, scheme: Any) -> None:
    """Neither as it is nor in base64, in any cache."""
    registry.login = Login({"u": "hunter2"}, scheme=scheme)
    registry.push("team/app:1", NAMED)
    secrets = Secrets(s=secret(registry.host, "u", "hunter2"))
    client = connect(secrets)
    await client.image(f"{registry.host}/team/app:1", namespace="a", pull_secrets=("s",))
    secrets.secrets.clear()
    held = reachable(client._answers, client._resolver._known, client._session._headers, client._content._documents)
    assert any(each == ACCOUNTS.passwd for each in held)
    encoded = base64.b64encode(b"u:hunter2").decode()
    assert not [each for each in held if isinstance(each, str | bytes) and re.search(f"hunter2|{encoded}", str(each))]


async def test_a_token_is_reused(registry: Registry, client: Client) -> None:
    """One for all requests to a repository."""
    registry.login = Login({}, anonymous=True)
    registry.push("team/app:1", NAMED)
    await client.image(f"{registry.host}/team/app:1")
    assert registry.asked(path="/token") == 1
    assert sum(1 for each in registry.requests if not each.authorization) == 2  # the first one, the token itself


@pytest.mark.parametrize(("content", "first", "later"), [(NAMED, 4, 3), (BOTH, 5, 4)], ids=["manifest", "index"])
async def test_round_trips_before_the_layers(
    registry: Registry, client: Client, content: oci.Content, first: int, later: int
) -> None:
    """A demand for a token, the token, the index, the manifest, the config; once it is known, no demand any more."""
    registry.login = Login({}, anonymous=True)
    for repository, wanted in (("team/one", first), ("team/two", later)):
        registry.push(f"{repository}:1", content)
        registry.requests.clear()
        await client.image(f"{registry.host}/{repository}:1", architectures=frozenset({"amd64"}))
        blobs = {BASE.blob.digest, APP.blob.digest}
        assert sum(each.path.rpartition("/")[2] not in blobs for each in registry.requests) == wanted


async def test_round_trips_to_a_registry_whose_realm_is_known(registry: Registry, client: Client) -> None:
    """Four from the first: the token, the index, the manifest, the config."""
    registry.login = Login({}, anonymous=True)
    registry.push("team/app:1", BOTH)
    client._session.expected[registry.host] = {"realm": f"{registry.url}/token", "service": "registry"}
    await client.image(f"{registry.host}/team/app:1", architectures=frozenset({"amd64"}))
    blobs = {BASE.blob.digest, APP.blob.digest}
    before = [each for each in registry.requests if each.path.rpartition("/")[2] not in blobs]
    assert [each.path.split("/")[-2] for each in before] == ["", "manifests", "manifests", "blobs"]


@pytest.mark.parametrize("there", [True, False])
async def test_a_wrong_realm_costs_one_request_each_and_no_more(
    registry: Registry, connect: Connect, there: bool
) -> None:
    """Not even where nobody is at home there, and many ask at once: the registry itself is in order."""
    registry.login = Login({}, anonymous=True)
    for number in range(8):
        registry.push(f"team/app{number}:1", image(user="1"))
    async with Registry() as gone:
        gone.lie(Status(503))
        realm = f"{gone.url}/token" if there else "http://127.0.0.1:1/token"
        client = connect(insecure=frozenset({"127.0.0.1"}))
        client._session.expected[registry.host] = {"realm": realm}
        cost = Cost()
        looks = [client.ask(f"{registry.host}/team/app{number}:1", cost=cost) for number in range(8)]
        assert [each for each in await asyncio.gather(*looks) if isinstance(each, Unknown)] == []
        assert cost.requests == len(registry.requests) + 8
        assert len(gone.requests) == 8 * there


async def test_where_no_token_is_wanted_a_refused_one_does_no_harm(registry: Registry, connect: Connect) -> None:
    """An open repository beside one that wants a log-in, and a password that is no longer good."""
    registry.login = Login({"u": "p"}, repositories=frozenset({"private/app"}))
    for name in ("private/app:1", "open/app:1"):
        registry.push(name, NAMED)
    client = connect(Secrets(good=secret(registry.host, "u", "p"), old=secret(registry.host, "u", "old")))
    for name, secrets in (("private/app", "good"), ("open/app", "old"), ("private/app", "good"), ("open/app", "good")):
        found = await client.image(f"{registry.host}/{name}:1", namespace="a", pull_secrets=(secrets,))
        assert found.platforms[0].accounts == ACCOUNTS


@pytest.mark.parametrize(
    ("fault", "cause"), [(Status(404), None), (Status(503), "unreachable"), (Reset(), "unreachable")]
)
async def test_a_token_service_that_fails_is_not_relied_on(
    registry: Registry, client: Client, fault: Any, cause: str | None
) -> None:
    """It may have moved: the registry is asked where it is now, at once or the next time."""
    registry.login = Login({}, anonymous=True)
    for repository in ("team/one", "team/two"):
        registry.push(f"{repository}:1", NAMED)
    await client.image(f"{registry.host}/team/one:1")
    registry.lie(fault, path="/token", times=None if cause else 1)
    if cause:
        assert await client.cause(f"{registry.host}/team/two:1") == cause
        registry.honest()
        client.clock.now += 60
    asked = registry.asked(path="team/two")
    await client.image(f"{registry.host}/team/two:1")
    (demand, *_) = [each for each in registry.requests if "team/two" in each.path][asked:]
    assert not demand.authorization


async def test_a_client_needs_a_docker_config_that_can_be_read() -> None:
    """Or it does not start."""
    with pytest.raises(Exception, match="docker config cannot be used"):
        RegistryClient(docker_config=b"{")
