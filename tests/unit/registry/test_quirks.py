"""What registries in the field do beside the specification, each with the public thread that tells of it.

What a node's containerd makes of it stands with each row: from containerd 2.3.4, run against the same answers when the row was
written, or from its source (core/remotes/docker and core/images). tests/integration/registry/test_containerd.py runs the one of
`deploy/local`, an older one, against them today. Where nodes can pull, we read; where they refuse, we say why or are more lenient.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from deploy.dev.oci import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Content,
    accounts_layer,
    document,
    image,
    index,
)
from deploy.dev.registry import Headers, Login, Redirect, Registry, Replace, Request, Reset, Status
from tests.unit.registry.clients import Client
from tests.unit.registry.samples import ACCOUNTS, BASE, NAMED, Connect, Secrets, docker_config, secret
from webhook.image import reference as references
from webhook.image.source import Image, Query, Unknown
from webhook.registry.endpoints import Endpoints
from webhook.registry.settings import Host, RegistrySettings

OTHER = image(accounts_layer("app:x:8:8::/:"), user="app")
ARM = image(BASE, user="app", architecture="arm64")
BOTH = index(NAMED, ARM)
ANYBODY = Login({}, anonymous=True)
USER = Login({"u": "p"})

Response = tuple[int, dict[str, str], bytes]


class Odd(Registry):
    """A registry with a challenge, a token service or answers of its own."""

    challenge: str = ""
    token: Callable[[Request, Response], Response] | None = None
    answer: Callable[[Request, Response], Response] | None = None

    def _challenge(self, name: str) -> dict[str, str]:
        if not self.challenge:
            return super()._challenge(name)
        return {"WWW-Authenticate": self.challenge.replace("URL", self.url).replace("NAME", name)}

    def _token(self, seen: Request) -> Response:
        usual = super()._token(seen)
        return self.token(seen, usual) if self.token else usual

    def _answer(self, seen: Request) -> Response:
        usual = super()._answer(seen)
        return self.answer(seen, usual) if self.answer and seen.path != "/token" else usual


def without(content: Content, child: int) -> Callable[[Registry], None]:
    """The registry has an index, but not one of its manifests."""

    def forget(registry: Registry) -> None:
        registry._manifests = {
            key: value for key, value in registry._manifests.items() if key[1] != content.children[child].digest
        }

    return forget


# Logging in.


@pytest.mark.parametrize(
    "challenge",
    [
        pytest.param('Bearer realm="URL/token",service="r"', id="no scope: containerd#3556, containerd#1465 (ok)"),
        pytest.param('Bearer realm="URL/token"', id="neither service nor scope: regclient#28 (ok)"),
        pytest.param('Bearer realm="URL/token",service="r",scope=repository:NAME:pull', id="unquoted: flux#123"),
        pytest.param('Bearer realm=URL/token,service=r,scope="repository:NAME:pull"', id="unquoted realm: flux#123"),
        pytest.param(
            'BEARER Realm="URL/token" , Service="r",Scope="repository:NAME:pull"', id="capitals: devcontainers#884"
        ),
        pytest.param(
            'Basic realm="x",Bearer realm="URL/token",scope="repository:NAME:pull"', id="Basic first: Artifactory"
        ),
        pytest.param(
            'Negotiate, NTLM, Digest qop="auth,auth-int", nonce="a", Bearer realm="URL/token",scope="repository:NAME:pull"',
            id="other schemes: ggcr ping.go",
        ),
        pytest.param(
            'Bearer realm="URL/token?account=x",service="r:5000",scope="repository:NAME:pull"', id="query: pulp#1626"
        ),
    ],
)
async def test_challenges(connect: Connect, challenge: str) -> None:
    """Are read however they are written."""
    async with Odd(USER) as odd:
        odd.challenge = challenge
        odd.push("team/app:1", NAMED)
        await connect(None, docker_config(odd.host, "u", "p"), insecure=frozenset({odd.host})).image(
            f"{odd.host}/team/app:1"
        )


async def test_basic_in_capitals(connect: Connect) -> None:
    """Nexus (devcontainers#884)."""
    async with Odd(Login({"u": "p"}, scheme="Basic")) as odd:
        odd.challenge = 'BASIC realm="Sonatype Nexus Repository Manager"'
        odd.push("team/app:1", NAMED)
        await connect(None, docker_config(odd.host, "u", "p"), insecure=frozenset({odd.host})).image(
            f"{odd.host}/team/app:1"
        )


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"token": None, "access_token": "TOKEN"}, id="access_token alone: oras-go#87 (ok)"),
        pytest.param({"access_token": "wrong"}, id="both"),
        pytest.param({"expires_in": "300"}, id="text (containerd refuses)"),
        pytest.param({"expires_in": 0}, id="no life (containerd: never expires)"),
        pytest.param({"expires_in": 299.9}, id="fraction (containerd refuses)"),
        pytest.param({"refresh_token": "r", "token_type": "Bearer", "scope": "x", "issued_at": "now"}, id="more"),
    ],
)
async def test_token_answers(connect: Connect, change: Mapping[str, Any]) -> None:
    """Of any form that holds a token."""

    def answer(_: Request, usual: Response) -> Response:
        fields = json.loads(usual[2])
        token = fields["token"]
        fields |= {key: token if value == "TOKEN" else value for key, value in change.items()}
        return 200, usual[1], json.dumps(fields).encode()

    async with Odd(ANYBODY) as odd:
        odd.token = answer
        odd.push("team/app:1", NAMED)
        await connect(insecure=frozenset({odd.host})).image(f"{odd.host}/team/app:1")


