"""The certificates in the cluster: two Secrets, and the caBundles of the webhook configurations.

Those are the ones of the webhook configurations, and of Gatekeeper's Provider where there is one
(open-policy-agent/frameworks constraint/pkg/apis/externaldata/v1beta1/provider_types.go).
"""

import base64
import binascii
from typing import Literal

import msgspec

from webhook.cluster import secrets
from webhook.cluster.client import FIELD_MANAGER, Cluster, decode
from webhook.cluster.object_meta import ObjectMeta
from webhook.cluster.secrets import Secret

ConfigurationKind = Literal["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "Provider"]

_PATHS: dict[ConfigurationKind, str] = {
    "MutatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "ValidatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "Provider": "/apis/externaldata.gatekeeper.sh/v1beta1/providers",
}


class WebhookConfiguration(msgspec.Struct, frozen=True):
    """A webhook configuration: the caBundle (PEM) of each of its webhooks, by name and in their order; a Provider has one.

    `applied_entry` is the position in managedFields of the entry by which an earlier version of the controller owns whole
    webhooks, because it wrote by server-side apply; None where there is none.
    """

    kind: ConfigurationKind
    name: str
    resource_version: str
    bundles: dict[str, bytes]
    applied_entry: int | None = None


class _ManagedFields(msgspec.Struct):
    manager: str = ""
    operation: str = ""


class _ManagedMeta(ObjectMeta, frozen=True, gc=False):
    managed_fields: list[_ManagedFields] | None = None


class _ClientConfig(msgspec.Struct, rename="camel"):
    ca_bundle: bytes = msgspec.field(default=b"", name="caBundle")


class _Webhook(msgspec.Struct, rename="camel"):
    name: str
    client_config: _ClientConfig


class _Webhooks(msgspec.Struct):
    metadata: _ManagedMeta
    webhooks: list[_Webhook] | None = None


class _ProviderSpec(msgspec.Struct, frozen=True):
    ca_bundle: str = msgspec.field(default="", name="caBundle")


class _Provider(msgspec.Struct):
    metadata: _ManagedMeta
    spec: _ProviderSpec = _ProviderSpec()


class CertificateObjects:
    """Implements `webhook.controller.certificate_rotation.Objects`; every method raises `ClusterError`."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def secret(self, namespace: str, name: str) -> Secret | None:
        """A Secret; None where there is none."""
        return await secrets.read(self._cluster, namespace, name)

    async def write_secret(self, namespace: str, name: str, content: Secret) -> None:
        """Create a Secret, or replace the one that has its `resource_version`."""
        await secrets.write(self._cluster, namespace, name, content)

    async def webhook_configuration(self, kind: ConfigurationKind, name: str) -> WebhookConfiguration | None:
        """A webhook configuration; None where there is none."""
        body = await self._cluster.call("GET", f"{_PATHS[kind]}/{name}", f"{kind} {name}", absent_ok=True)
        if body is None:
            return None
        if kind == "Provider":
            provider = decode(body, _Provider, f"{kind} {name}")
            shown = {name: _decoded(provider.spec.ca_bundle)}
            return WebhookConfiguration(kind, name, provider.metadata.resource_version, shown)
        found = decode(body, _Webhooks, f"{kind} {name}")
        bundles = {each.name: each.client_config.ca_bundle for each in found.webhooks or ()}
        metadata = found.metadata
        applied = (
            position
            for position, entry in enumerate(metadata.managed_fields or ())
            if (entry.manager, entry.operation) == (FIELD_MANAGER, "Apply")
        )
        return WebhookConfiguration(kind, name, metadata.resource_version, bundles, next(applied, None))

    async def inject_ca_bundle(self, configuration: WebhookConfiguration, bundle: bytes) -> None:
        """Write a caBundle into every webhook of a configuration, and own nothing else of it.

        By a JSON patch: whoever applies a list item by server-side apply owns the item too, so that nobody else could
        remove or rename the webhook (kubernetes-sigs/structured-merge-diff merge/update.go, addBackOwnedItems).
        `Conflict` where the configuration has changed since it was read, or was deleted: it is never made anew.
        """
        encoded = base64.b64encode(bundle).decode()
        places = [f"/webhooks/{position}/clientConfig/caBundle" for position in range(len(configuration.bundles))]
        if configuration.kind == "Provider":
            places = ["/spec/caBundle"]
        body: list[dict[str, str]] = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": configuration.resource_version},
            *({"op": "add", "path": place, "value": encoded} for place in places),
        ]
        if configuration.applied_entry is not None:
            body.append({"op": "remove", "path": f"/metadata/managedFields/{configuration.applied_entry}"})
        await self._cluster.call(
            "PATCH",
            f"{_PATHS[configuration.kind]}/{configuration.name}?fieldManager={FIELD_MANAGER}",
            f"{configuration.kind} {configuration.name}",
            body,
            content_type="application/json-patch+json",
        )


def _decoded(text: str) -> bytes:
    """A Provider's caBundle; nothing where it is not base64, which no API server has checked."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""
