"""TokenReviews and SubjectAccessReviews: the user of a token, and what RBAC lets that user do.

Sources: kubernetes/api authentication/v1/types.go (TokenReview), authorization/v1/types.go (SubjectAccessReview).
"""

import msgspec

from webhook.cluster.client import Cluster, decode
from webhook.cluster.users import User

RESOURCE = {"group": "nonroot.dev", "version": "v1alpha1", "resource": "imageidentities", "verb": "resolve"}
"""The right that a caller of the identity API needs, in the namespace for which they ask."""


class _TokenStatus(msgspec.Struct, frozen=True):
    authenticated: bool = False
    user: User = User()


class _TokenReview(msgspec.Struct):
    status: _TokenStatus = _TokenStatus()


class _AccessStatus(msgspec.Struct, frozen=True):
    allowed: bool = False


class _SubjectAccessReview(msgspec.Struct):
    status: _AccessStatus = _AccessStatus()


class ClusterAccessReviews:
    """Implements `webhook.cluster.users.AccessReviews`. Tokens must be for one of `audiences`; none: for the API server."""

    def __init__(self, cluster: Cluster, audiences: tuple[str, ...] = ()) -> None:
        self._cluster = cluster
        self._audiences = audiences

    async def user_of(self, token: str) -> User | None:
        """The user of a token; None where it is nobody's."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": list(self._audiences)},
        }
        path, what = "/apis/authentication.k8s.io/v1/tokenreviews", "TokenReview"
        status = decode(await self._cluster.call("POST", path, what, body) or b"", _TokenReview, what).status
        return status.user if status.authenticated and status.user.username else None

    async def may_resolve(self, user: User, namespace: str) -> bool:
        """Whether RBAC lets the user resolve image identities in a namespace; empty: in all of them."""
        return await self._allows(user, resourceAttributes={**RESOURCE, "namespace": namespace})

    async def may_list_pods(self, user: User, namespace: str) -> bool:
        """Whether RBAC lets the user list the Pods of a namespace; empty: of all of them."""
        return await self._allows(user, resourceAttributes={"resource": "pods", "verb": "list", "namespace": namespace})

    async def may_get(self, user: User, path: str) -> bool:
        """Whether RBAC lets the user get a path that is no resource, such as /metrics."""
        return await self._allows(user, nonResourceAttributes={"path": path, "verb": "get"})

    async def _allows(self, user: User, **attributes: dict[str, str]) -> bool:
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                **attributes,
                "user": user.username,
                "uid": user.uid,
                "groups": list(user.groups),
                "extra": {key: list(values) for key, values in user.extra.items()},
            },
        }
        path, what = "/apis/authorization.k8s.io/v1/subjectaccessreviews", "SubjectAccessReview"
        return decode(
            await self._cluster.call("POST", path, what, body) or b"", _SubjectAccessReview, what
        ).status.allowed
