"""The admission flow: what is evaluated when, which hook does what, and for how long a user waits."""

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from tests.support.clock import Clock
from tests.support.evaluation import apply
from tests.support.images import Table, image, unknown
from tests.support.pods import IMAGE, Object, effective_policy, minimal, review, tweak, within, workload
from tests.support.tables import table
from webhook.admission import handler
from webhook.admission.handler import (
    AUDIT_LIMIT,
    LARGE_PODS_CONTAINERS,
    NAMESPACE_LIMIT,
    NAMESPACE_WAIT,
    NAMESPACE_WAIT_TRIES,
    SMALL_POD_CONTAINERS,
    Admission,
    Outcome,
    WebhookKind,
)
from webhook.admission.retry_window import RETRY_WINDOW
from webhook.image.source import Image, Images, Query, Unknown
from webhook.policy.selection import EffectivePolicy
from webhook.policy.types import ExceptionSpec, Metadata, NonRootException
from webhook.workload.workload import Workload

OWN = "spec.containers.0.securityContext"
DEMANDS = tweak(minimal(), {f"{OWN}.runAsNonRoot": True})


class View:
    """One policy for every namespace, and its exceptions."""

    def __init__(self, rule: EffectivePolicy, exceptions: tuple[NonRootException, ...] = ()) -> None:
        self.rule = rule
        self.excuses = exceptions
        self.namespaces: list[str] = []
        self.looked_up: set[object] = set()  # namespaces, by any method
        self.unseen = 0  # how often the namespace is not there yet

    def knows(self, namespace: str) -> bool:
        """As `webhook.policy.cache.PolicyLister`."""
        self.looked_up.add(namespace)
        self.unseen -= 1
        return self.unseen < 0

    may_enforce = True

    def effective_policy(self, namespace: str) -> EffectivePolicy:
        """As `webhook.policy.cache.PolicyLister`."""
        self.namespaces.append(namespace)
        return self.rule

    def exceptions(self, namespace: str, workload: Workload | None = None) -> tuple[NonRootException, ...]:
        """As `webhook.policy.cache.PolicyLister`."""
        assert workload is not None
        self.looked_up.add(namespace)
        return self.excuses


class Scene:
    """An Admission with everything around it in hand."""

    def __init__(self, rule: EffectivePolicy | None = None, **images: Image | Unknown) -> None:
        self.view = View(rule or effective_policy())
        self.images = Table({IMAGE: image("app")} | {f"a.io/{name}": found for name, found in images.items()})
        self.clock = Clock()
        self.admission = Admission(self.view, self.images, self.clock)

    def found(self, answer: Image | Unknown) -> "Scene":
        """Let the minimal Pod's image be this one."""
        self.images.images[IMAGE] = answer
        return self

    async def ask(self, hook: WebhookKind, obj: Object | None, operation: str = "CREATE", **more: Any) -> Outcome:
        """One review, whose answer is to it."""
        asked = review(obj, operation, **more)
        outcome = await self.admission.review(asked, hook)
        assert response(outcome)["uid"] == asked.uid
        assert outcome.hook == ("validate" if hook == "enforce" else hook)
        return outcome


def response(outcome: Outcome) -> dict[str, Any]:
    """The response in the outcome's body."""
    found = json.loads(outcome.body)["response"]
    assert isinstance(found, dict)
    return found


def operations(outcome: Outcome) -> list[dict[str, Any]]:
    """The patch in the outcome's body."""
    found = json.loads(base64.b64decode(response(outcome).get("patch", "W10=")))
    assert isinstance(found, list)
    return found


