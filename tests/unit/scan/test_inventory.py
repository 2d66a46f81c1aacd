"""Objects of a cluster become workloads, each once, with the Pods that are its own."""

import json

import msgspec
import pytest

from tests.support.made_up_cluster import API, named, of, raw, running, take
from tests.support.pods import minimal, tweak
from webhook.scan.inventory import OBSERVED_LIMIT, VARIANTS_LIMIT, Inventory


def pod(name: str, owner: tuple[str, str] | None = None) -> dict[str, object]:
    return named(minimal(), name, owner)


@pytest.mark.parametrize("kind", sorted(API))
def test_every_kind_with_a_template_is_a_workload(kind: str) -> None:
    """Also one that runs nothing at the moment."""
    found, inventory = take(named(of(kind), "web"))
    (each,) = found.values()
    assert (each.reference.api_version, each.reference.kind, each.reference.uid) == (API[kind], kind, "uid-of-web")
    assert (each.pods, len(each.variants), each.variants[0].workload.kind) == (0, 1, kind)
    assert inventory.skipped == []


@pytest.mark.parametrize(("kind", "between"), [("Deployment", "ReplicaSet"), ("CronJob", "Job")])
def test_pods_count_for_the_workload_at_the_top(kind: str, between: str) -> None:
    """What stands between is no workload of its own; two of them may hand Pods on, as during a rollout."""
    found, _ = take(
        named(of(kind), "web"),
        named(of(between), "web-1", (kind, "web")),
        named(of(between), "web-2", (kind, "web")),
        *(running(pod(f"web-1-{i}", (between, "web-1")), 1000) for i in range(3)),
        running(pod("web-2-0", (between, "web-2")), 1000),
        running(pod("web-2-1", (between, "web-2")), 0),
        running(pod("web-2-2", (between, "web-2")), 0, phase="Succeeded"),
    )
    assert list(found) == [(kind, "web")]
    each = found[kind, "web"]
    assert each.pods == 5
    assert sorted((seen.running.uid, seen.pods) for seen in each.observed) == [(0, 1), (1000, 4)]
    assert len(each.variants) == 1


def test_a_custom_resource_and_a_lone_pod_are_known_by_their_pods() -> None:
    """A Rollout's Pods name a ReplicaSet, a Workflow's the Workflow; a finished Pod makes no next one."""
    found, _ = take(
        named(of("ReplicaSet"), "shop-1", ("Rollout", "shop")),
        pod("shop-1-a", ("ReplicaSet", "shop-1")),
        pod("step-1", ("Workflow", "night")),
        tweak(pod("step-2", ("Workflow", "night")), {"spec.containers.0.image": "other:1"}),
        running(pod("lone"), 5, phase="Failed"),
    )
    assert {key: (each.pods, len(each.variants)) for key, each in found.items()} == {
        ("Rollout", "shop"): (1, 1),
        ("Workflow", "night"): (2, 2),
    }
    reference = found["Rollout", "shop"].reference
    assert (reference.api_version, reference.uid) == ("example.com/v1", "uid-of-shop")


def test_two_kinds_of_one_name_are_distinguished_by_their_group() -> None:
    """Volcano has a Job, too."""
    other = pod("job-0", ("Job", "job"))
    other["metadata"]["ownerReferences"][0]["apiVersion"] = "batch.volcano.sh/v1alpha1"  # type: ignore[index]
    found, _ = take(named(of("CronJob"), "night"), named(of("Job"), "job", ("CronJob", "night")), other)
    assert {key: each.pods for key, each in found.items()} == {("CronJob", "night"): 0, ("Job", "job"): 1}


def test_containers_that_others_add_are_evaluated_as_they_are_in_the_pods() -> None:
    """A mesh's sidecar is in no template."""
    meshed = tweak(pod("db-0", ("StatefulSet", "db")), {"spec.containers.1": {"name": "proxy", "image": "proxy:1"}})
    found, _ = take(named(of("StatefulSet"), "db"), meshed)
    template, added = found["StatefulSet", "db"].variants
    assert template.slots is None
    assert added.slots is not None
    assert [slot.container.name for slot in added.slots] == ["proxy"]


