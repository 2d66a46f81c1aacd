"""The paths of the API: who is answered what, and what a client must not be told."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.images import Table, image
from tests.support.tables import table
from tests.unit.cluster.test_users import Reviews
from tests.unit.identity_api.test_callers import Certificates
from tests.unit.server.test_asgi import Reply
from webhook.identity_api.app import IdentityAPI
from webhook.identity_api.callers import Callers
from webhook.identity_api.external_data import KEYS_LIMIT
from webhook.identity_api.lookup import Lookup
from webhook.image.source import Unknown
from webhook.policy.cache import PolicySnapshot
from webhook.policy.types import Documents, KnownImage, Metadata, NonRootPolicy, PolicySpec

TOKEN = "t0k"
SECRET = "registry.example/secret:1"
KNOWN = Documents((NonRootPolicy(Metadata("p"), PolicySpec(known_images=(KnownImage("local/*", 42),))),))


class Asked:
    """The API, its parts, and what it was told of each answer."""

    def __init__(self) -> None:
        self.images = Table(
            {"app:1": image("app"), "root:1": image("root"), SECRET: Unknown("unauthorized", "the registry refuses")}
        )
        self.reviews = Reviews()
        self.counted: list[tuple[str, int]] = []
        self.app = IdentityAPI(
            Lookup(self.images, PolicySnapshot(KNOWN)),
            Callers(Certificates(), self.reviews),
            self._elsewhere,
            lambda path, status: self.counted.append((path, status)),
        )

    async def _elsewhere(self, _scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def __call__(
        self, path: str, body: bytes = b"", *, token: str = TOKEN, certificate: str = "", **query: Any
    ) -> Reply:
        headers = [(b"content-type", b"application/json"), (b"authorization", f"Bearer {token}".encode())]
        scope: dict[str, Any] = {
            "type": "http",
            "path": path,
            "method": "POST" if body else "GET",
            "headers": headers if token else headers[:1],
            "query_string": urlencode(query, doseq=True).encode(),
            "extensions": {"tls": {"client_cert_chain": (certificate,)}} if certificate else {},
        }
        reply = Reply()
        messages = iter([{"type": "http.request", "body": body}])

        async def receive() -> Any:
            return next(messages, {"type": "http.disconnect"})

        await self.app(scope, receive, reply.send)
        return reply

    async def get(self, **query: Any) -> tuple[int, dict[str, Any]]:
        """The status and the answer about an image."""
        reply = await self("/v1/identities", **query)
        return reply.status, json.loads(reply.body)

    async def provide(
        self, *keys: str, of: Mapping[str, Any] = MappingProxyType({}), **query: Any
    ) -> tuple[int, dict[str, Any]]:
        """The status and the response to keys, `of` a namespace and its secrets."""
        request = {"apiVersion": "externaldata.gatekeeper.sh/v1beta1", "kind": "ProviderRequest"}
        reply = await self("/externaldata", json.dumps({**request, "request": {"keys": keys, **of}}).encode(), **query)
        answered = json.loads(reply.body)
        assert (answered["apiVersion"], answered["kind"]) == (request["apiVersion"], "ProviderResponse")
        assert answered["response"]["idempotent"] is True
        return reply.status, answered["response"]


@pytest.fixture
def asked() -> Asked:
    return Asked()


async def test_an_image_is_answered(asked: Asked) -> None:
    status, answered = await asked.get(image="app:1", namespace="shops", serviceAccount="web", timeout=1.5)
    assert (status, answered["uid"], answered["root"], answered["runAsUser"]) == (200, 1000, False, 1000)
    (query,) = asked.images.asked
    assert (query.namespace, query.service_account, query.pull_secrets, query.budget) == ("shops", "web", (), 1.5)
    assert asked.counted == [("/v1/identities", 200)]


async def test_pull_secrets_of_the_pod_replace_those_of_its_account(asked: Asked) -> None:
    await asked.get(image="app:1", namespace="shops", serviceAccount="web", pullSecret=["a", "b"], architecture="arm64")
    (query,) = asked.images.asked
    assert (query.service_account, query.pull_secrets, query.architectures) == ("", ("a", "b"), frozenset({"arm64"}))


async def test_an_image_that_could_not_be_read_is_an_answer(asked: Asked) -> None:
    status, answered = await asked.get(image=SECRET, namespace="shops")
    assert (status, answered["unknown"]) == (200, {"cause": "unauthorized", "detail": "the registry refuses"})


async def test_a_policys_known_images_count(asked: Asked) -> None:
    _, answered = await asked.get(image="docker.io/local/app:1", namespace="shops")
    assert (answered["source"], answered["uid"]) == ("known", 42)


async def test_without_an_identity_nothing_is_answered(asked: Asked) -> None:
    for certificate, token in (("", ""), ("bad", ""), ("", "other")):
        reply = await asked("/v1/identities", image="app:1", namespace="shops", token=token, certificate=certificate)
        assert (reply.status, reply.headers["www-authenticate"], reply.headers["connection"]) == (
            401,
            "Bearer",
            "close",
        )
        assert "app" not in json.loads(reply.body)["detail"]
    assert asked.images.asked == []


async def test_without_the_right_in_its_namespace_nothing_is_answered(asked: Asked) -> None:
    """The refusal says which binding is missing, and the image's name is not asked for."""
    for namespace, binding in (("bank", "RoleBinding in namespace bank"), ("", "ClusterRoleBinding")):
        status, answered = await asked.get(image="app:1", namespace=namespace)
        assert (status, binding in answered["detail"]) == (403, True)
        assert "nonroot-webhook-identities" in answered["detail"]
    assert asked.images.asked == []


