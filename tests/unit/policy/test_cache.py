"""Views: which policy applies to a namespace, when that is worked out anew, and what is kept out."""

import math
from typing import Any

import pytest

from tests.support.pods import workload
from webhook.policy import cache, selection
from webhook.policy.cache import PolicyCache, PolicySnapshot
from webhook.policy.loader import load
from webhook.policy.selection import EffectivePolicy, Namespace
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
            assert len(policies._effective) == number % 3 + 1


class TestAccept:
    """Objects as the API server gives them."""

    def test_a_policy_with_all_that_the_server_adds(self) -> None:
        body = policy("p", mode="Warn") | {"status": {"conditions": []}}
        body["metadata"] |= {"uid": "u", "resourceVersion": "1", "managedFields": [{}], "creationTimestamp": "x"}
        accepted = cache.accept(body)
        assert isinstance(accepted.document, NonRootPolicy)
        assert (accepted.document.spec.mode, accepted.problem, accepted.unknown_fields) == ("Warn", "", ())

    def test_a_policy_without_a_spec_has_every_default(self) -> None:
        body = policy("p")
        del body["spec"]
        assert cache.accept(body).document == cache.accept(policy("p")).document

    def test_an_exception(self) -> None:
        accepted = cache.accept(exception("e", "web", expires="2026-12-31T23:59:00Z"))
        assert isinstance(accepted.document, NonRootException)
        assert accepted.document.metadata.namespace == "web"

    @pytest.mark.parametrize(
        ("body", "name", "reason"),
        [
            pytest.param(policy("p", mode="Strict"), "NonRootPolicy p", "spec.mode", id="a mode from the future"),
            pytest.param(
                exception("e", "web", colour=1), "NonRootException web/e", "colour", id="a field that may narrow it"
            ),
            pytest.param(
                exception("e", "web", reason=""), "NonRootException web/e", "spec.reason", id="an empty reason"
            ),
            pytest.param(policy("p", rootImages="Assign"), "NonRootPolicy p", "spec.assign", id="half an assignment"),
        ],
    )
    def test_what_is_wrong_is_named_and_never_an_error(self, body: dict[str, Any], name: str, reason: str) -> None:
        rejected = cache.accept(body)
        assert (rejected.name, rejected.document) == (name, None)
        assert reason in rejected.problem

    def test_of_a_policy_the_fields_that_are_unknown_have_no_effect_and_the_rest_applies(self) -> None:
        assign: dict[str, Any] = {"uid": 5, "images": ["a"]}
        known: dict[str, Any] = {"mode": "Enforce", "assign": assign, "rootImages": "Assign"}
        newer = policy(
            "p",
            **known | {"assign": {**assign, "why": 1}},
            colour=1,
            namespaceSelector={"matchExpressions": [{"key": "a", "operator": "Exists", "weight": 2}]},
        )
        accepted = cache.accept(newer)
        assert accepted.unknown_fields == (
            "spec.assign.why",
            "spec.colour",
            "spec.namespaceSelector.matchExpressions[0].weight",
        )
        selector = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
        assert accepted.document == cache.accept(policy("p", **known, namespaceSelector=selector)).document
        assert accepted.problem == ""

    def test_a_policy_that_cannot_be_used_leaves_its_last_version_in_force(self) -> None:
        good = cache.accept(policy("p", mode="Enforce")).document
        broken = cache.accept(policy("p", mode="Strict"), good)
        assert (broken.document, "spec.mode" in broken.problem) == (good, True)

    @pytest.mark.parametrize(
        ("status", "mode"),
        [
            pytest.param({"lastUsable": {"mode": "Enforce"}}, "Enforce", id="of this version"),
            pytest.param({"lastUsable": {"mode": "Enforce", "colour": 1}}, "Enforce", id="of a newer one"),
            pytest.param({"lastUsable": {"mode": "Strict"}}, None, id="unusable itself"),
            pytest.param({"lastUsable": "x"}, None, id="no spec"),
            pytest.param({}, None, id="nothing"),
            pytest.param(None, None, id="null"),
        ],
    )
    def test_which_a_replica_that_has_just_started_finds_in_the_status(self, status: Any, mode: str | None) -> None:
        document = cache.accept(policy("p", mode="Strict") | {"status": status}).document
        assert (document.spec.mode if isinstance(document, NonRootPolicy) else None) == mode

    def test_an_exception_that_cannot_be_used_exempts_nothing_whatever_it_was_before(self) -> None:
        former = cache.accept(exception("e", "web")).document
        broken = exception("e", "web", rules=["no-such-rule"]) | {"status": {"lastUsable": {"reason": "because"}}}
        assert cache.accept(broken, former).document is None


class TestClusterView:
    """A cluster as it changes."""

    def test_it_is_not_ready_before_there_is_a_first_moment(self) -> None:
        policies = PolicyCache()
        assert not policies.ready
        assert policies.age == math.inf
        assert policies.effective_policy("web") == EffectivePolicy(
            selection.BUILT_IN, "Audit", "nothing is known of the cluster yet"
        )
        assert policies.exceptions("web") == ()
        assert policies.problems == {}

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

    def test_a_policy_that_turns_unusable_goes_on_enforcing(self) -> None:
        """Seen before: an unknown field took the policy away, and its namespaces fell to Audit."""
        good = cache.accept(policy("strict", mode="Enforce"))
        for body in (policy("strict", mode="Enforce", someFieldOfTheNextVersion=True), policy("strict", mode="Strict")):
            policies = PolicyCache()
            policies.replace([Namespace("web")], [cache.accept(body, good.document)])
            rule = policies.effective_policy("web")
            assert (rule.policy.metadata.name, rule.mode) == ("strict", "Enforce")

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


def test_a_namespace_that_is_not_seen_may_be_enforced_where_some_policy_enforces() -> None:
    """And as long as none is known."""
    assert PolicyCache().may_enforce
    for modes, expected in ((), False), (("Warn", "Audit"), False), (("Warn", "Enforce"), True):
        seen = PolicyCache()
        seen.replace([], [cache.accept(policy(f"p{number}", mode=mode)) for number, mode in enumerate(modes)])
        assert seen.may_enforce is expected


def test_what_is_stored_is_named_in_what_is_wrong_with_it() -> None:
    good, bad = (cache.accept(exception("x", "web", **more)) for more in ({}, {"rules": 7}))
    assert good.name == bad.name == "NonRootException web/x"
    assert bad.problem.startswith("the cluster (NonRootException 'x'): spec.rules: ")


def test_the_exceptions_of_a_workload_are_those_that_may_be_about_it() -> None:
    exceptions = [exception(name, "web", workloads=[{"name": name}]) for name in ("a", "web")]
    seen = PolicySnapshot(documents(*exceptions))
    assert [each.metadata.name for each in seen.exceptions("web")] == ["a", "web"]
    assert [each.metadata.name for each in seen.exceptions("web", workload())] == ["web"]
    watched = PolicyCache()
    watched.replace([], map(cache.accept, exceptions))
    assert [each.metadata.name for each in watched.exceptions("web")] == ["a", "web"]
    assert [each.metadata.name for each in watched.exceptions("web", workload())] == ["web"]
