"""TokenReviews and SubjectAccessReviews at a real API server: whose token it is, and for which namespaces RBAC lets it ask."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from tests.e2e.target import Target
from tests.support import cluster
from webhook.cluster.access_reviews import RESOURCE, ClusterAccessReviews
from webhook.cluster.client import Cluster
from webhook.cluster.metrics_readers import MetricsReaders
from webhook.cluster.users import User

RBAC = "rbac.authorization.k8s.io"


@pytest.fixture(scope="module")
def target() -> Target:
    return cluster.reach()


@pytest.fixture
async def reviews(target: Target) -> AsyncIterator[ClusterAccessReviews]:
    """Asks the API server that KUBECONFIG names, for tokens of any audience that it takes itself."""
    async with contextlib.aclosing(Cluster()) as connection:
        yield ClusterAccessReviews(connection)


@pytest.fixture
def account(target: Target) -> Iterator[str]:
    """A ServiceAccount of the namespace default, and a role there that lets it resolve; the name of both."""
    name = f"resolves-{secrets.token_hex(4)}"
    rule = {"apiGroups": [RESOURCE["group"]], "resources": [RESOURCE["resource"]], "verbs": [RESOURCE["verb"]]}
    target.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
        {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": {"name": name}, "rules": [rule]},
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
        },
    )
    yield name
    for kind in ("serviceaccounts", "roles", "rolebindings"):
        target.delete(kind, name, "default")


async def until(allowed: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the API server's RBAC has seen what was just bound."""
    async with asyncio.timeout(60):
        while not await allowed():
            await asyncio.sleep(0.05)


async def _shown(connection: Cluster, header: str) -> bool:
    return await MetricsReaders.of(connection).refusal(header) is None


async def test_a_token_is_its_account_s_and_may_ask_where_a_role_is_bound(
    target: Target, reviews: ClusterAccessReviews, account: str
) -> None:
    user = await reviews.user_of(target.token(account))
    assert user is not None
    assert user.username == f"system:serviceaccount:default:{account}"
    assert "system:serviceaccounts:default" in user.groups
    await until(lambda: reviews.may_resolve(user, "default"))
    for namespace in ("kube-system", ""):
        assert not await reviews.may_resolve(user, namespace)


async def test_a_token_for_others_is_nobody_s_here(target: Target, reviews: ClusterAccessReviews, account: str) -> None:
    """Unless its audience is one that we are told to take."""
    token = target.kubectl("create", "token", account, "--audience=nonroot-webhook").strip()
    assert await reviews.user_of(token) is None
    assert await reviews.user_of("no token") is None
    async with contextlib.aclosing(Cluster()) as connection:
        found = await ClusterAccessReviews(connection, ("nonroot-webhook",)).user_of(token)
    assert found is not None
    assert found.username.endswith(account)


async def test_a_certificate_s_user_has_what_is_bound_to_it_alone(
    target: Target, reviews: ClusterAccessReviews, account: str
) -> None:
    holder = User(f"nonroot.dev:certificate:{account}")
    assert not await reviews.may_resolve(holder, "default")
    target.kubectl("create", "rolebinding", f"{account}-holder", "--role", account, "--user", holder.username)
    try:
        await until(lambda: reviews.may_resolve(holder, "default"))
        assert not await reviews.may_resolve(holder, "kube-system")
    finally:
        target.kubectl("delete", "rolebinding", f"{account}-holder")


async def test_metrics_are_shown_to_whom_a_role_lets_read_them(target: Target, account: str) -> None:
    """By the role that the chart makes, bound to an account."""
    name = f"metrics-{account}"
    header = f"Bearer {target.token(account)}"
    async with contextlib.aclosing(Cluster()) as connection:
        refusal = await MetricsReaders.of(connection).refusal(header)
        assert refusal is not None
        assert refusal[0] == 403
        target.kubectl("create", "clusterrole", name, "--verb=get", "--non-resource-url=/metrics")
        target.kubectl(
            "create", "clusterrolebinding", name, f"--clusterrole={name}", f"--serviceaccount=default:{account}"
        )
        try:
            await until(lambda: _shown(connection, header))
            assert (await MetricsReaders.of(connection).refusal("Bearer no token") or (0,))[0] == 401
        finally:
            target.kubectl("delete", "clusterrole,clusterrolebinding", name)