async def test_a_token_that_says_who_nobody_is(connect: Connect) -> None:
    """OpenShift's is the word anonymous (openshift/origin#9887)."""
    async with Odd(ANYBODY) as odd:
        odd.token = lambda _seen, _usual: (200, {}, b'{"token":"anonymous"}')
        odd._tokens["anonymous"] = frozenset({"team/app"})
        odd.push("team/app:1", NAMED)
        await connect(insecure=frozenset({odd.host})).image(f"{odd.host}/team/app:1")


async def test_an_identity_token(connect: Connect) -> None:
    """ACR takes it by POST alone (containerd core/remotes/docker/authorizer.go)."""
    async with Registry(Login({}, refresh_tokens=frozenset({"rt"}), oauth="post")) as registry:
        registry.push("team/app:1", NAMED)
        config = {"auths": {registry.host: {"auth": "MDAwMDAwMDA6", "identitytoken": "rt"}}}
        client = connect(None, json.dumps(config).encode(), insecure=frozenset({registry.host}))
        await client.image(f"{registry.host}/team/app:1")


@pytest.mark.parametrize("status", [200, 400, 403, 404, 500])
async def test_a_mirror_under_a_path_whose_token_service_knows_its_own_scope_alone(
    connect: Connect, status: int
) -> None:
    """Harbor, Artifactory (containerd#9648, #13412, #4358; harbor#11108): each image after the first in one request less."""

    def answer(seen: Request, usual: Response) -> Response:
        own = seen.query.get("scope", "").startswith("repository:proxy/")
        return usual if own else (status, {}, b'{"token":"nothing"}')

    async with Odd(ANYBODY) as odd:
        odd.token = answer
        client = connect(insecure=frozenset({odd.host}), hosts={"docker.io": (Host(odd.host, "/v2/proxy"),)})
        asked: list[int] = []
        for name in ("a", "b", "c"):
            odd.push(f"proxy/library/{name}:1", image(user="1"))
            await client.image(f"docker.io/library/{name}:1")
            asked.append(len(odd.requests) - sum(asked))
        assert asked == [4, 3, 3]


@pytest.mark.parametrize(
    ("scope", "second"),
    [
        pytest.param("aws", 3, id="public.ecr.aws: containers-roadmap#2671, oras-dotnet#395"),
        pytest.param("repository:app:pull", 3, id="Artifactory leaves its repository key out: oras-go#650"),
    ],
)
async def test_a_scope_of_the_registrys_own(connect: Connect, scope: str, second: int) -> None:
    """It is sent back as it came, and for the next repository in the same form."""

    def answer(seen: Request, _: Response) -> Response:
        if seen.query.get("scope") not in {"aws", "repository:app:pull", "repository:other:pull"}:
            return 400, {}, b'{"errors":[]}'
        odd._tokens["t"] = frozenset({"team/app", "team/other"})
        return 200, {}, b'{"token":"t"}'

    async with Odd(ANYBODY) as odd:
        odd.challenge, odd.token = f'Bearer realm="URL/token",service="s",scope="{scope}"', answer
        client = connect(insecure=frozenset({odd.host}))
        for name in ("app", "other"):
            odd.push(f"team/{name}:1", image(user="1"))
            before = len(odd.requests)
            await client.image(f"{odd.host}/team/{name}:1")
        assert len(odd.requests) - before == second


