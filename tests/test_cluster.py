"""Calls to the Kubernetes API, against a small server that answers as told."""

import base64
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.config import kube_config

from webhook import cluster
from webhook.cluster import (
    Cluster,
    Conflict,
    Expired,
    Forbidden,
    PullSecrets,
    Secret,
    Terminating,
    Unreachable,
    WebhookConfiguration,
)
from webhook.image import Unknown

PASSWORD = b"hunter2-hunter2"


class Api:
    """What was asked, and what is answered."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any, str]] = []
        self.status = 200
        self.date = ""
        self.body: bytes = b"{}"
        self.pages: list[tuple[int, Any]] = []  # answers that come before that, each once

    def answer(self, status: int, document: Any) -> None:
        self.status, self.body = status, json.dumps(document).encode()

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.asked.append((request.method, request.path_qs, json.loads(body or b"null"), request.content_type))
        if self.pages:
            status, document = self.pages.pop(0)
            return web.json_response(document, status=status)
        headers = {"Date": self.date} if self.date else None
        return web.Response(status=self.status, body=self.body, content_type="application/json", headers=headers)


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    """An API server over plain HTTP, which the kubeconfig names."""
    found = Api()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.handle)
    async with TestServer(app) as server:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": {"server": str(server.make_url("")).rstrip("/")}}],
            "users": [{"name": "test", "user": {"token": "t0ken"}}],
        }
        (tmp_path / "kubeconfig").write_text(json.dumps(config))
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
        yield found


@pytest.fixture
async def objects(api: Api) -> AsyncIterator[Cluster]:
    made = Cluster()
    yield made
    await made.aclose()


@pytest.fixture
async def secrets(api: Api) -> AsyncIterator[PullSecrets]:
    made = PullSecrets()
    yield made
    await made.aclose()


def secret(**data: bytes) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"metadata": {"resourceVersion": "7"}, "type": "kubernetes.io/dockerconfigjson", "data": encoded}


def status(code: int, message: str) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "message": message}


async def test_a_secret_is_decoded_and_its_values_are_in_no_repr(api: Api, objects: Cluster) -> None:
    api.answer(200, secret(key=PASSWORD))
    found = await objects.secret("web", "pull")
    assert found == Secret("kubernetes.io/dockerconfigjson", {"key": PASSWORD}, "7")
    assert PASSWORD.decode() not in repr(found)
    assert api.asked[0][:2] == ("GET", "/api/v1/namespaces/web/secrets/pull")


async def test_a_secret_without_data_is_empty(api: Api, objects: Cluster) -> None:
    api.answer(200, {"metadata": {}, "type": "Opaque"})
    assert await objects.secret("web", "pull") == Secret("Opaque", {})


async def test_what_is_not_there_is_none(api: Api, objects: Cluster) -> None:
    api.answer(404, status(404, "not found"))
    assert await objects.secret("web", "pull") is None
    assert await objects.webhook_configuration("MutatingWebhookConfiguration", "zz") is None


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "a?b=c", "a#b", "A", "%2e%2e", "a\n", "-a", "a..b", "é"])
async def test_a_name_that_no_object_can_have_is_never_asked_for(api: Api, objects: Cluster, name: str) -> None:
    assert await objects.secret("web", name) is None
    assert await objects.secret(name, "pull") is None
    assert api.asked == []


async def test_a_new_secret_is_created_and_a_read_one_replaced_under_its_version(api: Api, objects: Cluster) -> None:
    await objects.write_secret("web", "ca", Secret("Opaque", {"a": b"\xff"}))
    await objects.write_secret("web", "ca", Secret("Opaque", {"a": b"\xff"}, "7"))
    (method, path, created, _), (method_2, path_2, replaced, _) = api.asked
    assert (method, path) == ("POST", "/api/v1/namespaces/web/secrets")
    assert (method_2, path_2) == ("PUT", "/api/v1/namespaces/web/secrets/ca")
    assert "resourceVersion" not in created["metadata"]
    assert replaced["metadata"]["resourceVersion"] == "7"
    assert replaced["data"] == {"a": "/w=="}


async def test_a_bundle_is_applied_to_every_webhook_and_to_nothing_else(api: Api, objects: Cluster) -> None:
    webhooks = [
        {"name": "a.x.y", "clientConfig": {"service": {"name": "s"}, "caBundle": base64.b64encode(b"old").decode()}},
        {"name": "b.x.y", "clientConfig": {"service": {"name": "s"}}, "failurePolicy": "Fail"},
    ]
    api.answer(200, {"metadata": {"uid": "u", "resourceVersion": "3"}, "webhooks": webhooks})
    found = await objects.webhook_configuration("ValidatingWebhookConfiguration", "v")
    assert found == WebhookConfiguration(
        "ValidatingWebhookConfiguration", "v", "u", "3", {"a.x.y": b"old", "b.x.y": b""}
    )
    await objects.apply_bundle(found, b"new")
    method, path, body, content_type = api.asked[-1]
    assert method == "PATCH"
    assert path.endswith("/validatingwebhookconfigurations/v?fieldManager=nonroot-operate&force=true")
    assert content_type == "application/apply-patch+yaml"
    assert body == {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "v", "uid": "u", "resourceVersion": "3"},
        "webhooks": [{"name": name, "clientConfig": {"caBundle": "bmV3"}} for name in ("a.x.y", "b.x.y")],
    }


@pytest.mark.parametrize(
    ("code", "error"),
    [(401, Forbidden), (403, Forbidden), (404, Conflict), (409, Conflict), (422, Unreachable), (500, Unreachable)],
)
async def test_a_refusal_names_the_object_and_the_reason(
    api: Api, objects: Cluster, code: int, error: type[Exception]
) -> None:
    api.answer(code, status(code, "because"))
    with pytest.raises(error, match=rf"^Secret web/ca: POST was answered {code} because") as raised:
        await objects.write_secret("web", "ca", Secret("Opaque", {"a": PASSWORD}))
    assert PASSWORD.decode() not in str(raised.value)
    assert "t0ken" not in str(raised.value)


async def test_a_namespace_that_ends_is_told_from_a_right_that_is_missing(api: Api, objects: Cluster) -> None:
    api.answer(403, status(403, "unable to create new content in namespace x because it is being terminated"))
    with pytest.raises(Terminating):
        await objects.call("POST", "/api/v1/namespaces/x/events", "Event")


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"metadata": 1}', b'{"metadata": {}, "data": {"a": "%"}}'])
async def test_an_answer_that_is_none_is_no_secret(api: Api, objects: Cluster, body: bytes) -> None:
    api.body = body
    with pytest.raises(Unreachable, match="not what an API server gives"):
        await objects.secret("web", "pull")


async def test_a_refusal_that_is_no_json_is_one_too(api: Api, objects: Cluster) -> None:
    api.status, api.body = 502, b"<html>"
    with pytest.raises(Unreachable, match=r"answered 502$"):
        await objects.secret("web", "pull")


@pytest.mark.parametrize("error", [aiohttp.ClientConnectionError("x"), TimeoutError(), ConnectionResetError()])
async def test_no_answer_is_unreachable(
    api: Api, objects: Cluster, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    client = await objects._connect()

    async def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(client, "call_api", fail)
    with pytest.raises(Unreachable, match="does not answer"):
        await objects.secret("web", "pull")


def page(names: str, token: str = "") -> tuple[int, Any]:
    return 200, {"metadata": {"continue": token}, "items": [{"name": name} for name in names]}


async def listed(objects: Cluster) -> list[str]:
    pages = [page async for page in objects.pages("/api/v1/pods", "Pods")]
    return ["".join(json.loads(bytes(raw))["name"] for raw in page) for page in pages]


async def test_a_list_is_read_by_pages(api: Api, objects: Cluster) -> None:
    api.pages = [page("ab", "x+/="), page("c"), (200, {"metadata": {}, "items": None})]
    assert await listed(objects) == ["ab", "c"]
    assert [asked[1] for asked in api.asked] == [
        "/api/v1/pods?limit=500",
        "/api/v1/pods?limit=500&continue=x%2B/%3D",
    ]
    assert await listed(objects) == [""]


async def test_a_list_that_grew_too_old_goes_on_with_what_there_is_now(api: Api, objects: Cluster) -> None:
    gone = (410, status(410, "the list is too old") | {"metadata": {"continue": "now"}})
    api.pages = [page("ab", "old"), gone, page("cd", "more"), page("e")]
    assert await listed(objects) == ["ab", "cd", "e"]
    assert api.asked[2][1].endswith("continue=now")


@pytest.mark.parametrize("token", ["", "old"])
async def test_a_list_that_cannot_go_on_says_so(api: Api, objects: Cluster, token: str) -> None:
    gone = (410, status(410, "too old") | {"metadata": {"continue": token}})
    api.pages = [page("ab", "old"), gone]
    with pytest.raises(Expired, match="Pods: GET was answered 410 too old"):
        await listed(objects)
    api.pages = [gone]
    with pytest.raises(Expired):
        await listed(objects)


async def test_a_cluster_is_called_what_its_kubeconfig_calls_it(api: Api, objects: Cluster) -> None:
    assert await objects.name() == "test"
    with pytest.raises(Unreachable, match="set KUBECONFIG"):
        await Cluster("other").name()


async def test_without_any_credentials_the_next_step_is_named(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", "/nowhere/kubeconfig")
    with pytest.raises(Unreachable, match="set KUBECONFIG"):
        await Cluster().secret("web", "pull")


async def test_a_pull_secret_is_given_as_it_is(api: Api, secrets: PullSecrets) -> None:
    api.answer(200, secret(key=PASSWORD))
    assert await secrets.get("web", "pull") == Secret("kubernetes.io/dockerconfigjson", {"key": PASSWORD}, "7")
    api.answer(404, status(404, "not found"))
    assert await secrets.get("web", "pull") is None


async def test_a_forbidden_pull_secret_is_unknown_and_says_which_binding_is_missing(
    api: Api, secrets: PullSecrets
) -> None:
    api.answer(403, status(403, "forbidden"))
    found = await secrets.get("web", "pull")
    assert isinstance(found, Unknown)
    assert found.cause == "unauthorized"
    assert "RoleBinding in namespace web" in found.detail
    assert "nonroot-webhook-pull-secrets" in found.detail


async def test_a_pull_secret_that_the_api_server_does_not_give_is_unknown(api: Api, secrets: PullSecrets) -> None:
    api.answer(503, status(503, "not now"))
    found = await secrets.get("web", "pull")
    assert found == Unknown("unreachable", "the API server did not give the pull secret web/pull")


async def test_an_account_names_the_pull_secrets_of_templates(api: Api, secrets: PullSecrets) -> None:
    """In order; one that is not there names none, and what stands in the way is told as for a Secret."""
    api.answer(200, {"imagePullSecrets": [{"name": "b"}, {"name": ""}, {"name": "a"}]})
    assert await secrets.names("web", "shop") == ("b", "a")
    assert api.asked[-1][1] == "/api/v1/namespaces/web/serviceaccounts/shop"
    for answered in ((200, {}), (404, status(404, "not found"))):
        api.answer(*answered)
        assert await secrets.names("web", "shop") == ()
    api.answer(403, status(403, "forbidden"))
    found = await secrets.names("web", "shop")
    assert isinstance(found, Unknown)
    assert found.detail.startswith(
        "reading the ServiceAccount web/shop is forbidden: add a RoleBinding in namespace web"
    )


async def test_a_name_that_is_none_never_becomes_a_path(secrets: PullSecrets) -> None:
    """Nobody is asked."""
    for namespace, account in (("web", "../secrets"), ("../x", "shop"), ("web", "")):
        assert await secrets.names(namespace, account) == ()


def test_every_error_is_in_the_tree() -> None:
    named = {each.__name__ for each in cluster.ClusterError.__subclasses__()}
    assert named == {"Forbidden", "Conflict", "Expired", "Unreachable"}


def test_nothing_that_needs_no_cluster_imports_kopf_or_kubernetes() -> None:
    doors = "webhook.cli, webhook.scan.command, webhook.scan.policy, webhook.serve.server, webhook.operate"
    pure = "webhook.view, webhook.certificates, webhook.crds"
    check = f"import sys, {doors}, {pure}; sys.exit(str({{'kopf', 'kubernetes'}} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize("year", [2000, 2055])
async def test_the_time_is_the_api_servers(api: Api, objects: Cluster, year: int) -> None:
    """However wrong our own clock is; a date that is none changes nothing."""
    api.answer(404, status(404, "not found"))
    api.date = f"Sat, 01 Jan {year} 00:00:00 GMT"
    await objects.secret("web", "tls")
    api.date = "yesterday"
    await objects.secret("web", "tls")
    assert timedelta() <= objects.now() - datetime(year, 1, 1, tzinfo=UTC) < timedelta(minutes=1)
