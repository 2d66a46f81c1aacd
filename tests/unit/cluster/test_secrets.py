"""Secrets, read and written at a small server that answers as scripted."""

import pytest

from tests.support.scripted import PASSWORD, Api, a_secret, status
from webhook.cluster import secrets
from webhook.cluster.client import Cluster
from webhook.cluster.errors import Conflict, Denied, Forbidden, Unreachable
from webhook.cluster.secrets import Secret


async def test_a_secret_is_decoded_and_its_values_are_in_no_repr(api: Api, connection: Cluster) -> None:
    api.answer(200, a_secret(key=PASSWORD))
    found = await secrets.read(connection, "web", "pull")
    assert found == Secret("kubernetes.io/dockerconfigjson", {"key": PASSWORD}, "7")
    assert PASSWORD.decode() not in repr(found)
    assert api.asked[0][:2] == ("GET", "/api/v1/namespaces/web/secrets/pull")


async def test_a_secret_without_data_is_empty(api: Api, connection: Cluster) -> None:
    api.answer(200, {"metadata": {}, "type": "Opaque"})
    assert await secrets.read(connection, "web", "pull") == Secret("Opaque", {})


async def test_what_is_not_there_is_none(api: Api, connection: Cluster) -> None:
    api.answer(404, status(404, "not found"))
    assert await secrets.read(connection, "web", "pull") is None


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "a?b=c", "a#b", "A", "%2e%2e", "a\n", "-a", "a..b", "é"])
async def test_a_name_that_no_object_can_have_is_never_asked_for(api: Api, connection: Cluster, name: str) -> None:
    assert await secrets.read(connection, "web", name) is None
    assert await secrets.read(connection, name, "pull") is None
    assert api.asked == []


async def test_a_new_secret_is_created_and_a_read_one_replaced_under_its_version(api: Api, connection: Cluster) -> None:
    await secrets.write(connection, "web", "ca", Secret("Opaque", {"a": b"\xff"}))
    await secrets.write(connection, "web", "ca", Secret("Opaque", {"a": b"\xff"}, "7"))
    (method, path, created, _), (method_2, path_2, replaced, _) = api.asked
    assert (method, path) == ("POST", "/api/v1/namespaces/web/secrets")
    assert (method_2, path_2) == ("PUT", "/api/v1/namespaces/web/secrets/ca")
    assert "resourceVersion" not in created["metadata"]
    assert replaced["metadata"]["resourceVersion"] == "7"
    assert replaced["data"] == {"a": "/w=="}


@pytest.mark.parametrize(
    ("code", "message", "error"),
    [
        (401, "because", Forbidden),
        (403, 'secrets is forbidden: User "me" cannot create resource "secrets"', Forbidden),
        (403, 'admission webhook "x" denied the request: because', Denied),
        (403, 'secrets "ca" is forbidden: exceeded quota: because', Denied),
        (404, "because", Conflict),
        (409, "because", Conflict),
        (422, "because", Denied),
        (500, "because", Unreachable),
    ],
)
async def test_a_refusal_names_the_object_and_the_reason(
    api: Api, connection: Cluster, code: int, message: str, error: type[Exception]
) -> None:
    api.answer(code, status(code, message))
    with pytest.raises(error, match=rf"^Secret web/ca: POST was answered {code} {message}") as raised:
        await secrets.write(connection, "web", "ca", Secret("Opaque", {"a": PASSWORD}))
    assert PASSWORD.decode() not in str(raised.value)
    assert "t0ken" not in str(raised.value)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"metadata": 1}', b'{"metadata": {}, "data": {"a": "%"}}'])
async def test_an_answer_that_is_none_is_no_secret(api: Api, connection: Cluster, body: bytes) -> None:
    api.body = body
    with pytest.raises(Unreachable, match="not what an API server gives"):
        await secrets.read(connection, "web", "pull")