@pytest.mark.parametrize(
    "void",
    [
        pytest.param((401, {"WWW-Authenticate": 'Basic realm="harbor"'}, b""), id="Harbor: ggcr#1744, v2auth/auth.go"),
        pytest.param((403, {}, b'{"errors":[{"code":"DENIED"}]}'), id="ECR: an expired token is forbidden"),
    ],
)
async def test_a_void_token(connect: Connect, void: Response) -> None:
    """Is asked for anew (containerd has a new one for every pull)."""
    async with Odd(ANYBODY) as odd:
        odd.answer = lambda seen, usual: void if usual[0] == 401 and seen.authorization else usual
        odd.push("team/app:1", NAMED)
        odd.push("team/app:2", OTHER)
        client = connect(insecure=frozenset({odd.host}))
        await client.image(f"{odd.host}/team/app:1")
        odd._tokens.clear()
        await client.image(f"{odd.host}/team/app:2")


async def test_a_token_service_at_a_private_address(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """GitLab's own (docker/model-runner#1050, ggcr#2258; containerd asks it): refused by our rules, with the remedy."""
    async with Registry(Login({"u": "p"}, realm="https://10.1.2.3/jwt/auth")) as registry:
        registry.push("team/app:1", NAMED)
        client = connect(None, docker_config(registry.host, "u", "p"), insecure=frozenset({registry.host}))
        detail = await client.detail(f"{registry.host}/team/app:1")
        assert "10.1.2.3 has an address that is not allowed" in detail
        assert "list it under allowed" in detail


async def test_cookies_are_not_sent_back(registry: Registry, client: Client) -> None:
    """Harbor sets some (regclient#865; containerd keeps none)."""
    registry.lie(Headers({"Set-Cookie": "sid=1; Path=/; HttpOnly"}))
    registry.push("team/app:1", NAMED)
    await client.image(f"{registry.host}/team/app:1")
    assert all("Cookie" not in each.headers for each in registry.requests)


# Redirects.


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_to_a_registry_that_wants_a_token(connect: Connect, status: int) -> None:
    """A gateway (ggcr#2333, #2359, #2360; regclient#805; containers/image#641; containerd: ok)."""
    async with Registry() as gateway, Registry(ANYBODY) as behind:
        behind.push("team/app:1", NAMED)
        gateway.lie(Redirect(f"{behind.url}{{path}}", status), path="^/v2/team/")
        client = connect(
            None, docker_config(gateway.host, "u", "hunter2"), insecure=frozenset({gateway.host, behind.host})
        )
        found = await client.image(f"{gateway.host}/team/app:1")
        assert found.platforms[0].accounts == ACCOUNTS
        assert all(not each.authorization.startswith("Basic") for each in behind.requests)


async def test_a_signed_link_is_followed_to_the_letter(connect: Connect) -> None:
    """And without the password, which S3 and Azure refuse beside it (OPA#6728, oras-java#334, acr#217, moby#50065)."""
    async with Odd(Login({"u": "p"}, scheme="Basic")) as registry, Registry() as store:
        for each in (registry, store):
            each.push("team/app:1", NAMED)
        registry.lie(Redirect(f"{store.url}{{path}}?X-Amz-Signature=a%2Bb%2F%3D&x=%20y"), path="blobs")
        client = connect(None, docker_config(registry.host, "u", "p"), insecure=frozenset({registry.host, store.host}))
        await client.image(f"{registry.host}/team/app:1")
        assert {each.authorization for each in store.requests} == {""}
        assert store.requests[0].query == {"X-Amz-Signature": "a+b/=", "x": " y"}


async def test_a_signed_link_that_has_expired(connect: Connect) -> None:
    """It says nothing about the credentials (OPA#4196)."""
    async with Registry() as registry, Registry() as store:
        registry.push("team/app:1", NAMED)
        registry.lie(Redirect(f"{store.url}{{path}}"), path="blobs")
        store.lie(Status(403, {}, b"<Error><Code>AccessDenied</Code></Error>"))
        found = await connect(insecure=frozenset({registry.host, store.host})).ask(f"{registry.host}/team/app:1")
        assert isinstance(found, Unknown)
        assert found.cause == "unreachable"
        assert "may have expired" in found.detail
        assert "credentials" not in found.detail


# What documents say of themselves.


@pytest.mark.parametrize(
    ("content", "inside", "content_type"),
    [
        pytest.param(NAMED, OCI_MANIFEST, DOCKER_MANIFEST, id="Docker outside: buildah#2266 (ok)"),
        pytest.param(NAMED, DOCKER_MANIFEST, OCI_MANIFEST, id="OCI outside: buildah#2266 (ok)"),
        pytest.param(NAMED, None, DOCKER_MANIFEST, id="nothing inside: buildah#575 (ok)"),
        pytest.param(NAMED, None, OCI_MANIFEST, id="nothing inside, OCI (ok)"),
        pytest.param(NAMED, OCI_MANIFEST, "application/json", id="application/json: cri#787 (refused)"),
        pytest.param(NAMED, OCI_MANIFEST, "text/plain", id="text/plain: containerd resolver.go (refused)"),
        pytest.param(NAMED, OCI_MANIFEST, "application/octet-stream", id="octet-stream: harbor#7853 (refused)"),
        pytest.param(NAMED, OCI_MANIFEST, f"{OCI_MANIFEST}; charset=utf-8", id="a charset (ok)"),
        pytest.param(BOTH, OCI_INDEX, DOCKER_LIST, id="a list outside (ok)"),
        pytest.param(BOTH, None, OCI_INDEX, id="an index without a type: skopeo#2455 (ok)"),
    ],
)
async def test_media_types(
    registry: Registry, client: Client, content: Content, inside: str | None, content_type: str
) -> None:
    """What nodes take, and a little more."""
    fields = {key: value for key, value in json.loads(content.manifest.data).items() if key != "mediaType"}
    fields |= {"mediaType": inside} if inside else {}
    registry.push("team/app:1", content)
    registry.push("team/app:2", document(fields, content_type))
    assert isinstance(await client.ask(f"{registry.host}/team/app:2"), Image)


@pytest.mark.parametrize(
    ("content_type", "says"),
    [
        pytest.param("text/html", "no container image", id="gcr.io, quay.io: moby#30083, moby#19526 (refused)"),
        pytest.param(
            "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1", id="ggcr#411 (refused since 2.1)"
        ),
    ],
)
async def test_media_types_of_what_no_node_runs(
    registry: Registry, client: Client, content_type: str, says: str
) -> None:
    """Say so."""
    registry.push("team/app:1", NAMED)
    registry.lie(Headers({"Content-Type": content_type}), path="manifests")
    assert says in await client.detail(f"{registry.host}/team/app:1")


@pytest.mark.parametrize(
    ("content", "missing"),
    [
        pytest.param(BOTH, 1, id="sparse: distribution#3536, harbor#18216, skopeo#2882, oc-mirror#1435 (ok)"),
        pytest.param(index(NAMED, Content(OTHER.manifest)), 1, id="an entry without a platform that is gone (refused)"),
    ],
)
async def test_an_index_of_which_not_all_was_copied(
    registry: Registry, client: Client, content: Content, missing: int
) -> None:
    """What is there counts, and is not kept as the whole."""
    registry.push("team/app:1", content)
    without(content, missing)(registry)
    found = await client.image(f"{registry.host}/team/app:1")
    assert [str(each.platform) for each in found.platforms] == ["linux/amd64"]
    assert found.index is None


async def test_an_index_of_which_nothing_fitting_was_copied(registry: Registry, client: Client) -> None:
    """Nodes of the other kind cannot pull it either."""
    registry.push("team/app:1", BOTH)
    without(BOTH, 1)(registry)
    detail = await client.detail(f"{registry.host}/team/app:1", architectures=frozenset({"arm64"}))
    assert "the registry lacks the image that the index has for linux/arm64" in detail


# Digests and bodies.


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Status(405), id="HEAD is not allowed: ggcr#971 (asks by GET)"),
        pytest.param(Headers({"Docker-Content-Digest": None}), id="no digest: containerd#3238, distribution#1485 (ok)"),
        pytest.param(Headers({"Docker-Content-Digest": "garbage"}), id="no digest at all (refused)"),
    ],
)
async def test_head(registry: Registry, client: Client, fault: Status | Headers) -> None:
    """Where it says nothing, GET does."""
    registry.push("team/app:1", NAMED)
    await client.image(f"{registry.host}/team/app:1")
    registry.lie(fault, method="HEAD")
    client.clock.now += 400
    assert (await client.image(f"{registry.host}/team/app:1")).age == 0


