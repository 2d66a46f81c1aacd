"""The caBundles of webhook configurations, at a small server that answers as told."""

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


async def test_a_bundle_is_applied_to_every_webhook_and_to_nothing_else(
    api: Api, registration: CertificateObjects
) -> None:
    webhooks = [
        {"name": "a.x.y", "clientConfig": {"service": {"name": "s"}, "caBundle": base64.b64encode(b"old").decode()}},
        {"name": "b.x.y", "clientConfig": {"service": {"name": "s"}}, "failurePolicy": "Fail"},
    ]
    api.answer(200, {"metadata": {"uid": "u", "resourceVersion": "3"}, "webhooks": webhooks})
    found = await registration.webhook_configuration("ValidatingWebhookConfiguration", "v")
    assert found == WebhookConfiguration(
        "ValidatingWebhookConfiguration", "v", "u", "3", {"a.x.y": b"old", "b.x.y": b""}
    )
    await registration.inject_ca_bundle(found, b"new")
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
