"""The errors that answers of the API server come to."""

import pytest

from tests.support.scripted import Api, status
from webhook.cluster.client import Cluster
from webhook.cluster.errors import ClusterError, Terminating, Unreachable


async def test_a_namespace_that_is_being_deleted_is_no_missing_right(api: Api, connection: Cluster) -> None:
    api.answer(403, status(403, "unable to create new content in namespace x because it is being terminated"))
    with pytest.raises(Terminating):
        await connection.call("POST", "/api/v1/namespaces/x/events", "Event")


async def test_a_refusal_that_is_no_json_is_one_too(api: Api, connection: Cluster) -> None:
    api.status, api.body = 502, b"<html>"
    with pytest.raises(Unreachable, match=r"answered 502$"):
        await connection.call("GET", "/api/v1/pods", "Pods")


def test_every_error_is_in_the_tree() -> None:
    named = {each.__name__ for each in ClusterError.__subclasses__()}
    assert named == {"Forbidden", "Denied", "Conflict", "Expired", "Unreachable"}
