"""Where and as whom an image is asked for: pull secrets, the operator's credentials, mirrors."""

import base64
import json
from typing import Any

import pytest

from deploy.dev.oci import image
from deploy.dev.registry import Login, Registry, Reset, Status
from tests.unit.registry.samples import ACCOUNTS, BOTH, NAMED, Connect, Secret, Secrets, docker_config, secret
from webhook.image.source import Unknown
from webhook.registry.settings import Host


async def test_the_pods_own_secret_opens(registry: Registry, connect: Connect) -> None:
    """Nobody else's does, though the content is in memory."""
    registry.login = Login({"u": "p"})
    registry.push("team/app:1", NAMED)
    reference = f"{registry.host}/team/app:1"
    client = connect(Secrets(good=secret(registry.host, "u", "p"), bad=secret(registry.host, "u", "wrong")))
    found = await client.image(reference, namespace="a", pull_secrets=("good",))
    assert found.platforms[0].accounts == ACCOUNTS
    by_digest = f"{registry.host}/team/app@{found.digest}"
    for asked in (reference, by_digest):
        assert await client.cause(asked, namespace="b") == "unauthorized"
        assert await client.cause(asked, namespace="b", pull_secrets=("bad",)) == "unauthorized"
        assert await client.cause(asked, namespace="b", pull_secrets=("missing",)) == "unauthorized"
    assert (await client.image(by_digest, namespace="c", pull_secrets=("good",))).digest == found.digest


async def test_every_credential_is_tried_in_turn(registry: Registry, connect: Connect) -> None:
    """And nobody goes anonymously who has one."""
    registry.login = Login({"u": "p"})
    registry.push("team/app:1", image(user="1"))
    reference = f"{registry.host}/team/app:1"
    client = connect(Secrets(bad=secret(f"{registry.host}/team", "x", "y"), good=secret(registry.host, "u", "p")))
    await client.image(reference, namespace="a", pull_secrets=("bad", "good"))
    tokens = [each.authorization for each in registry.requests if each.path == "/token"]
    assert [base64.b64decode(each.removeprefix("Basic ")).decode() for each in tokens] == ["x:y", "u:p"]


async def test_the_operators_credentials_serve_everybody(registry: Registry, connect: Connect) -> None:
    """They come after the Pod's."""
    registry.login = Login({"u": "p"}, scheme="Basic")
    registry.push("team/app:1", image(user="1"))
    client = connect(Secrets(bad=secret(registry.host, "x", "y")), docker_config(registry.host, "u", "p"))
    await client.image(f"{registry.host}/team/app:1")
    await client.image(f"{registry.host}/team/app:1", namespace="a", pull_secrets=("bad",))


async def test_a_secret_that_cannot_be_read_matters_only_if_it_is_needed(registry: Registry, connect: Connect) -> None:
    """A public image is read without; for a private one the reason is given."""
    registry.login = Login({"u": "p"}, repositories=frozenset({"private/app"}))
    registry.push("private/app:1", image(user="1"))
    registry.push("public/app:1", image(user="1"))
    refused = Unknown("unauthorized", "secrets are forbidden in namespace a: add the RoleBinding")
    client = connect(Secrets(s=refused))
    await client.image(f"{registry.host}/public/app:1", namespace="a", pull_secrets=("s",))
    assert await client.ask(f"{registry.host}/private/app:1", namespace="a", pull_secrets=("s",)) == refused


async def test_a_template_is_opened_by_its_accounts_secrets(registry: Registry, connect: Connect) -> None:
    """Those of its own namespace, and nobody else's; why they could not be read is told where it matters."""
    registry.login = Login({"u": "p"}, repositories=frozenset({"private/app"}))
    registry.push("private/app:1", image(user="1"))
    registry.push("public/app:1", image(user="1"))
    secrets = Secrets(s=secret(registry.host, "u", "p"))
    refused = Unknown("unauthorized", "accounts are forbidden in namespace c: add the RoleBinding")
    secrets.accounts = {"a/web": ("s",), "c/web": refused}
    client = connect(secrets)
    reference = f"{registry.host}/private/app:1"
    await client.image(reference, namespace="a", service_account="web")
    assert await client.cause(reference, namespace="a", service_account="default") == "unauthorized"
    assert await client.cause(reference, namespace="b", service_account="web") == "unauthorized"
    assert await client.ask(reference, namespace="c", service_account="web") == refused
    await client.image(f"{registry.host}/public/app:1", namespace="c", service_account="web")


async def test_a_broken_secret_breaks_the_pull(registry: Registry, connect: Connect) -> None:
    """As it does for the kubelet; it is named, and not shown."""
    registry.push("team/app:1", image(user="1"))
    broken = Secret("kubernetes.io/dockerconfigjson", {".dockerconfigjson": b'{"auths": "hunter2'})
    client = connect(Secrets(s=broken))
    detail = await client.detail(f"{registry.host}/team/app:1", namespace="a", pull_secrets=("s",))
    assert "a/s" in detail
    assert "hunter2" not in detail