@pytest.mark.parametrize("status", [403, 404])
async def test_head_that_refuses(registry: Registry, client: Client, status: int) -> None:
    """Nodes stop there too (containerd#6684, watchtower#669, crossplane#3223); a first look asks by GET."""
    registry.push("team/app:1", NAMED)
    registry.lie(Status(status), method="HEAD")
    await client.image(f"{registry.host}/team/app:1")
    client.clock.now += 400
    assert await client.cause(f"{registry.host}/team/app:1") in {"unauthorized", "notFound"}


async def test_no_digest_header_anywhere(registry: Registry, client: Client) -> None:
    """registry.access.redhat.com (containerd#3238; ok)."""
    registry.lie(Headers({"Docker-Content-Digest": None}))
    registry.push("team/app:1", BOTH)
    assert (await client.image(f"{registry.host}/team/app:1")).digest == BOTH.digest


async def test_a_content_encoding_that_is_not_true(registry: Registry, client: Client) -> None:
    """Of blobs that are gzip themselves (moby#17595); containerd believes it, and refuses."""
    registry.lie(Headers({"Content-Encoding": "gzip"}), path="blobs")
    registry.push("team/app:1", NAMED)
    assert (await client.image(f"{registry.host}/team/app:1")).platforms[0].accounts == ACCOUNTS


