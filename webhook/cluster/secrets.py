"""Secrets of the API server: read by name and never listed, written under the version that was read."""

import base64

import msgspec

from webhook.cluster.client import MANAGED_BY, Cluster, decode, is_name
from webhook.cluster.object_meta import ObjectMeta


class Secret(msgspec.Struct, frozen=True):
    """A Secret's content. `resource_version` guards the next write; it is empty for one that does not exist yet."""

    type: str
    data: dict[str, bytes]
    resource_version: str = ""

    def __repr__(self) -> str:
        """Without the values: reprs end in logs."""
        return f"Secret({self.type!r}, {sorted(self.data)!r}, {self.resource_version!r})"


class _Secret(msgspec.Struct):
    metadata: ObjectMeta
    type: str = ""
    data: dict[str, bytes] | None = None  # msgspec reads base64


async def read(cluster: Cluster, namespace: str, name: str) -> Secret | None:
    """A Secret; None where there is none. Raises `ClusterError`."""
    if not is_name(name) or not is_name(namespace):
        return None  # nor could there be one
    what = f"Secret {namespace}/{name}"
    body = await cluster.call("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}", what, absent_ok=True)
    if body is None:
        return None
    found = decode(body, _Secret, what)
    return Secret(found.type, found.data or {}, found.metadata.resource_version)


async def write(cluster: Cluster, namespace: str, name: str, secret: Secret) -> None:
    """Create a Secret, or replace the one that has its `resource_version`.

    Raises `ClusterError`, a `Conflict` where that version is no longer the Secret's.
    """
    path, method = f"/api/v1/namespaces/{namespace}/secrets", "POST"
    metadata = {"name": name, "namespace": namespace, "labels": MANAGED_BY}
    if secret.resource_version:
        path, method = f"{path}/{name}", "PUT"
        metadata["resourceVersion"] = secret.resource_version
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": secret.type,
        "data": {key: base64.b64encode(value).decode() for key, value in secret.data.items()},
    }
    await cluster.call(method, path, f"Secret {namespace}/{name}", body)