def test_a_workload_is_remembered_once_however_many_pods_it_has() -> None:
    """Volumes have names of their own in each Pod, and last-applied-configuration holds the whole of it again."""
    inventory = Inventory()
    for number in range(1000):
        obj = running(pod(f"web-{number}", ("ReplicaSet", "web")), 1000)
        obj["spec"]["volumes"] = [{"name": f"kube-api-access-{number}", "projected": {}}]
        obj["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 9}
        inventory.pod(raw(obj))
    (each,) = inventory.rest()
    assert (each.pods, len(each.variants), [seen.pods for seen in each.observed]) == (1000, 1, [1000])
    assert each.variants[0].workload.metadata.annotations is None


def test_nobody_can_make_it_remember_without_end() -> None:
    """Pods that differ in everything, each as somebody else."""
    inventory = Inventory()
    for number in range(OBSERVED_LIMIT + 50):
        obj = running(tweak(pod(f"w-{number}", ("X", "x")), {"spec.containers.0.image": f"i:{number}"}), number)
        inventory.pod(raw(obj))
    (each,) = inventory.rest()
    assert (each.pods, len(each.variants), len(each.observed)) == (OBSERVED_LIMIT + 50, VARIANTS_LIMIT, OBSERVED_LIMIT)
    assert [skip.object for skip in inventory.skipped] == ["X default/x"]


def test_a_job_that_has_ended_makes_no_pods() -> None:
    """Also one that a Helm hook or a custom resource made, and the Pods that such a Job left behind."""
    ended = {"conditions": [{"type": "Complete", "status": "True"}]}
    found, _ = take(
        named(of("Job"), "migrate") | {"status": ended},
        named(of("Job"), "step", ("JobSet", "train")) | {"status": ended},
        named(of("Job"), "failing") | {"status": {"conditions": [{"type": "Failed", "status": "False"}]}},
        running(pod("migrate-x", ("Job", "migrate")), 0, phase="Succeeded"),
        running(pod("night-1-x", ("Job", "night-1")), 0, phase="Failed"),
        named(of("Job"), "night-1", ("CronJob", "night")) | {"status": ended},
        named(of("CronJob"), "night"),
    )
    assert {key: len(each.variants) for key, each in found.items()} == {("Job", "failing"): 1, ("CronJob", "night"): 1}


def test_the_history_of_a_repaired_cron_job_is_not_its_next_pods() -> None:
    """A Pod that has ended runs a container that the template no longer has, and its Job is still there."""
    former = tweak(
        named(of("Job"), "night-1", ("CronJob", "night")), {"spec.template.spec.containers.0.name": "former"}
    )
    ended = tweak(pod("night-1-x", ("Job", "night-1")), {"spec.containers.0.name": "former"})
    found, _ = take(named(of("CronJob"), "night"), former, running(ended, 0, phase="Succeeded"))
    (variant,) = found["CronJob", "night"].variants
    assert [slot.container.name for slot in variant.workload.slots()] == ["app"]
    assert (found["CronJob", "night"].pods, found["CronJob", "night"].observed) == (0, ())


def test_a_custom_resource_without_pods_is_known_by_its_newest_replica_set() -> None:
    """A Rollout that is scaled to zero."""
    old, new = (named(of("ReplicaSet"), f"shop-{number}", ("Rollout", "shop")) for number in (1, 2))
    old["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    new["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z"
    new = tweak(new, {"spec.template.spec.containers.0.image": "new:1"})
    found, _ = take(new, old)
    (variant,) = found["Rollout", "shop"].variants
    assert [slot.container.image for slot in variant.workload.slots()] == ["new:1"]


@pytest.mark.parametrize("added", [[], ["proxy"]])
def test_a_container_that_only_an_old_revision_has_is_not_the_next_pods(added: list[str]) -> None:
    """During a rollout; what an injector has added to the old Pod counts."""
    old_template = tweak(
        named(of("ReplicaSet"), "web-1", ("Deployment", "web")),
        {"spec.template.spec.containers.1": {"name": "removed", "image": "root:1"}},
    )
    old = tweak(pod("web-1-a", ("ReplicaSet", "web-1")), {"spec.containers.1": {"name": "removed", "image": "root:1"}})
    for name in added:
        old = tweak(old, {"spec.containers.2": {"name": name, "image": "proxy:1"}})
    found, _ = take(named(of("Deployment"), "web"), old_template, old)
    _, *variants = found["Deployment", "web"].variants
    assert [slot.container.name for each in variants for slot in each.slots or ()] == added


@pytest.mark.parametrize(
    ("kind", "label", "current"),
    [
        ("StatefulSet", "controller-revision-hash", {"status": {"updateRevision": "new"}}),
        (
            "DaemonSet",
            "pod-template-generation",
            {"metadata": {"annotations": {"deprecated.daemonset.template.generation": "new"}}},
        ),
    ],
)
@pytest.mark.parametrize("revision", ["old", "new", ""])
def test_pods_of_an_old_revision_are_not_the_next_ones(
    kind: str, label: str, current: dict[str, dict[str, object]], revision: str
) -> None:
    """As OnDelete leaves them. Without the label that is not known, and the container counts."""
    holder = named(of(kind), "db")
    for part, fields in current.items():
        holder[part] = holder.get(part, {}) | fields
    other = tweak(pod("db-0", (kind, "db")), {"spec.containers.1": {"name": "other", "image": "root:1"}})
    if revision:
        other["metadata"]["labels"] = {label: revision}
    found, _ = take(holder, other)
    assert len(found[kind, "db"].variants) == (1 if revision == "old" else 2)
    assert found[kind, "db"].pods == 1


def test_what_cannot_be_read_is_said_and_what_is_no_pod_is_left_out() -> None:
    """A mirror Pod is its node's; a ReplicationController may be without a template."""
    inventory = Inventory()
    inventory.pod(raw(tweak(pod("static"), {"metadata.annotations": {"kubernetes.io/config.mirror": "x"}})))
    inventory.pod(msgspec.Raw(b'{"metadata": 1}'))
    assert inventory.between("batch/v1", "Job", msgspec.Raw(b"[]")) is None
    assert inventory.template("apps/v1", "Deployment", msgspec.Raw(b"[]")) is None
    assert inventory.template("v1", "ReplicationController", raw(named({"kind": "x", "metadata": {}}, "rc"))) is None
    odd = json.dumps({"metadata": {"name": "odd", "namespace": "shop"}, "spec": {"template": 1}}).encode()
    assert inventory.template("apps/v1", "Deployment", msgspec.Raw(odd)) is None
    huge = tweak(named(of("Deployment"), "huge"), {"spec.template.spec.securityContext": {"runAsUser": 2**70}})
    assert inventory.template("apps/v1", "Deployment", raw(huge)) is None
    inventory.pod(raw(tweak(pod("huge"), {"spec.securityContext.runAsUser": 2**70})))
    assert list(inventory.rest()) == []
    assert [each.object for each in inventory.skipped] == [
        *("a Pod", "a Job", "a Deployment", "Deployment shop/odd", "Deployment default/huge", "a Pod"),
    ]