@table(
    ("query", "says"),
    {
        "no image": ({"namespace": "shops"}, "query.image: Field required"),
        "a time that is none": ({"image": "a", "timeout": "soon"}, "query.timeout"),
        "too much time": ({"image": "a", "timeout": 11}, "less than or equal to 10"),
        "another system": ({"image": "a", "os": "plan9"}, "'linux' or 'windows'"),
        "a long image": ({"image": "a" * 2000}, "longer than 1024 characters"),
        "a secret of nowhere": ({"image": "a", "pullSecret": "b"}, "need their namespace"),
        "many secrets": ({"image": "a", "namespace": "b", "pullSecret": list("abcdefghijklmnopqr")}, "more than 16"),
    },
)
async def test_what_cannot_be_answered_is_a_400_that_says_why(asked: Asked, query: dict[str, Any], says: str) -> None:
    status, answered = await asked.get(**query)
    assert (status, says in answered["detail"]) == (400, True)
    assert len(answered["detail"]) < 200


async def test_a_name_that_is_no_image_is_unknown(asked: Asked) -> None:
    _, answered = await asked.get(image="A B", namespace="shops")
    assert answered["unknown"]["cause"] == "invalid"


def _key(image_: str, namespace: str = "shops", **more: Any) -> str:
    return json.dumps({"image": image_, "namespace": namespace, **more})


async def test_gatekeeper_is_answered_key_by_key(asked: Asked) -> None:
    """In their order, each once looked for; what is unknown, forbidden or no key is that key's error."""
    keys = (_key("app:1"), _key(SECRET), _key("app:1", "bank"), "app:1", _key("root:1"), _key("app:1"))
    status, response = await asked.provide(*keys, keys="objects")
    assert (status, response["systemError"]) == (200, "")
    items = response["items"]
    assert [each["key"] for each in items] == list(keys)
    assert [each["value"]["root"] if each["value"] else None for each in items] == [
        False,
        None,
        None,
        None,
        True,
        False,
    ]
    assert items[1]["error"] == "unauthorized: the registry refuses"
    assert "RoleBinding in namespace bank" in items[2]["error"]
    assert items[3]["error"].startswith("the key is not as keys=objects has it: ")
    assert len(asked.images.asked) == 3


async def test_the_answer_to_a_key_is_that_of_the_other_path(asked: Asked) -> None:
    _, response = await asked.provide(_key("app:1"), keys="objects")
    _, answered = await asked.get(image="app:1", namespace="shops")
    assert response["items"][0]["value"] == answered