@table(
    ("hook", "obj", "operation", "more", "why"),
    {
        "a resize is never evaluated": ("validate", minimal(), "UPDATE", {"sub_resource": "resize"}, "subresource"),
        "nor a status": ("validate", minimal(), "UPDATE", {"sub_resource": "status"}, "subresource"),
        "nor a binding": ("mutate", minimal(), "CREATE", {"sub_resource": "binding"}, "subresource"),
        "nor a deletion": ("validate", None, "DELETE", {"old": minimal()}, "subresource"),
        "a template is not patched": ("mutate", within("Deployment", minimal()), "CREATE", {}, "nothing-to-patch"),
        "an update is not patched": ("mutate", minimal(), "UPDATE", {"old": DEMANDS}, "nothing-to-patch"),
        "what holds no Pod spec": ("validate", {"kind": "Service", "metadata": {}}, "CREATE", {}, "no-pod-spec"),
        "a Pod that is being deleted": (
            "validate",
            tweak(minimal(), {"metadata.deletionTimestamp": "2026-01-01T00:00:00Z", "spec.containers.0.image": "x"}),
            "UPDATE",
            {"old": minimal()},
            "deleting",
        ),
        "a mirror Pod": (
            "validate",
            tweak(minimal(), {"metadata.annotations": {"kubernetes.io/config.mirror": "x"}}),
            "CREATE",
            {},
            "mirror-pod",
        ),
        "kube-system": ("validate", minimal(), "CREATE", {"namespace": "kube-system"}, "exempt: namespace"),
        "an exempt user": ("mutate", minimal(), "CREATE", {"username": "robot"}, "exempt: user"),
        "an update of labels": (
            "validate",
            tweak(minimal(), {"metadata.labels": {"a": "b"}}),
            "UPDATE",
            {"old": minimal()},
            "insignificant",
        ),
        "a template that is only scaled": (
            "validate",
            tweak(within("Deployment", minimal()), {"spec.replicas": 3}),
            "UPDATE",
            {"old": within("Deployment", minimal())},
            "insignificant",
        ),
        "an ephemeral update without a new container": (
            "mutate",
            minimal(),
            "UPDATE",
            {"old": minimal(), "sub_resource": "ephemeralcontainers"},
            "insignificant",
        ),
    },
)
async def test_the_early_exits(
    hook: WebhookKind, obj: Object | None, operation: str, more: dict[str, Any], why: str
) -> None:
    """Each allows, asks no registry and says why in an audit annotation."""
    scene = Scene(effective_policy(exemptions={"users": ["robot"]})).found(image(""))
    outcome = await scene.ask(hook, obj, operation, **more)
    assert response(outcome)["allowed"] is True
    assert (response(outcome)["auditAnnotations"], outcome.decision) == ({"skipped": why}, "skip")
    assert (outcome.effective_policy is not None) == why.startswith(("exempt", "insignificant"))
    assert scene.images.asked == []


async def test_a_mutating_hook_that_injects_nothing_is_done() -> None:
    """It asks no registry."""
    scene = Scene(effective_policy("Warn"))
    outcome = await scene.ask("mutate", minimal())
    assert response(outcome)["auditAnnotations"] == {"skipped": "not-injecting"}
    assert outcome.effective_policy == scene.view.rule
    assert scene.images.asked == []


async def test_a_creation_cannot_pretend_to_be_a_deletion() -> None:
    """A deletionTimestamp counts on an update only."""
    pod = tweak(minimal(), {"metadata.deletionTimestamp": "2026-01-01T00:00:00Z"})
    assert (await Scene().found(image("")).ask("validate", pod)).decision == "deny"


async def test_a_template_may_carry_the_annotation_of_a_mirror_pod() -> None:
    """It means nothing there."""
    deployment = tweak(within("Deployment", minimal()), {"metadata.annotations": {"kubernetes.io/config.mirror": "x"}})
    outcome = await Scene(effective_policy(templates="Deny")).found(image("")).ask("validate", deployment)
    assert outcome.decision == "deny"


async def test_a_pod_is_patched_and_then_admitted() -> None:
    """Both hooks, one after the other, as the API server calls them."""
    scene = Scene()
    mutated = await scene.ask("mutate", DEMANDS)
    assert (mutated.decision, mutated.operations) == ("allow", len(operations(mutated)))
    pod = apply(DEMANDS, operations(mutated))
    assert pod["spec"]["containers"][0]["securityContext"]["runAsUser"] == 1000
    validated = await scene.ask("validate", pod)
    assert response(validated)["allowed"] is True
    assert "patch" not in response(validated)
    assert operations(await scene.ask("mutate", pod)) == []


