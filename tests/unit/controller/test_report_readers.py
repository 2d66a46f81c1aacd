"""Whose a token is and what its user may see, as an API server would say it."""

import json
from typing import Any

import pytest

from webhook.cluster.client import Cluster
from webhook.controller.report_readers import TRUSTED_SECONDS, ReportReaders, Unauthenticated


class Reviewing(Cluster):
    """Knows jane's token; she may list the Pods of `allowed`, where "" is all namespaces."""

    def __init__(self, *allowed: str) -> None:
        super().__init__()
        self.allowed = set(allowed)
        self.asked: list[dict[str, Any]] = []

    async def call(self, method: str, path: str, what: str, body: Any = None, **_: Any) -> bytes:
        spec = json.loads(json.dumps(body))["spec"]
        self.asked.append(spec)
        assert method == "POST"
        if path == "/apis/authentication.k8s.io/v1/tokenreviews":
            user = {"username": "jane", "uid": "7", "groups": ["team"], "extra": {"scopes": ["a"]}}
            known = spec["token"] == "janes"  # a test's
            return json.dumps({"status": {"authenticated": known, **({"user": user} if known else {})}}).encode()
        assert path == "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        allowed = spec["resourceAttributes"]["namespace"] in self.allowed
        return json.dumps({"status": {"allowed": allowed}}).encode()


async def test_a_user_sees_the_namespaces_whose_pods_they_may_list() -> None:
    cluster = Reviewing("shop")
    assert await ReportReaders(cluster).visible("janes", ["shop", "blog"]) == {"shop"}
    assert cluster.asked[1] == {
        "user": "jane",
        "uid": "7",
        "groups": ["team"],
        "extra": {"scopes": ["a"]},
        "resourceAttributes": {"namespace": "", "verb": "list", "resource": "pods"},
    }


async def test_who_may_list_all_pods_is_asked_about_no_single_namespace() -> None:
    cluster = Reviewing("")
    assert await ReportReaders(cluster).visible("janes", ["shop", "blog"]) == {"shop", "blog"}
    assert len(cluster.asked) == 2


@pytest.mark.parametrize(("token", "asked"), [("", 0), ("others", 1)])
async def test_a_token_that_is_nobodys_opens_nothing(token: str, asked: int) -> None:
    """That it is nobody's is remembered as well: guessing costs the API server no more than one question a minute for each."""
    cluster = Reviewing("")
    readers = ReportReaders(cluster)
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await readers.visible(token, ["shop"])
    assert len(cluster.asked) == asked


async def test_an_answer_holds_for_a_minute() -> None:
    now = [0.0]
    cluster = Reviewing("shop")
    readers = ReportReaders(cluster, lambda: now[0])
    await readers.visible("janes", ["shop"])
    cluster.allowed.clear()
    assert await readers.visible("janes", ["shop"]) == {"shop"}
    assert len(cluster.asked) == 3
    now[0] = TRUSTED_SECONDS
    assert await readers.visible("janes", ["shop"]) == frozenset()