async def test_an_image_is_no_place_to_ask_for_another_namespace(asked: Asked) -> None:
    """Where keys are images, who writes an image cannot name a namespace in it, though the caller may ask for that one."""
    _, response = await asked.provide(_key("app:1"), certificate="good")
    assert asked.images.asked == []
    assert "ClusterRoleBinding" in response["items"][0]["error"]


async def test_a_request_may_say_whose_images_its_keys_are(asked: Asked) -> None:
    """As a program does that is not Gatekeeper, and keeps what a Pod's author writes out of the rest."""
    of = {"namespace": "shops", "pullSecrets": ["a", "b"], "serviceAccount": "web", "os": "windows"}
    _, response = await asked.provide("app:1", _key("app:1"), of=of)
    good, bad = response["items"]
    assert good["key"] == "app:1"
    assert good["value"]["image"] == "app:1"
    assert bad["error"].startswith("invalid: ")
    query = asked.images.asked[0]
    assert (query.namespace, query.pull_secrets, query.os) == ("shops", ("a", "b"), "windows")
    _, response = await asked.provide("app:1", of={"namespace": "bank"})
    assert "RoleBinding in namespace bank" in response["items"][0]["error"]
    _, response = await asked.provide("app:1", of={"pullSecrets": ["a"]})
    assert "need their namespace" in response["items"][0]["error"]


@pytest.mark.parametrize("key", ["[]", "null", '{"image": 1}', '{"image": "a", "more": 1}', "{", "x" * 20_000])
async def test_a_key_that_is_none_has_an_error_of_its_own(asked: Asked, key: str) -> None:
    _, response = await asked.provide(key, _key("app:1"), keys="objects")
    bad, good = response["items"]
    assert bad["error"].startswith("the key is ")
    assert len(bad["error"]) < 200
    assert good["value"]["uid"] == 1000


@table(
    ("status", "body", "says"),
    {
        "no JSON": (400, b"{", "JSON"),
        "no request": (400, b'{"apiVersion":"externaldata.gatekeeper.sh/v1beta1","kind":"ProviderRequest"}', "request"),
        "another version": (400, b'{"apiVersion":"v9","kind":"ProviderRequest","request":{"keys":[]}}', "apiVersion"),
    },
)
async def test_no_request_is_a_system_error(asked: Asked, status: int, body: bytes, says: str) -> None:
    """Gatekeeper decodes the body whatever the status is, and a template reads `system_error`."""
    reply = await asked("/externaldata", body)
    assert reply.status == status
    assert says in json.loads(reply.body)["response"]["systemError"]


async def test_too_many_keys_are_refused_at_once(asked: Asked) -> None:
    status, response = await asked.provide(*map(str, range(KEYS_LIMIT + 1)))
    assert (status, response["items"], "1001 keys" in response["systemError"]) == (413, [], True)


async def test_gatekeeper_hears_why_nobody_is_answered(asked: Asked) -> None:
    status, response = await asked.provide(_key("app:1"), token="")
    assert (status, response["items"]) == (401, [])
    assert "show a client certificate" in response["systemError"]


async def test_an_api_server_that_is_away_is_503(asked: Asked) -> None:
    asked.reviews.away = True
    reply = await asked("/v1/identities", image="app:1", namespace="shops")
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")


async def test_it_describes_itself(asked: Asked) -> None:
    reply = await asked("/openapi.json", token="")
    document = json.loads(reply.body)
    assert set(document["paths"]) == {"/v1/identities", "/externaldata"}
    fields = document["components"]["schemas"]["IdentityResponse"]["properties"]
    assert fields["runAsUser"]["description"].startswith("The runAsUser that keeps the identity")
    parameters = {each["name"] for each in document["paths"]["/v1/identities"]["get"]["parameters"]}
    assert {"image", "namespace", "serviceAccount", "pullSecret", "timeout"} <= parameters


async def test_every_other_path_is_somebody_elses(asked: Asked) -> None:
    assert (await asked("/healthz")).status == 418
    assert asked.counted == []