async def test_no_more_secrets_are_read_than_a_pod_needs(registry: Registry, connect: Connect) -> None:
    """Those beyond the limits are left out, which is told where it matters; they cost nobody time or memory."""
    registry.login = Login({"u": "p"}, repositories=frozenset({"private/app"}))
    for name in ("private/app", "public/app"):
        registry.push(f"{name}:1", image(user="1"))
    many = json.dumps({"auths": {f"a{each}*.example": {} for each in range(501)}}).encode()
    large = json.dumps({"auths": {"a.example": {"auth": base64.b64encode(b"u:" + b"p" * (1 << 20)).decode()}}}).encode()
    held = Secrets(
        many=Secret("kubernetes.io/dockerconfigjson", {".dockerconfigjson": many}),
        old=Secret("kubernetes.io/dockercfg", {".dockercfg": json.dumps(json.loads(many)["auths"]).encode()}),
        large=Secret("kubernetes.io/dockerconfigjson", {".dockerconfigjson": large}),
        good=secret(registry.host, "u", "p"),
    )
    client = connect(held)
    private, public = f"{registry.host}/private/app:1", f"{registry.host}/public/app:1"
    refusals = {
        "a/many is not read: the Pod's pull secrets would name more than 500 registries": ("many",),
        "a/old is not read: the Pod's pull secrets would name more than 500 registries": ("old",),
        "a/large is not read: the Pod's pull secrets would have more than 1024 KiB": ("large",),
        "the Pod has 1001 pull secrets, of which the first 100 are read": (*map(str, range(1000)), "good"),
    }
    for detail, names in refusals.items():
        found = await client.ask(private, namespace="a", pull_secrets=names)
        assert isinstance(found, Unknown)
        assert found.cause == "tooLarge"
        assert detail in found.detail
        await client.image(public, namespace="a", pull_secrets=names)
        await client.image(private, namespace="a", pull_secrets=("good", *names))
    assert len(held.asked) < 500


async def test_secrets_are_read_again_when_the_answer_expires(registry: Registry, connect: Connect) -> None:
    """Not on every question, and their values are kept by nobody."""
    registry.login = Login({"u": "p"})
    registry.push("team/app:1", image(user="1"))
    secrets = Secrets(s=secret(registry.host, "u", "p"))
    client = connect(secrets)
    for _ in range(3):
        await client.image(f"{registry.host}/team/app:1", namespace="a", pull_secrets=("s",))
    assert secrets.asked == ["a/s"]
    secrets.secrets["s"] = None
    client.clock.now += 301
    assert await client.cause(f"{registry.host}/team/app:1", namespace="a", pull_secrets=("s",)) == "unauthorized"


async def test_a_mirror_is_asked_first_with_the_registry_as_ns(registry: Registry, connect: Connect) -> None:
    """With the operator's credentials for it, never the Pod's; a mirror that fails is passed over."""
    async with Registry(Login({"m": "m"}, scheme="Basic")) as mirror:
        for each in (registry, mirror):
            each.push("team/app:1", NAMED)
        client = connect(
            Secrets(s=secret(registry.host, "u", "p")),
            docker_config(mirror.host, "m", "m"),
            insecure=frozenset({registry.host, mirror.host}),
            hosts={registry.host: (Host(mirror.host), Host())},
        )
        reference = f"{registry.host}/team/app:1"
        found = await client.image(reference, namespace="a", pull_secrets=("s",))
        assert found.platforms[0].accounts == ACCOUNTS
        assert registry.requests == []
        assert {each.query.get("ns") for each in mirror.requests} == {registry.host}
        basic = base64.b64encode(b"m:m").decode()
        assert {each.authorization for each in mirror.requests} == {"", f"Basic {basic}"}
        for fault in (Status(404), Status(503), Reset()):
            client.clock.now += 400
            mirror.honest()
            mirror.lie(fault)
            assert (await client.image(reference)).age == 0
        assert registry.asked(path="manifests/1") == 3


@pytest.mark.parametrize("path", ["manifests/sha256", "blobs"])
@pytest.mark.parametrize("fault", [Status(404), Status(503), Status(401), Reset()])
async def test_what_a_mirror_does_not_have_is_had_from_the_next(
    registry: Registry, connect: Connect, fault: Any, path: str
) -> None:
    """It knows the tag, and fails when it is asked for what is behind it."""
    async with Registry() as mirror:
        for each in (registry, mirror):
            each.push("team/app:1", BOTH)
        mirror.lie(fault, path=path)
        client = connect(
            insecure=frozenset({registry.host, mirror.host}), hosts={registry.host: (Host(mirror.host), Host())}
        )
        found = await client.image(f"{registry.host}/team/app:1")
        assert found.digest == BOTH.digest
        assert found.platforms[0].accounts == ACCOUNTS
        assert registry.asked("HEAD") == 0
        assert registry.asked("GET", path) > 0