async def test_an_empty_body(registry: Registry, client: Client) -> None:
    """Under a length that promises more (distribution#4191): the connection broke, and the next may not."""
    registry.lie(Reset(0), path="blobs", times=1)
    registry.push("team/app:1", NAMED)
    await client.image(f"{registry.host}/team/app:1")


async def test_a_layer_one_byte_longer_than_promised(registry: Registry, client: Client) -> None:
    """Nodes refuse it (skopeo#1054)."""
    manifest = json.loads(NAMED.manifest.data)
    manifest["layers"][0]["size"] += 1
    registry.push("team/app:1", NAMED)
    registry.push("team/app:2", document(manifest))
    found = await client.image(f"{registry.host}/team/app:2")
    assert isinstance(found.platforms[0].accounts, Unknown)
    assert found.platforms[0].accounts.cause == "invalid"


async def test_an_address_with_brackets(connect: Connect) -> None:
    """With a port and credentials (RFC 3986)."""
    async with Registry(USER, address="::1") as registry:
        host = f"[::1]:{registry.host.rpartition(':')[2]}"
        registry.login = Login({"u": "p"}, realm=f"http://{host}/token")
        registry.push("team/app:1", NAMED)
        await connect(None, docker_config(host, "u", "p"), insecure=frozenset({host})).image(f"{host}/team/app:1")


# Mirrors.


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Status(401, {"WWW-Authenticate": 'Basic realm="harbor"'}), id="containerd#9997, #7321 (next)"),
        pytest.param(Status(403), id="containerd#7321 (next)"),
        pytest.param(Status(429), id="rate limits (next)"),
        pytest.param(Status(500), id="spegel: k3s#10351 (next)"),
        pytest.param(Status(503), id="an ingress without its Pod: containerd#4531 (next)"),
        pytest.param(Reset(), id="down: cri#1336 (next)"),
    ],
)
async def test_a_mirror_that_fails_is_passed_over(registry: Registry, connect: Connect, fault: Status | Reset) -> None:
    """As nodes do."""
    async with Registry() as mirror:
        mirror.lie(fault)
        registry.push("team/app:1", NAMED)
        client = connect(
            insecure=frozenset({registry.host, mirror.host}), hosts={registry.host: (Host(mirror.host), Host())}
        )
        await client.image(f"{registry.host}/team/app:1")