@table(
    ("mode", "answer", "decision", "warnings"),
    {
        "Audit lets root in": ("Audit", image(""), "allow", 0),
        "Warn lets root in and says so": ("Warn", image(""), "allow", 1),
        "Enforce refuses root": ("Enforce", image(""), "deny", 0),
        "Enforce asks for the patch that an unknown one lacks": ("Enforce", unknown("unreachable"), "retry", 0),
        "Enforce refuses the invalid": ("Enforce", unknown("invalid"), "deny", 0),
    },
)
async def test_the_validating_webhook(mode: str, answer: Image | Unknown, decision: str, warnings: int) -> None:
    """It answers by mode."""
    outcome = await Scene(effective_policy(mode)).found(answer).ask("validate", minimal())
    assert (outcome.decision, len(response(outcome).get("warnings", ()))) == (decision, warnings)
    assert (outcome.workload, outcome.exempted) == (workload(minimal()), 0)
    assert outcome.findings
    if decision == "deny":
        assert response(outcome)["status"]["code"] == 403
        assert response(outcome)["status"]["message"] == outcome.message


async def test_the_mutating_webhook_denies_nothing_but_warns_with_its_reasons() -> None:
    """Where Pod Security refuses before the validating hook is asked; else they would be told twice."""
    outcome = await Scene().found(image("")).ask("mutate", minimal())
    assert "warnings" not in response(outcome)
    restricted = msgspec.structs.replace(effective_policy(), restricted=True)
    outcome = await Scene(restricted).found(image("")).ask("mutate", minimal())
    (warning,) = response(outcome)["warnings"]
    assert warning.startswith('nonroot: image runs as root: container "app"')
    assert response(outcome)["allowed"] is True


async def test_one_bad_container_does_not_keep_the_others_from_being_patched() -> None:
    """Each is evaluated alone."""
    pod = tweak(minimal(), {"spec.containers.1": {"name": "b", "image": "a.io/root"}})
    paths = [each["path"] for each in operations(await Scene(root=image("")).ask("mutate", pod))]
    assert paths == ["/spec/containers/0/securityContext", "/metadata/annotations"]


@pytest.mark.parametrize("hook", ["mutate", "validate"])
async def test_a_pending_image_is_waited_for_and_no_longer_than_half_a_minute(hook: WebhookKind) -> None:
    """Status 429 until then; afterwards onUnknown, and after a pause a new window."""
    scene = Scene().found(unknown("pending"))
    for seconds, decision in ((0, "retry"), (1, "retry"), (28.9, "retry"), (0.2, "allow"), (20, "allow")):
        scene.clock.now += seconds
        outcome = await scene.ask(hook, DEMANDS)
        assert outcome.decision == decision
    scene.clock.now += 11
    assert (await scene.ask(hook, DEMANDS)).decision == "retry"


async def test_come_again_is_said_in_the_words_of_the_api() -> None:
    """Code, reason and the seconds to wait."""
    status = response(await Scene().found(unknown("pending")).ask("mutate", minimal()))["status"]
    assert (status["code"], status["reason"]) == (429, "TooManyRequests")
    assert status["message"].startswith('policy "strict": image could not be read: container "app"')
    assert status["details"] == {"retryAfterSeconds": 1}


@pytest.mark.parametrize("mode", ["Audit", "Warn"])
async def test_only_enforce_waits(mode: str) -> None:
    """The others let the Pod in at once."""
    scene = Scene(effective_policy(mode, inject="Always")).found(unknown("pending"))
    for hook in ("mutate", "validate"):
        assert (await scene.ask(hook, minimal())).decision == "allow"


async def test_a_clock_starts_where_an_image_is_waited_for() -> None:
    """And not in the mode before."""
    scene = Scene(effective_policy("Warn")).found(unknown("pending"))
    assert (await scene.ask("validate", DEMANDS)).decision == "allow"
    scene.clock.now += RETRY_WINDOW + 1
    scene.view.rule = effective_policy()
    assert (await scene.ask("validate", DEMANDS)).decision == "retry"


async def test_a_template_is_not_waited_for_and_starts_no_clock() -> None:
    """Its Pods come later."""
    scene = Scene(effective_policy(templates="Deny")).found(unknown("pending"))
    assert (await scene.ask("validate", within("CronJob", minimal()))).decision == "allow"
    scene.clock.now += 45
    assert (await scene.ask("validate", minimal())).decision == "retry"


