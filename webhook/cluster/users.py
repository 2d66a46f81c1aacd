"""A user as the Kubernetes API knows one, and who can say who that is and what they may do."""

from collections.abc import Mapping
from typing import Protocol

import msgspec


class User(msgspec.Struct, frozen=True):
    """A user. Source: kubernetes/api authentication/v1/types.go (UserInfo)."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = {}


class AccessReviews(Protocol):
    """The API server's answers about users; each raises `NonrootError` where there is none."""

    async def user_of(self, token: str) -> User | None:
        """Whose token it is; None where it is nobody's, or made for another audience."""
        ...

    async def may_resolve(self, user: User, namespace: str) -> bool:
        """Whether RBAC lets the user resolve image identities in a namespace; empty: in all of them."""
        ...
