"""What policies and exceptions say of themselves in their status."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from webhook.policy import conditions
from webhook.policy.cache import StoredObject
from webhook.policy.conditions import Condition, ExceptionStatus, Outcomes, PolicyScope, PolicyStatus
from webhook.policy.selection import EffectivePolicy, Namespace, select_policy
from webhook.policy.types import ExceptionSpec, Metadata, NonRootException, NonRootPolicy, OnUnknown, PolicySpec

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
NEW_POLICY, NEW_EXCEPTION, DEFAULTS = PolicyStatus(), ExceptionStatus(), PolicySpec()
SPEC = {"mode": "Enforce"}
POLICY = NonRootPolicy(Metadata("strict"), PolicySpec(mode="Enforce"))


def governed(**labels: str) -> dict[str, EffectivePolicy]:
    """Namespaces by name, each with its mode label, under the one policy."""
    return {
        name: select_policy([POLICY], Namespace(name, {"nonroot.dev/mode": label} if label else {}))
        for name, label in labels.items()
    }


def of_policy(
    former: PolicyStatus = NEW_POLICY,
    *,
    policy: NonRootPolicy | None = POLICY,
    problem: str = "",
    unknown: tuple[str, ...] = (),
    namespaces: dict[str, EffectivePolicy] | None = None,
    fails_open: tuple[str, ...] = (),
    workloads: Outcomes | None = None,
    now: datetime = NOW,
    spec: dict[str, Any] = SPEC,
    scans: bool = True,
) -> PolicyStatus:
    scope = PolicyScope(governed(a="", b="warn") if namespaces is None else namespaces, fails_open)
    stored = StoredObject("NonRootPolicy strict", policy, problem, unknown)
    return conditions.of_policy(stored, spec, scope, workloads, former, 3, now, scans=scans)


def of_exception(
    former: ExceptionStatus = NEW_EXCEPTION,
    *,
    expires: datetime | None = None,
    problem: str = "",
    policy: PolicySpec = DEFAULTS,
    now: datetime = NOW,
    matches: int | None = None,
    scans: bool = True,
    **more: bool,
) -> ExceptionStatus:
    exception = NonRootException(Metadata("x", "a"), ExceptionSpec(reason="because", expires=expires))
    effective_policy = EffectivePolicy(NonRootPolicy(Metadata("strict"), policy), "Enforce", "")
    stored = StoredObject("NonRootException a/x", None if problem else exception, problem)
    return conditions.of_exception(stored, effective_policy, matches, former, 3, now, scans=scans, **more)


LENIENT = NonRootPolicy(Metadata("strict"), PolicySpec(mode="Enforce", root_images="Allow"))
STORED_BEFORE = NonRootPolicy(Metadata("strict"), PolicySpec(mode="Enforce", on_unknown=OnUnknown(default="Warn")))
HARMLESS = NonRootPolicy(Metadata("strict"), PolicySpec(mode="Warn", root_images="Allow", label_namespaces=True))


def statuses() -> dict[str, PolicyStatus | ExceptionStatus]:
    """One of every kind."""
    other = select_policy([OTHER], Namespace("c"))
    counted = Outcomes.of(1, 2, 3, 4, 5)
    former = of_policy(workloads=counted)
    matching = of_exception(matches=2)
    return {
        "in force": former,
        "no namespace": of_policy(namespaces={}),
        "shadowed": of_policy(policy=OTHER),
        "shadowed in part": of_policy(namespaces=governed(a="", b="") | {"c": other}),
        "unusable": of_policy(policy=None, problem="spec.mode: wrong", namespaces={}),
        "the last version": of_policy(former, problem="spec.mode: wrong", spec={"mode": "x"}, now=LATER),
        "unknown fields": of_policy(unknown=tuple(f"spec.f{number}" for number in range(7))),
        "fails open": of_policy(fails_open=("b", "a")),
        "fails open, labelling": of_policy(policy=HARMLESS, fails_open=("b",)),
        "bad labels": of_policy(namespaces=governed(b="x", a="y", c="")),
        "root images": of_policy(policy=LENIENT, namespaces={}),
        "root images, enforced by a label alone": of_policy(
            policy=HARMLESS,
            namespaces={"a": select_policy([HARMLESS], Namespace("a", {"nonroot.dev/mode": "enforce"}))},
        ),
        "root images, not enforced": of_policy(policy=HARMLESS, namespaces={}),
        "unread images": of_policy(policy=STORED_BEFORE),
        "scanned no more": of_policy(former, scans=False),
        "never scanned": of_policy(scans=False),
        "a spec of the limit": of_policy(spec={"a": "x" * (conditions.SPEC_LIMIT - len('{"a":""}') + 1)}),
        "exception": matching,
        "exception that ends": of_exception(expires=NOW + timedelta(days=7)),
        "exception that ends later": of_exception(expires=NOW + timedelta(days=7, seconds=1)),
        "exception that has ended": of_exception(matching, expires=NOW, now=NOW),
        "exception not allowed": of_exception(policy=PolicySpec(exceptions="Forbid")),
        "exception that matches nothing": of_exception(matches=0),
        "exception, unusable": of_exception(problem="spec.reason: too short"),
        "exception, beyond the limit": of_exception(beyond_limit=True),
        "exception, counted no more": of_exception(matching, scans=False, now=LATER),
        "exception, never counted": of_exception(scans=False),
    }


STATUSES = Path(__file__).with_name("statuses.json")


def test_every_status_to_the_letter() -> None:
    """As `kubectl describe` shows it. After an intended change: NONROOT_WRITE_WORDS=1, and read the difference."""
    said = {name: json.loads(msgspec.json.encode(each)) for name, each in statuses().items()}
    if os.environ.get("NONROOT_WRITE_WORDS"):
        STATUSES.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n")
    assert said == json.loads(STATUSES.read_text())


def test_the_largest_spec_that_is_kept() -> None:
    spec = {"a": "x" * (conditions.SPEC_LIMIT - len('{"a":""}'))}
    assert of_policy(spec=spec).last_usable == spec


def test_a_message_names_five_and_is_bounded() -> None:
    """As many as are told of one by one; and however long a name is."""
    five, six = (condition(of_policy(fails_open=tuple("abcdef"[:number])), "FailsOpen").message for number in (5, 6))
    assert five.startswith("a, b, c, d, e: ")
    assert six.startswith("a, b, c, d, e and 1 more: ")
    long = condition(of_policy(fails_open=("n" * 2000,)), "FailsOpen").message
    assert len(long) == conditions.MESSAGE_LIMIT


def condition(found: PolicyStatus | ExceptionStatus, kind: str) -> Condition:
    return next(each for each in found.conditions if each.type == kind)


def test_a_policy_in_force_says_where_and_with_what_effect() -> None:
    workloads = Outcomes.of(compliant=1, fixable=2, denied=3)
    found = of_policy(workloads=workloads)
    assert (found.namespaces, found.workloads, found.observed_generation) == (2, workloads, 3)
    ready = condition(found, "Ready")
    assert (ready.status, ready.reason, ready.last_transition_time, ready.observed_generation) == (
        *("True", "InForce", NOW),
        3,
    )
    assert condition(found, "NamespaceLabelsValid").status == "True"


def test_a_policy_that_selects_nothing_says_so() -> None:
    found = of_policy(namespaces={})
    assert found.namespaces == 0
    assert (condition(found, "Ready").status, condition(found, "Ready").reason) == ("True", "NoNamespace")


OTHER = NonRootPolicy(Metadata("shops"), PolicySpec())


def test_a_policy_that_is_shadowed_everywhere_is_not_ready_and_says_by_which() -> None:
    found = of_policy(policy=OTHER)
    assert found.namespaces == 0
    ready = condition(found, "Ready")
    assert (ready.status, ready.reason) == ("False", "Shadowed")
    assert ready.message.startswith("Shadowed by strict: ")


def test_a_policy_that_is_shadowed_in_part_is_ready_and_says_so() -> None:
    other = select_policy([OTHER], Namespace("c"))
    ready = condition(of_policy(namespaces=governed(a="", b="") | {"c": other}), "Ready")
    assert (ready.status, ready.message) == (
        "True",
        "it applies to 2 of the 3 namespaces that it selects; in the others another policy comes first: shops",
    )


def test_a_policy_that_cannot_be_used_names_the_field() -> None:
    found = of_policy(policy=None, problem="spec.mode: Invalid enum value", namespaces={})
    assert [each.type for each in found.conditions] == ["Ready"]
    assert (condition(found, "Ready").status, condition(found, "Ready").reason) == ("False", "Unusable")
    assert "spec.mode" in condition(found, "Ready").message


def test_a_policy_whose_last_version_stays_in_force_says_so_and_keeps_it() -> None:
    former = of_policy()
    assert former.last_usable == SPEC
    found = of_policy(former, problem="spec.mode: Invalid enum value 'Strict'", spec={"mode": "Strict"})
    ready = condition(found, "Ready")
    assert (ready.status, ready.reason) == ("False", "LastVersionInForce")
    assert "spec.mode: Invalid enum value 'Strict'" in ready.message
    assert (found.namespaces, found.last_usable) == (2, SPEC)


def test_a_spec_that_is_too_large_for_two_is_not_kept_twice() -> None:
    assert of_policy(spec={"mode": "x" * conditions.SPEC_LIMIT}).last_usable is None


def test_fields_that_this_version_does_not_know_are_named() -> None:
    found = condition(of_policy(unknown=("spec.colour",)), "FieldsKnown")
    assert (found.status, found.reason) == ("False", "UnknownFields")
    assert found.message.startswith("spec.colour: unknown to this version of nonroot-webhook, and without effect")
    assert "FieldsKnown" not in [each.type for each in of_policy().conditions]


def test_the_namespaces_that_are_enforced_only_while_admission_is_there_are_named() -> None:
    assert condition(of_policy(), "FailsOpen").status == "False"
    found = condition(of_policy(fails_open=("b", "a")), "FailsOpen")
    assert (found.status, found.reason) == ("True", "NotLabelled")
    assert found.message.startswith("a, b: enforced by this policy and not by a label")
    assert "nonroot.dev/mode=enforce" in found.message


def test_bad_labels_are_named_some_of_them_at_most() -> None:
    few = condition(of_policy(namespaces=governed(a="", b="strict")), "NamespaceLabelsValid")
    assert (few.status, few.reason) == ("False", "BadLabel")
    assert few.message.startswith("b: the label nonroot.dev/mode must be audit, warn or enforce")
    many = governed(**{f"n{number:02}": "x" for number in range(12)})
    assert condition(of_policy(namespaces=many), "NamespaceLabelsValid").message.startswith(
        "n00, n01, n02, n03, n04 and 7 more: "
    )


def test_before_the_first_scan_the_former_sums_stay() -> None:
    former = of_policy(workloads=Outcomes.of(denied=4))
    assert of_policy(former, workloads=None).workloads == Outcomes.of(denied=4)
    assert of_policy(former, workloads=Outcomes()).workloads == Outcomes()


def test_a_status_changes_only_when_something_did() -> None:
    former = of_policy(workloads=Outcomes.of(denied=4))
    assert of_policy(former, workloads=Outcomes.of(denied=4), now=LATER) == former
    changed = of_policy(former, namespaces={}, now=LATER)  # another reason, not another status
    assert condition(changed, "Ready").last_transition_time == NOW
    broken = of_policy(former, problem="spec: wrong", now=LATER)
    assert condition(broken, "Ready").last_transition_time == LATER


@pytest.mark.parametrize(
    ("given", "ready", "reason", "soon"),
    [
        pytest.param({}, "True", "InForce", "False", id="for ever"),
        pytest.param({"expires": NOW + timedelta(days=8)}, "True", "InForce", "False", id="for long"),
        pytest.param({"expires": NOW + timedelta(days=7)}, "True", "InForce", "True", id="for a week"),
        pytest.param({"expires": NOW + timedelta(seconds=1)}, "True", "InForce", "True", id="for a moment"),
        pytest.param({"matches": 0}, "True", "MatchesNothing", "False", id="for nobody"),
        pytest.param({"matches": 2}, "True", "InForce", "False", id="for two"),
        pytest.param({"expires": NOW, "matches": 0}, "False", "Expired", "False", id="over"),
        pytest.param({"policy": PolicySpec(exceptions="Forbid")}, "False", "Forbidden", "False", id="not allowed"),
        pytest.param({"problem": "spec.reason: too short"}, "False", "Unusable", None, id="unusable"),
    ],
)
def test_what_an_exception_says_of_itself(given: dict[str, Any], ready: str, reason: str, soon: str | None) -> None:
    found = of_exception(**given)
    assert (condition(found, "Ready").status, condition(found, "Ready").reason) == (ready, reason)
    assert [each.status for each in found.conditions if each.type == "ExpiresSoon"] == ([soon] if soon else [])


def test_an_exception_tells_its_end_and_what_is_wrong_with_it() -> None:
    found = of_exception(expires=NOW + timedelta(days=1))
    assert condition(found, "ExpiresSoon").message == "it ends at 2026-03-02 12:00 UTC"
    assert "spec.reason: too short" in condition(of_exception(problem="spec.reason: too short"), "Ready").message
    assert "policy strict" in condition(of_exception(policy=PolicySpec(exceptions="Forbid")), "Ready").message


def test_what_an_exception_matches_is_kept_until_it_is_counted_again() -> None:
    counted = of_exception(matches=2)
    assert (counted.matches, of_exception(counted).matches, of_exception(counted, matches=0).matches) == (2, 2, 0)
    other = conditions.of_exception(
        StoredObject("NonRootException a/x", None, "spec"), select_policy([], Namespace("a")), None, counted, 4, NOW
    )
    assert other.matches is None


def test_the_next_change_is_an_end_or_a_week_before_one() -> None:
    def exception(expires: datetime | None) -> NonRootException:
        return NonRootException(Metadata("x", "a"), ExceptionSpec(reason="because", expires=expires))

    assert conditions.next_change([exception(None)], NOW) is None
    assert conditions.next_change([exception(NOW)], NOW) is None
    assert conditions.next_change([exception(NOW + timedelta(days=9))], NOW) == NOW + timedelta(days=2)
    both = [exception(NOW + timedelta(days=3)), exception(NOW + timedelta(days=9)), exception(None)]
    assert conditions.next_change(both, NOW) == NOW + timedelta(days=2)


def test_nothing_is_counted_that_is_not_given_and_scans_go_on_unless_said() -> None:
    assert Outcomes.of() == Outcomes()
    stored = StoredObject("NonRootPolicy strict", POLICY)
    policy = conditions.of_policy(stored, SPEC, PolicyScope({}), Outcomes(), NEW_POLICY, 3, NOW)
    other = StoredObject("NonRootException a/x", NonRootException(Metadata("x", "a"), ExceptionSpec(reason="because")))
    exception = conditions.of_exception(other, select_policy([], Namespace("a")), 2, NEW_EXCEPTION, 3, NOW)
    assert "Scanned" not in [each.type for each in (*policy.conditions, *exception.conditions)]


def test_every_field_that_exempts_root_is_named() -> None:
    both = PolicySpec(mode="Enforce", root_images="Allow", root_in_user_namespaces="Allow")
    found = condition(of_policy(policy=NonRootPolicy(Metadata("strict"), both)), "ExemptsRoot")
    assert found.message.startswith("rootImages: Allow, rootInUserNamespaces: Allow: lets containers run as root")