async def test_a_pod_that_is_refused_anyway_does_not_wait() -> None:
    """At the mutating hook it goes on to be refused at the other one."""
    pod = tweak(minimal(), {"spec.containers.1": {"name": "b", "image": "a.io/root"}})
    scene = Scene(root=image("")).found(unknown("pending"))
    assert (await scene.ask("mutate", pod)).decision == "allow"
    assert (await scene.ask("validate", pod)).decision == "deny"


async def test_where_mutation_was_skipped_the_api_server_is_asked_to_try_again() -> None:
    """And refused when that does not help; earlier Pods that were patched do not shorten the wait."""
    scene = Scene()
    assert operations(await scene.ask("mutate", DEMANDS)) != []
    scene.clock.now += 40
    assert (await scene.ask("validate", DEMANDS)).decision == "retry"
    scene.clock.now += 30
    assert (await scene.ask("validate", DEMANDS)).decision == "deny"


async def test_other_images_have_a_retry_window_of_their_own() -> None:
    """And so has another namespace."""
    scene = Scene(b=unknown("pending")).found(unknown("pending"))
    assert (await scene.ask("mutate", minimal())).decision == "retry"
    scene.clock.now += 31
    assert (await scene.ask("mutate", minimal())).decision == "allow"
    assert (await scene.ask("mutate", tweak(minimal(), {"spec.containers.0.image": "a.io/b"}))).decision == "retry"
    assert (await scene.ask("mutate", minimal(), namespace="other")).decision == "retry"


@table(
    ("mode", "timeout", "budget"),
    {
        "Enforce waits long": ("Enforce", 10.0, 3.5),
        "but no longer than the API server": ("Enforce", 1.0, 1.0),
        "Warn waits a moment": ("Warn", 10.0, 0.3),
        "but no longer either": ("Warn", 0.1, 0.1),
        "Audit does not wait": ("Audit", 10.0, 0.0),
        "Audit that injects waits a moment": ("Audit, Always", 10.0, 0.3),
    },
)
async def test_how_long_an_image_may_take(mode: str, timeout: float, budget: float) -> None:
    """Within one review."""
    name, _, inject = mode.partition(", ")
    scene = Scene(effective_policy(name, **({"inject": inject} if inject else {})))
    await scene.admission.review(review(minimal()), "validate", timeout)
    (query,) = scene.images.asked
    assert query.budget == budget


