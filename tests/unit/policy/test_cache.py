"""Views: what a namespace is governed by, when that is worked out anew, and what is kept out."""

import math
from typing import Any

import pytest

from webhook.policy import cache, selection
from webhook.policy.cache import PolicyCache, PolicySnapshot, Rejected
from webhook.policy.loader import load
from webhook.policy.selection import Namespace
from webhook.policy.types import Documents, NonRootException, NonRootPolicy


def policy(name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "nonroot.dev/v1alpha1", "kind": "NonRootPolicy", "metadata": {"name": name}, "spec": spec}


def exception(name: str, namespace: str | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    spec = {"reason": "because"} | spec
    return {"apiVersion": "nonroot.dev/v1alpha1", "kind": "NonRootException", "metadata": metadata, "spec": spec}


def documents(*plain: dict[str, Any]) -> Documents:
    return load(plain, "test")


WEB_ONLY = {"matchLabels": {"kubernetes.io/metadata.name": "web"}}


class TestStaticView:
    """The documents of files."""

    def test_a_namespace_is_selected_by_its_name(self) -> None:
        policies = PolicySnapshot(documents(policy("web", mode="Enforce", namespaceSelector=WEB_ONLY)))
        assert policies.effective_policy("web").mode == "Enforce"
        assert policies.effective_policy("other").policy is selection.BUILT_IN

    def test_a_namespace_has_no_other_label(self) -> None:
        selector = {"matchExpressions": [{"key": "team", "operator": "Exists"}]}
        policies = PolicySnapshot(documents(policy("team", mode="Enforce", namespaceSelector=selector)))
        assert policies.effective_policy("web").policy is selection.BUILT_IN

    def test_no_namespace_is_the_default_one(self) -> None:
        selector = {"matchLabels": {"kubernetes.io/metadata.name": "default"}}
        policies = PolicySnapshot(
            documents(policy("p", namespaceSelector=selector), exception("a"), exception("b", "default"))
        )
        assert policies.effective_policy("").policy.metadata.name == "p"
        assert [each.metadata.name for each in policies.exceptions("")] == ["a", "b"]
        assert policies.exceptions("default") == policies.exceptions("")

    def test_exceptions_are_their_namespaces_alone(self) -> None:
        policies = PolicySnapshot(documents(exception("a", "web"), exception("b", "db")))
        assert [each.metadata.name for each in policies.exceptions("web")] == ["a"]
        assert policies.exceptions("nowhere") == ()

    def test_an_answer_is_worked_out_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        policies = PolicySnapshot(documents(policy("p")))
        first = policies.effective_policy("web")
        monkeypatch.delattr(selection, "select_policy")
        assert policies.effective_policy("web") is first

    def test_what_is_remembered_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cache, "_NAMESPACES_LIMIT", 3)
        policies = PolicySnapshot(documents())
        for number in range(10):
            policies.effective_policy(f"n{number}")
        assert len(policies._governing) <= 3


class TestAccept:
    """Objects as the API server gives them."""

    def test_a_policy_with_all_that_the_server_adds(self) -> None:
        body = policy("p", mode="Warn") | {"status": {"conditions": []}}
        body["metadata"] |= {"uid": "u", "resourceVersion": "1", "managedFields": [{}], "creationTimestamp": "x"}
        accepted = cache.accept(body)
        assert isinstance(accepted, NonRootPolicy)
        assert accepted.spec.mode == "Warn"

    def test_an_exception(self) -> None:
        accepted = cache.accept(exception("e", "web", expires="2026-12-31T23:59:00Z"))
        assert isinstance(accepted, NonRootException)
        assert accepted.metadata.namespace == "web"

    @pytest.mark.parametrize(
        ("body", "name", "reason"),
        [
            pytest.param(policy("p", mode="Strict"), "NonRootPolicy p", "spec.mode", id="a mode from the future"),
            pytest.param(policy("p", colour=1), "NonRootPolicy p", "colour", id="an unknown field"),
            pytest.param(
                exception("e", "web", reason=""), "NonRootException web/e", "spec.reason", id="an empty reason"
            ),
            pytest.param(policy("p", rootImages="Assign"), "NonRootPolicy p", "spec.assign", id="half an assignment"),
        ],
    )
    def test_what_is_wrong_is_named_and_never_an_error(self, body: dict[str, Any], name: str, reason: str) -> None:
        rejected = cache.accept(body)
        assert isinstance(rejected, Rejected)
        assert rejected.name == name
        assert reason in rejected.reason


class TestClusterView:
    """A cluster as it changes."""

    def test_it_is_not_ready_before_there_is_a_first_moment(self) -> None:
        policies = PolicyCache()
        assert not policies.ready
        assert policies.age == math.inf
        assert policies.effective_policy("web").mode == "Audit"
        assert policies.exceptions("web") == ()

    def test_an_empty_cluster_is_a_moment_too(self) -> None:
        policies = PolicyCache()
        policies.replace((), ())
        assert policies.ready

    def test_each_moment_replaces_the_one_before(self) -> None:
        policies = PolicyCache()
        policies.replace(
            [Namespace("web")], [cache.accept(policy("p", mode="Warn")), cache.accept(exception("e", "web"))]
        )
        assert (policies.effective_policy("web").mode, len(policies.exceptions("web"))) == ("Warn", 1)
        policies.replace([Namespace("web")], [cache.accept(policy("p", mode="Enforce"))])
        assert (policies.effective_policy("web").mode, policies.exceptions("web")) == ("Enforce", ())

    def test_a_label_counts_from_the_moment_it_is_there(self) -> None:
        policies = PolicyCache()
        policies.replace([Namespace("web")], ())
        assert policies.effective_policy("web").mode == "Audit"
        policies.replace([Namespace("web", {"nonroot.dev/mode": "enforce"})], ())
        assert policies.effective_policy("web").mode == "Enforce"

    def test_what_is_wrong_is_kept_out_and_named_until_it_is_right(self) -> None:
        policies = PolicyCache()
        policies.replace((), [cache.accept(policy("bad", mode="Strict")), cache.accept(policy("good", mode="Warn"))])
        assert list(policies.problems) == ["NonRootPolicy bad"]
        assert policies.effective_policy("web").policy.metadata.name == "good"
        policies.replace((), [cache.accept(policy("bad", mode="Enforce"))])
        assert policies.problems == {}

    def test_a_namespace_is_known_once_it_was_seen(self) -> None:
        policies = PolicyCache()
        assert not policies.knows("web")
        policies.replace([Namespace("web")], [])
        assert policies.knows("web")
        assert not policies.knows("new")
        assert PolicySnapshot(Documents()).knows("any")

    def test_it_is_as_old_as_its_oldest_stream(self) -> None:
        now = 100.0
        policies = PolicyCache(lambda: now)
        policies.mark_synced("namespaces")
        now = 110.0
        policies.mark_synced("nonrootpolicies")
        now = 130.0
        assert policies.age == 30.0
        policies.mark_synced("namespaces")
        assert policies.age == 20.0

    def test_the_last_moment_stays_whatever_its_age(self) -> None:
        now = 0.0
        policies = PolicyCache(lambda: now)
        policies.mark_synced("namespaces")
        policies.replace([Namespace("web", {"nonroot.dev/mode": "enforce"})], ())
        now = 86400.0
        assert (policies.ready, policies.age, policies.effective_policy("web").mode) == (True, 86400.0, "Enforce")
