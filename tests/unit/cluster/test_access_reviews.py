"""TokenReviews and SubjectAccessReviews, asked of a small server that answers as scripted."""

import pytest

from tests.support.scripted import Api, status
from webhook.cluster.access_reviews import ClusterAccessReviews
from webhook.cluster.client import Cluster
from webhook.cluster.errors import Forbidden
from webhook.cluster.users import User

ALICE = User("alice", "7", ("dev", "system:authenticated"), {"scopes": ("a", "b")})


async def test_a_token_is_somebodys(api: Api, connection: Cluster) -> None:
    user = {"username": "alice", "uid": "7", "groups": ["dev", "system:authenticated"], "extra": {"scopes": ["a", "b"]}}
    api.answer(201, {"status": {"authenticated": True, "user": user}})
    assert await ClusterAccessReviews(connection, ("nonroot",)).user_of("t0k") == ALICE
    ((method, path, body, _),) = api.asked
    assert (method, path) == ("POST", "/apis/authentication.k8s.io/v1/tokenreviews")
    assert (body["kind"], body["spec"]) == ("TokenReview", {"token": "t0k", "audiences": ["nonroot"]})


@pytest.mark.parametrize(
    "answered",
    [
        {"status": {"user": {}, "error": "expired"}},
        {"status": {"user": {"username": "alice"}}},
        {"status": {"authenticated": True, "user": {"username": ""}}},
        {},
    ],
)
async def test_a_token_is_nobodys(api: Api, connection: Cluster, answered: object) -> None:
    api.answer(201, answered)
    assert await ClusterAccessReviews(connection).user_of("t0k") is None


async def test_rbac_says_what_a_user_may(api: Api, connection: Cluster) -> None:
    """With all that authorizers look at; one that says nothing has not allowed it."""
    reviews = ClusterAccessReviews(connection)
    api.answer(201, {"status": {"allowed": True}})
    assert await reviews.may_resolve(ALICE, "shops")
    (_, path, body, _) = api.asked[0]
    assert path == "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert body["spec"] == {
        "resourceAttributes": {
            "group": "nonroot.dev",
            "version": "v1alpha1",
            "resource": "imageidentities",
            "verb": "resolve",
            "namespace": "shops",
        },
        "user": "alice",
        "uid": "7",
        "groups": ["dev", "system:authenticated"],
        "extra": {"scopes": ["a", "b"]},
    }
    api.answer(201, {"status": {}})
    assert not await reviews.may_resolve(ALICE, "")


async def test_an_api_server_that_does_not_let_us_ask_is_an_error(api: Api, connection: Cluster) -> None:
    api.answer(403, status(403, 'User "x" cannot create resource "tokenreviews"'))
    with pytest.raises(Forbidden):
        await ClusterAccessReviews(connection).user_of("t0k")