@table(
    ("unseen", "looks"),
    {"one that is known": (0, 1), "one that comes": (3, 4), "one that never does": (1000, NAMESPACE_WAIT_TRIES + 1)},
)
async def test_a_namespace_just_made_is_waited_for(unseen: int, looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API server calls us by its labels before our watch has told of them."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    scene = Scene()
    scene.view.unseen = unseen
    await scene.ask("validate", minimal())
    assert unseen - scene.view.unseen == looks
    assert sum(waited) == pytest.approx(NAMESPACE_WAIT * (looks - 1) / NAMESPACE_WAIT_TRIES)


async def test_a_refusal_where_the_namespace_is_not_seen_yet_asks_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The policy that is meant for it may allow the Pod. A template is made by nobody else."""
    monkeypatch.setattr(handler, "NAMESPACE_WAIT", 0.0)
    scene = Scene(effective_policy(templates="Deny")).found(image(""))
    scene.view.unseen = 1000
    refused = await scene.ask("validate", within("Deployment", minimal()))
    assert refused.decision == "deny"
    outcome = await scene.ask("validate", minimal())
    unseen = 'the webhook has not seen the namespace "default" yet, and evaluates it as enforced: try again'
    assert outcome.message == f"{unseen}: {refused.message.replace('spec.template.', '')}"
    assert (outcome.decision, outcome.effective_policy) == ("retry", scene.view.rule)
    assert response(outcome)["status"]["message"] == outcome.message
    assert (await scene.found(image("1000")).ask("validate", DEMANDS)).decision == "allow"


@table(
    ("templates", "budget"),
    {"a template that is warned about waits a moment": ("Warn", 0.3), "one that may be refused waits": ("Deny", 3.5)},
)
async def test_how_long_the_image_of_a_template_may_take(templates: str, budget: float) -> None:
    """A warning is not worth a long wait."""
    scene = Scene(effective_policy("Enforce", templates=templates))
    await scene.admission.review(review(within("Deployment", minimal())), "validate", 10.0)
    (query,) = scene.images.asked
    assert query.budget == budget


async def test_on_an_update_only_new_images_are_evaluated() -> None:
    """And nothing is patched: securityContext is immutable."""
    old = tweak(DEMANDS, {"spec.containers.1": {"name": "b", "image": "a.io/root"}})
    new = tweak(old, {"spec.containers.0.image": "a.io/new"})
    scene = Scene(root=image(""), new=image("7")).found(image("7"))
    assert (await scene.ask("validate", new, "UPDATE", old=old)).decision == "allow"
    assert [query.reference for query in scene.images.asked] == ["a.io/new"]
    assert (await scene.ask("validate", old, "UPDATE", old=new)).decision == "allow"
    worse = tweak(old, {"spec.containers.0.image": "a.io/root"})
    assert (await scene.ask("validate", worse, "UPDATE", old=old)).decision == "deny"


async def test_on_an_update_what_cannot_be_patched_is_refused_at_once() -> None:
    """There is no mutation to wait for."""
    new = tweak(DEMANDS, {"spec.containers.0.image": "a.io/named"})
    outcome = await Scene(named=image("app")).ask("validate", new, "UPDATE", old=DEMANDS)
    assert outcome.decision == "deny"


async def test_new_ephemeral_containers_are_evaluated_and_patched_alone() -> None:
    """Metadata is not stored through that subresource, nor are the other containers."""
    old = tweak(minimal(), {"spec.ephemeralContainers.0": {"name": "one", "image": "a.io/root"}})
    new = tweak(old, {"spec.ephemeralContainers.1": {"name": "two", "image": "a.io/tool"}})
    scene = Scene(root=image(""), tool=image("7")).found(image(""))
    more = {"old": old, "sub_resource": "ephemeralcontainers"}
    mutated = await scene.ask("mutate", new, "UPDATE", **more)
    assert [each["path"] for each in operations(mutated)] == ["/spec/ephemeralContainers/1/securityContext"]
    assert (await scene.ask("validate", new, "UPDATE", **more)).decision == "retry"  # as it stands, without the patch
    assert (await scene.ask("validate", apply(new, operations(mutated)), "UPDATE", **more)).decision == "allow"
    bad = tweak(old, {"spec.ephemeralContainers.1": {"name": "two", "image": "a.io/root"}})
    assert (await scene.ask("validate", bad, "UPDATE", **more)).decision == "deny"


@table(
    ("templates", "decision", "warnings"),
    {"Warn": ("Warn", "allow", 1), "Deny": ("Deny", "deny", 0)},
)
@pytest.mark.parametrize("kind", ["Deployment", "CronJob", "PodTemplate", "ReplicationController"])
async def test_templates_are_evaluated(kind: str, templates: str, decision: str, warnings: int) -> None:
    """Warned about or denied, never patched."""
    scene = Scene(effective_policy(templates=templates)).found(image(""))
    outcome = await scene.ask("validate", within(kind, minimal()))
    assert (outcome.decision, len(response(outcome).get("warnings", ()))) == (decision, warnings)


async def test_a_template_whose_pods_are_cured_is_fine() -> None:
    """It is evaluated as its Pods will be."""
    outcome = await Scene(effective_policy(templates="Deny")).ask("validate", within("Job", DEMANDS))
    assert (outcome.decision, response(outcome).get("warnings")) == ("allow", None)


async def test_an_update_of_a_template_is_evaluated_whole() -> None:
    """All its Pods will be new."""
    old = tweak(within("Deployment", minimal()), {"spec.template.spec.hostUsers": True})
    scene = Scene(effective_policy(templates="Deny")).found(image(""))
    assert (await scene.ask("validate", within("Deployment", minimal()), "UPDATE", old=old)).decision == "deny"


async def test_an_update_without_its_old_object_is_evaluated_whole() -> None:
    """Nothing is known to be unchanged."""
    assert (await Scene().found(image("")).ask("validate", minimal(), "UPDATE")).decision == "deny"


async def test_an_exception_lets_a_container_be() -> None:
    """It is neither refused nor patched, at both hooks."""
    scene = Scene().found(image(""))
    scene.view.excuses = (NonRootException(Metadata("e"), ExceptionSpec("because")),)
    ended = ExceptionSpec("because", expires=datetime.now(UTC) - timedelta(days=1))
    scene.view.excuses = (NonRootException(Metadata("e"), ended),)
    assert (await scene.ask("validate", minimal())).decision == "deny"
    scene.view.excuses = (NonRootException(Metadata("e"), ExceptionSpec("because")),)
    outcome = await scene.ask("validate", minimal())
    assert response(outcome)["auditAnnotations"]["verdict"] == "skipped"
    assert (outcome.exempted, outcome.findings, outcome.operations) == (1, (), 0)
    assert operations(await scene.ask("mutate", minimal())) == []


@table(
    ("namespace", "own", "asked"),
    {
        "the request's": ("shop", "other", "shop"),
        "else the object's": ("", "other", "other"),
        "else none": ("", None, ""),
    },
)
async def test_the_namespace(namespace: str, own: str | None, asked: str) -> None:
    """metadata.namespace may be empty where the request's is set."""
    scene = Scene()
    pod = tweak(minimal(), {"metadata.namespace": own})
    await scene.ask("validate", pod, namespace=namespace)
    assert scene.view.namespaces == [asked]
    assert scene.view.looked_up == {asked}


async def test_a_name_that_no_namespace_has_is_cut_and_nothing_is_remembered_of_it() -> None:
    scene = Scene()
    longest = "n" * NAMESPACE_LIMIT
    assert (await scene.ask("validate", DEMANDS, namespace=longest)).decision == "retry"
    assert (await scene.ask("validate", DEMANDS, namespace=longest + "nn")).decision == "deny"
    assert scene.view.looked_up == {longest, longest + "n"}


async def test_images_are_asked_for_by_the_namespace_of_each_pod() -> None:
    """Its pull secrets are another's."""
    scene = Scene()
    for namespace in ("a", "b"):
        scene.images.asked.clear()
        await scene.ask("mutate", minimal(), namespace=namespace)
        assert {each.namespace for each in scene.images.asked} == {namespace}


async def test_a_missed_patch_is_waited_for_in_each_namespace_alone() -> None:
    """And anew where /mutate has been reached meanwhile."""
    scene = Scene()

    async def decision_in(namespace: str) -> str:
        return (await scene.ask("validate", DEMANDS, namespace=namespace)).decision

    assert await decision_in("shop") == "retry"
    scene.clock.now += RETRY_WINDOW + 1
    assert [await decision_in("shop"), await decision_in("other")] == ["deny", "retry"]
    await scene.ask("mutate", minimal(), namespace="other")
    assert await decision_in("shop") == "deny"
    await scene.ask("mutate", minimal(), namespace="shop")
    assert await decision_in("shop") == "retry"


async def test_an_image_is_waited_for_where_a_patch_is_not_any_more() -> None:
    """Each has a retry window of its own."""
    scene = Scene(slow=unknown("pending"))
    assert (await scene.ask("validate", DEMANDS)).decision == "retry"
    scene.clock.now += RETRY_WINDOW + 1
    both = tweak(DEMANDS, {"spec.containers.1": {"name": "b", "image": "a.io/slow"}})
    assert (await scene.ask("validate", DEMANDS)).decision == "deny"
    assert (await scene.ask("validate", both)).decision == "retry"


async def test_the_audit_annotations_hold_the_findings() -> None:
    """Under keys without a slash, in bounded printable text."""
    pod = tweak(minimal(), {"spec.containers.0.name": "\x1b[31m"})
    notes = response(await Scene().found(image("")).ask("validate", pod))["auditAnnotations"]
    assert set(notes) == {"policy", "mode", "state", "verdict", "identities", "findings"}
    assert (notes["policy"], notes["mode"], notes["verdict"]) == ("strict", "Enforce", "refused")
    assert notes["state"] == "denied"
    assert notes["findings"].isprintable()
    many = tweak(minimal(), {"spec.containers": [{"name": f"c{n}", "image": IMAGE} for n in range(99)]})
    notes = response(await Scene().found(image("")).ask("validate", many))["auditAnnotations"]
    assert all(len(note) <= 2000 for note in notes.values())


async def test_every_audit_annotation_to_the_letter() -> None:
    """Of each container who it is, of all findings the words; and a verdict in its former words, too."""
    others = [{"name": name, "image": "a.io/root"} for name in "bc"]
    scene = Scene(root=image(""))
    outcome = await scene.ask(
        "validate", tweak(minimal(), {"spec.containers.1": others[0], "spec.initContainers": others[1:]})
    )
    assert response(outcome)["auditAnnotations"] == {
        "policy": "strict",
        "mode": "Enforce",
        "state": "denied",
        "verdict": "refused",
        "identities": 'c: uid 0 (no USER); app: uid 1000 (USER "app" in the image\'s /etc/passwd); b: uid 0 (no USER)',
        "findings": "; ".join(each.message for each in outcome.findings)
        + " (more: https://nonroot.dev/docs/reference/rules/root-image/)",
    }
    assert len(outcome.findings) > 1
    fine, unread = Scene(), Scene().found(unknown("unreachable"))
    pinned = tweak(minimal(), {f"{OWN}.runAsNonRoot": True, f"{OWN}.runAsUser": 1000})
    assert "findings" not in response(await fine.ask("validate", pinned))["auditAnnotations"]
    notes = response(await unread.ask("validate", DEMANDS))["auditAnnotations"]
    assert (notes["state"], notes["verdict"]) == ("unknown", "unknown")


async def test_an_audit_annotation_is_cut() -> None:
    scene = Scene(root=image(""))
    many = tweak(minimal(), {"spec.containers": [{"name": f"c{n}", "image": "a.io/root"} for n in range(99)]})
    notes = response(await scene.ask("validate", many))["auditAnnotations"]
    assert len(notes["identities"]) == AUDIT_LIMIT
    assert AUDIT_LIMIT - 40 < len(notes["findings"]) <= AUDIT_LIMIT
    assert notes["findings"].endswith("… (more: https://nonroot.dev/docs/reference/rules/root-image/)")


@table(
    ("hook", "unseen", "why"),
    {
        "the policy's": ("validate", 0, ""),
        "by the hook": ("enforce", 0, "; the API server asks by the hook of enforced namespaces"),
        "not seen yet": ("validate", 1000, "; the namespace has not been seen yet, and some policy enforces"),
    },
)
async def test_why_a_namespace_is_enforced(
    hook: WebhookKind, unseen: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "NAMESPACE_WAIT", 0.0)
    scene = Scene(effective_policy("Audit"))
    scene.view.unseen = unseen
    outcome = await scene.ask(hook, DEMANDS)
    assert outcome.effective_policy is not None
    assert outcome.effective_policy.why == scene.view.rule.why + why
    assert outcome.effective_policy.mode == ("Enforce" if why else "Audit")
    assert set(scene.view.namespaces) == scene.view.looked_up == {"default"}


async def test_a_reinvoked_hook_says_nothing_else_under_the_same_key() -> None:
    """The API server keeps the first value and logs the second as a fault: /mutate speaks once, /validate of all."""
    scene = Scene(sidecar=image("7"))
    first = await scene.ask("mutate", minimal())
    assert response(first)["auditAnnotations"]["identities"] == 'app: uid 1000 (USER "app" in the image\'s /etc/passwd)'
    injected = tweak(apply(minimal(), operations(first)), {"spec.containers.1": {"name": "s", "image": "a.io/sidecar"}})
    again = await scene.ask("mutate", injected)
    assert operations(again)
    assert "auditAnnotations" not in response(again)
    last = await scene.ask("validate", apply(injected, operations(again)))
    assert response(last)["auditAnnotations"]["identities"].count("uid ") == 2


@table(
    ("mode", "hook", "decision"),
    {
        "Enforce refuses it": ("Enforce", "validate", "deny"),
        "so does the hook that enforces": ("Audit", "enforce", "deny"),
        "Audit refuses nothing": ("Audit", "validate", "skip"),
        "nor does the mutating hook": ("Enforce", "mutate", "skip"),
    },
)
@pytest.mark.parametrize("change", [{"metadata.name": 7}, {"spec.securityContext.runAsUser": 2**70}])
async def test_a_malformed_object_is_refused_where_enforced(
    mode: str, hook: WebhookKind, decision: str, change: dict[str, int]
) -> None:
    """It can never be evaluated, and no API server would store it."""
    scene = Scene(effective_policy(mode))
    outcome = await scene.ask(hook, tweak(minimal(), change))
    assert outcome.decision == decision
    assert outcome.effective_policy is not None
    assert outcome.effective_policy.policy is scene.view.rule.policy
    assert set(scene.view.namespaces) == {"default"}
    if decision == "deny":
        assert response(outcome)["status"]["code"] == 403
        assert "the Pod in the request is malformed" in response(outcome)["status"]["message"]
        assert outcome.message == response(outcome)["status"]["message"]
    else:
        assert response(outcome)["auditAnnotations"]["skipped"].startswith(
            "not evaluated: the Pod in the request is mal"
        )


class Broken(Table):
    """Images of which none can be asked for, which is a bug."""

    async def find(self, query: Query) -> Image | Unknown:
        """As `webhook.image.source.Images`."""
        raise RuntimeError(f"no room for {query.reference}")


@table(
    ("mode", "hook", "decision"),
    {
        "Enforce asks to come again": ("Enforce", "validate", "retry"),
        "also before it patches": ("Enforce", "mutate", "retry"),
        "so does the hook that enforces": ("Audit", "enforce", "retry"),
        "Audit refuses nothing": ("Audit", "validate", "skip"),
    },
)
async def test_a_bug_admits_nothing_where_enforced(
    mode: str, hook: WebhookKind, decision: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What fails is logged, and not told to strangers."""
    admits = Admission(View(effective_policy(mode)), Broken({}))
    outcome = await admits.review(review(minimal()), hook)
    assert outcome.decision == decision
    assert "no room for" in caplog.text
    assert "no room for" not in outcome.body.decode()
    assert [each.message for each in caplog.records] == ["a review was not evaluated"]
    if decision == "retry":
        assert outcome.message == "the webhook failed to evaluate it, which its log explains"


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_dry_run_is_said_to_whoever_might_remember(dry_run: bool) -> None:
    """The hooks promise sideEffects NoneOnDryRun."""
    scene = Scene()
    asked = msgspec.structs.replace(review(minimal()), dry_run=dry_run)
    await scene.admission.review(asked, "validate")
    assert [query.dry_run for query in scene.images.asked] == [dry_run]


class Waited(Images):
    """Images that come when they are told to."""

    def __init__(self) -> None:
        self.come = asyncio.Event()

    async def find(self, _query: Query) -> Image | Unknown:
        """As `webhook.image.source.Images`."""
        await self.come.wait()
        return image("1000")


def crowd(number: int) -> Object:
    """A Pod of so many containers."""
    demands = {"runAsNonRoot": True}
    containers = [{"name": f"c{each}", "image": f"{IMAGE}{each}", "securityContext": demands} for each in range(number)]
    return tweak(minimal(), {"spec.containers": containers})


@pytest.mark.parametrize(("small", "most"), [(SMALL_POD_CONTAINERS, LARGE_PODS_CONTAINERS), (2, 10)])
async def test_large_pods_share_a_bound_and_small_ones_are_evaluated(
    small: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever finds no room comes again, and whoever never will is told so."""
    monkeypatch.setattr(handler, "SMALL_POD_CONTAINERS", small)
    monkeypatch.setattr(handler, "LARGE_PODS_CONTAINERS", most)
    images = Waited()
    admits = Admission(View(effective_policy(mode="Enforce")), images)
    half = most // 2
    async with asyncio.TaskGroup() as tasks:
        asked = [
            tasks.create_task(admits.review(review(crowd(number)), "validate"))
            for number in (half + 1, half, most + 1, most - half - 1, small)
        ]
        await asyncio.sleep(0)
        images.come.set()
    first, busy, never, rest, always = (each.result() for each in asked)
    assert (busy.decision, never.decision) == ("retry", "deny")
    assert f"{half + 1} containers of large Pods are being evaluated: try again in a second" in busy.message
    assert f"{most + 1} containers are more than the {most} that are evaluated at most" in never.message
    assert first.decision == rest.decision == always.decision == "allow"
    assert (await admits.review(review(crowd(half)), "validate")).decision == "allow"  # there is room again
    audits = Admission(View(effective_policy(mode="Audit")), images)
    assert (await audits.review(review(crowd(most + 1)), "validate")).decision == "skip"