async def test_a_mirrors_log_in_page(registry: Registry, connect: Connect) -> None:
    """It answers 200 (harbor#23882, #18530): nodes take it for the manifest, and fail; so it is invalid."""
    async with Registry() as mirror:
        for each in (registry, mirror):
            each.push("team/app:1", NAMED)
        mirror.lie(Headers({"Content-Type": "text/html", "Docker-Content-Digest": None}), path="manifests")
        mirror.lie(Replace(lambda _: b"<html>log in</html>"), path="manifests")
        mirror.lie(Headers({"Content-Length": "19"}), path="manifests")
        client = connect(
            insecure=frozenset({registry.host, mirror.host}), hosts={registry.host: (Host(mirror.host), Host())}
        )
        assert await client.cause(f"{registry.host}/team/app:1") == "invalid"


async def test_a_mirrors_refusal_does_not_hide_the_registrys_own(registry: Registry, connect: Connect) -> None:
    """The image is not there."""
    async with Registry() as mirror:
        mirror.lie(Status(401))
        client = connect(
            insecure=frozenset({registry.host, mirror.host}), hosts={registry.host: (Host(mirror.host), Host())}
        )
        assert await client.cause(f"{registry.host}/team/app:9") == "notFound"


async def test_a_mirror_is_not_sent_the_registrys_password(registry: Registry, connect: Connect) -> None:
    """containerd#4950."""
    async with Registry(Login({"x": "y"}, scheme="Basic")) as mirror:
        registry.login = Login({"u": "p"}, scheme="Basic")
        registry.push("team/app:1", NAMED)
        client = connect(
            None,
            docker_config(registry.host, "u", "p"),
            insecure=frozenset({registry.host, mirror.host}),
            hosts={registry.host: (Host(mirror.host), Host())},
        )
        await client.image(f"{registry.host}/team/app:1")
        assert mirror.requests
        assert {each.authorization for each in mirror.requests} == {""}


@pytest.mark.parametrize("server", ["registry.corp:443", "Registry.Corp", "registry.corp"])
@pytest.mark.parametrize("written", ["registry.corp", "Registry.Corp", "registry.corp:443"])
async def test_a_server_that_is_the_registry_itself(server: str, written: str) -> None:
    """With its default port or in capitals (containerd hosts.go, which compares them so): a Pod's secret is for it."""
    secrets = Secrets(s=secret(written, "u", "p"))
    endpoints = Endpoints(RegistrySettings(hosts={"registry.corp": (Host(server),)}), secrets, ())
    if written == "registry.corp:443":
        endpoints = Endpoints(RegistrySettings(hosts={written: (Host(server),)}), secrets, ())
    query = Query(f"{written}/a/b:1", pull_secrets=("s",))
    found, _ = await endpoints.for_image(query, references.parse(query.reference))
    assert [(each.mirrors, each.private) for each in found] == [("", True)]


# Statuses.


@pytest.mark.parametrize(
    ("status", "cause", "says"),
    [
        (400, "unreachable", "does not understand"),
        (402, "unauthorized", "quota"),
        (404, "notFound", "no such image"),
        (410, "notFound", "removed for good"),
        (451, "unauthorized", "legal reasons"),
    ],
)
async def test_statuses(registry: Registry, client: Client, status: int, cause: str, says: str) -> None:
    """Have words of their own."""
    registry.lie(Status(status))
    found = await client.ask(f"{registry.host}/team/app:1")
    assert isinstance(found, Unknown)
    assert found.cause == cause
    assert says in found.detail


async def test_a_404_in_other_words(registry: Registry, client: Client) -> None:
    """Harbor's code is NOT_FOUND (containers/image#2203)."""
    registry.lie(Status(404, {}, b'{"errors":[{"code":"NOT_FOUND","message":"artifact not found"}]}'))
    assert await client.cause(f"{registry.host}/team/app:1") == "notFound"


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none: ECR, kyverno#6123"),
        pytest.param({"Retry-After": "178.188\u00b5s"}, id="microseconds: GHCR, fleet#23605, etcd#18671"),
        pytest.param({"Retry-After": "-1"}, id="negative"),
        pytest.param({"ratelimit-reset": "5"}, id="another header"),
    ],
)
async def test_too_many_requests(registry: Registry, client: Client, headers: dict[str, str]) -> None:
    """Are asked again, whatever the answer says of when."""
    registry.push("team/app:1", NAMED)
    registry.lie(Status(429, headers), path="manifests", times=2)
    await client.image(f"{registry.host}/team/app:1")
