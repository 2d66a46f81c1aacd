"""The pull secrets of Pods: those that they name, and those that their ServiceAccount gives them.

Source: kubernetes plugin/pkg/admission/serviceaccount/admission.go (an account's imagePullSecrets).
"""

import msgspec

from webhook.cluster import secrets
from webhook.cluster.client import Cluster, decode, is_name
from webhook.cluster.errors import ClusterError, Forbidden
from webhook.cluster.secrets import Secret
from webhook.image.source import Unknown

_BIND = (
    "add a RoleBinding in namespace {} from the ServiceAccount of nonroot-webhook to ClusterRole "
    "nonroot-webhook-pull-secrets (chart value registry.pullSecrets.namespaces)"
)


class _Reference(msgspec.Struct):
    name: str = ""


class _ServiceAccount(msgspec.Struct, rename="camel"):
    image_pull_secrets: list[_Reference] | None = None


class PullSecrets:
    """Implements `webhook.registry.auth.keychain.PullSecrets`: read when an image needs them, and kept nowhere.

    `advice` is the next step where a namespace's may not be read.
    """

    def __init__(self, cluster: Cluster, advice: str = _BIND) -> None:
        self._cluster = cluster
        self._advice = advice

    async def get(self, namespace: str, name: str) -> Secret | Unknown | None:
        """A Secret, None where there is none (the kubelet passes over those), or why it could not be read."""
        try:
            return await secrets.read(self._cluster, namespace, name)
        except ClusterError as error:
            return self._unread(error, namespace, f"the pull secret {namespace}/{name}")

    async def names(self, namespace: str, service_account: str) -> tuple[str, ...] | Unknown:
        """The pull secrets that a ServiceAccount gives to Pods without their own, or why that could not be read."""
        if not is_name(service_account) or not is_name(namespace):
            return ()  # nor could there be one
        what = f"the ServiceAccount {namespace}/{service_account}"
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}"
        try:
            body = await self._cluster.call("GET", path, what, absent_ok=True)
            found = _ServiceAccount() if body is None else decode(body, _ServiceAccount, what)
        except ClusterError as error:
            return self._unread(error, namespace, what)
        return tuple(each.name for each in found.image_pull_secrets or () if each.name)

    def _unread(self, error: ClusterError, namespace: str, what: str) -> Unknown:
        if not isinstance(error, Forbidden):
            return Unknown("unreachable", f"the API server did not give {what}")
        return Unknown("unauthorized", f"reading {what} is forbidden: {self._advice.format(namespace)}")
