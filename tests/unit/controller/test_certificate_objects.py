"""The caBundles of webhook configurations, at a small server that answers as scripted."""

import base64

import pytest

from tests.support.scripted import Api, status
from webhook.cluster.client import Cluster
from webhook.controller.certificate_objects import CertificateObjects, WebhookConfiguration


@pytest.fixture
def registration(connection: Cluster) -> CertificateObjects:
    return CertificateObjects(connection)


async def test_a_configuration_that_is_not_there_is_none(api: Api, registration: CertificateObjects) -> None:
    api.answer(404, status(404, "not found"))
    assert await registration.webhook_configuration("MutatingWebhookConfiguration", "zz") is None


async def test_a_bundle_is_written_into_every_webhook_and_into_nothing_else(
    api: Api, registration: CertificateObjects
) -> None:
    webhooks = [
        {"name": "a.x.y", "clientConfig": {"service": {"name": "s"}, "caBundle": base64.b64encode(b"old").decode()}},
        {"name": "b.x.y", "clientConfig": {"service": {"name": "s"}}, "failurePolicy": "Fail"},
    ]
    api.answer(200, {"metadata": {"uid": "u", "resourceVersion": "3"}, "webhooks": webhooks})
    found = await registration.webhook_configuration("ValidatingWebhookConfiguration", "v")
    assert found == WebhookConfiguration("ValidatingWebhookConfiguration", "v", "3", {"a.x.y": b"old", "b.x.y": b""})
    await registration.inject_ca_bundle(found, b"new")
    method, path, body, content_type = api.asked[-1]
    assert method == "PATCH"
    assert path.endswith("/validatingwebhookconfigurations/v?fieldManager=nonroot-operate")
    assert content_type == "application/json-patch+json"
    assert body == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "3"},
        {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "bmV3"},
        {"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": "bmV3"},
    ]


async def test_the_ownership_of_an_earlier_version_is_given_up(api: Api, registration: CertificateObjects) -> None:
    managers = [
        {"manager": "helm", "operation": "Apply"},
        {"manager": "nonroot-operate", "operation": "Update"},
        {"manager": "nonroot-operate", "operation": "Apply"},
    ]
    api.answer(200, {"metadata": {"uid": "u", "resourceVersion": "3", "managedFields": managers}, "webhooks": []})
    found = await registration.webhook_configuration("ValidatingWebhookConfiguration", "v")
    assert found is not None
    assert found.applied_entry == 2
    await registration.inject_ca_bundle(found, b"new")
    assert api.asked[-1][2][-1] == {"op": "remove", "path": "/metadata/managedFields/2"}


@pytest.mark.parametrize(("shown", "bundle"), [({"caBundle": "b2xk"}, b"old"), ({}, b""), ({"caBundle": "!"}, b"")])
async def test_a_provider_has_one_bundle(
    api: Api, registration: CertificateObjects, shown: dict[str, str], bundle: bytes
) -> None:
    """What is no base64 is no bundle: no API server has looked at it."""
    api.answer(200, {"metadata": {"uid": "u", "resourceVersion": "3"}, "spec": {"url": "https://x", **shown}})
    found = await registration.webhook_configuration("Provider", "p")
    assert found == WebhookConfiguration("Provider", "p", "3", {"p": bundle})
    await registration.inject_ca_bundle(found, b"new")
    _, path, body, _ = api.asked[-1]
    assert path == "/apis/externaldata.gatekeeper.sh/v1beta1/providers/p?fieldManager=nonroot-operate"
    assert body[1:] == [{"op": "add", "path": "/spec/caBundle", "value": "bmV3"}]
