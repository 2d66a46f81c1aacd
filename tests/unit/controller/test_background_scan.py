"""What follows from a background scan: sums, reports, Events about wrong predictions, metrics and the page."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tests.support.images import DIGEST, Table, image
from tests.support.objects import Objects
from tests.support.pods import IMAGE, Object, minimal, ran, tweak
from webhook.cluster.errors import Forbidden
from webhook.cluster.events import Event, Regarding
from webhook.controller.background_scan import BackgroundScan, by_namespace
from webhook.controller.image_identities import Reconciler
from webhook.image.identity_index import IdentityIndex
from webhook.policy.conditions import Outcomes
from webhook.scan.document import Document

NAMESPACES, PODS, POLICIES = "/api/v1/namespaces", "/api/v1/pods", "/apis/nonroot.dev/v1alpha1/nonrootpolicies"
IDENTITIES = "/apis/nonroot.dev/v1alpha1/imageidentities"
HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
OTHERS = (
    *("/api/v1/nodes", "/api/v1/serviceaccounts", "/api/v1/replicationcontrollers", "/apis/batch/v1/jobs"),
    *(f"/apis/apps/v1/{each}" for each in ("replicasets", "deployments", "statefulsets", "daemonsets")),
    *(
        "/apis/batch/v1/cronjobs",
        "/apis/nonroot.dev/v1alpha1/nonrootexceptions",
        "/apis/openreports.io/v1alpha1/reports",
    ),
)


class Scene:
    """A cluster with two Pods of nobody: one of USER app, uid 1000, and one of root."""

    def __init__(self) -> None:
        self.objects = Objects(NAMESPACES, PODS, POLICIES, *OTHERS)
        self.objects.put(NAMESPACES, {"metadata": {"name": "default"}})
        self.pod("web", IMAGE)
        self.pod("root", "registry.example/root:1")
        self.events: list[Event] = []
        self.scanning = self.another()

    def another(self, *, reports: bool = True) -> BackgroundScan:
        """A controller, with nothing in memory."""
        images = Table({IMAGE: image("app"), "registry.example/root:1": image("")})
        reconciler = Reconciler(self.objects, IdentityIndex())
        return BackgroundScan(self.objects, images, reconciler, self.events.append, reports=reports)

    def namespace(self, name: str, image: str = IMAGE) -> None:
        """One more, with a Pod of its own name."""
        self.objects.put(NAMESPACES, {"metadata": {"name": name}})
        self.pod(name, image, namespace=name)

    def pod(self, name: str, its_image: str, uid: int | None = None, *, namespace: str = "default") -> None:
        about = {"metadata.name": name, "metadata.namespace": namespace, "spec.containers.0.image": its_image}
        made: Object = tweak(minimal(), about)
        self.objects.put(PODS, made if uid is None else ran(made, uid, uid, image_id=f"registry.example/app@{DIGEST}"))


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_namespaces_that_the_hooks_do_not_reach_are_exempt(scene: Scene) -> None:
    expression = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["default"]}
    scene.objects.stored[HOOKS] = {}
    hook = {"namespaceSelector": {"matchExpressions": [expression]}}
    scene.objects.put(HOOKS, {"metadata": {"name": "nonroot-webhook"}, "webhooks": [hook]})
    await scene.scanning.round()
    assert scene.scanning.sums() == {"(built-in)": Outcomes.of(exempted=2)}


async def test_workloads_are_summed_up_for_each_policy(scene: Scene) -> None:
    assert scene.scanning.sums() is None
    spec = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}}
    policy = {"apiVersion": "nonroot.dev/v1alpha1", "kind": "NonRootPolicy", "metadata": {"name": "all"}, "spec": spec}
    scene.objects.put(POLICIES, policy)
    await scene.scanning.round()
    assert scene.scanning.sums() == {"all": Outcomes.of(fixable=1, denied=1)}


async def test_the_workloads_of_each_exception_are_counted(scene: Scene) -> None:
    assert scene.scanning.matches() is None
    for name, workload in (("both", "*"), ("one", "root"), ("none", "gone")):
        spec = {"reason": "because", "workloads": [{"name": workload}]}
        metadata = {"name": name, "namespace": "default"}
        document = {
            "apiVersion": "nonroot.dev/v1alpha1",
            "kind": "NonRootException",
            "metadata": metadata,
            "spec": spec,
        }
        scene.objects.put("/apis/nonroot.dev/v1alpha1/nonrootexceptions", document)
    await scene.scanning.round()
    assert scene.scanning.matches() == {("default", "both"): 2, ("default", "one"): 1}


async def test_the_counts_of_former_scans_are_kept_and_shown(scene: Scene) -> None:
    """By the next controller, too; a look at some namespaces adds nothing."""
    path = "/api/v1/configmaps"
    scene.objects.stored[path] = {}
    scene.objects.put(path, {"metadata": {"name": "nonroot-webhook-history", "namespace": "nonroot-system"}})
    await scene.scanning.round()
    scene.pod("another", "registry.example/root:1")
    await scene.scanning.look({"default"})
    assert [[each.denied for each in found.history] for found in [scene.scanning.document] if found] == [[1]]
    successor = scene.another()
    await successor.round()
    assert successor.document is not None
    assert [each.denied for each in successor.document.history] == [2]  # of one day the last
    assert [each for each in scene.objects.writes if each.startswith("PATCH")] == 2 * [
        "PATCH ConfigMap nonroot-system/nonroot-webhook-history"
    ]


async def test_a_second_scan_writes_nothing_even_in_another_process(scene: Scene) -> None:
    await scene.scanning.round()
    assert [write.rpartition("-")[0] for write in sorted(scene.objects.writes)] == [
        "POST report default/nonroot-pod-root",
        "POST report default/nonroot-pod-web",
    ]
    await scene.scanning.round()
    await scene.another().round()
    assert len(scene.objects.writes) == 2
    await scene.another(reports=False).round()
    assert scene.objects.stored["/apis/openreports.io/v1alpha1/reports"] == {}


async def test_what_a_scan_says_again_is_kept_once(scene: Scene) -> None:
    """Two documents of a large cluster are there while the next one is made."""
    await scene.scanning.round()
    first = scene.scanning.document
    await scene.scanning.round()
    second = scene.scanning.document
    await scene.scanning.look({"default"})
    third = scene.scanning.document
    assert first is not None
    assert second is not None
    assert third is not None
    for one, other, last in zip(first.workloads, second.workloads, third.workloads, strict=True):
        assert one.containers[0] is other.containers[0] is last.containers[0]


async def test_reports_stay_while_not_everything_could_be_listed(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.scanning.round()
    assert caplog.text == ""
    del scene.objects.stored[PODS]
    await scene.scanning.round()
    await scene.scanning.round()
    (record,) = caplog.records
    assert record.getMessage().startswith("1 could not be scanned, such as Pods: ")
    assert len(scene.objects.stored["/apis/openreports.io/v1alpha1/reports"]) == 2
    await scene.another(reports=False).round()  # which wants none, whatever could be listed
    assert scene.objects.stored["/apis/openreports.io/v1alpha1/reports"] == {}


async def test_a_prediction_that_a_kubelet_contradicts_is_logged_once(scene: Scene) -> None:
    scene.pod("web", IMAGE, 1000)
    await scene.scanning.round()
    assert (scene.scanning.mismatches, scene.events) == (0, [])
    scene.pod("web", IMAGE, 4242)
    await scene.scanning.round()
    await scene.scanning.round()
    (event,) = scene.events
    assert scene.scanning.mismatches == 1
    assert event.regarding == Regarding("v1", "Pod", "default", "web", "uid-web")
    assert event.reason == "IdentityMismatch"
    assert event.note == f"container 'app' of image {IMAGE!r} runs as uid 4242 where uid 1000 was predicted"


async def test_more_pods_of_the_same_mismatch_are_no_other(scene: Scene) -> None:
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u-1", "controller": True}
    for name in ("one", "two"):
        scene.pod(name, IMAGE, 4242)
        scene.objects.stored[PODS]["default", name]["metadata"]["ownerReferences"] = [owner]
        await scene.scanning.round()
    (event,) = scene.events
    assert event.regarding == Regarding("apps/v1", "ReplicaSet", "default", "web", "u-1")


async def test_what_is_remembered_of_mismatches_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webhook.controller.background_scan.ANNOUNCED_LIMIT", 2)
    for number in range(4):
        scene.pod(f"web{number}", IMAGE, 4242)
    await scene.scanning.round()
    assert scene.scanning.mismatches == 4
    assert len(scene.scanning._announced) == 2


async def test_the_page_is_that_of_the_last_scan(scene: Scene) -> None:
    assert await scene.scanning.html() == ""
    await scene.scanning.round()
    page = await scene.scanning.html()
    assert "in memory" in page
    assert await scene.scanning.html() is page
    await scene.scanning.round()
    assert await scene.scanning.html() is not page


async def test_a_page_that_was_overtaken_by_a_look_is_not_kept(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.scanning.round()
    rendering, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(render: Callable[[Document], str], document: Document) -> str:
        rendering.set()
        await go_on.wait()
        return render(document)

    monkeypatch.setattr("webhook.controller.background_scan.asyncio.to_thread", slowly)
    first = asyncio.create_task(scene.scanning.html())
    await rendering.wait()
    scene.pod("newcomer", IMAGE)
    await scene.scanning.look({"default"})
    go_on.set()
    assert "newcomer" not in await first
    assert "newcomer" in await scene.scanning.html()


async def test_metrics_say_what_would_become_of_workloads(scene: Scene) -> None:
    registry = CollectorRegistry()
    registry.register(scene.scanning)
    assert "\nnonroot_scan_timestamp_seconds" not in generate_latest(registry).decode()
    scene.pod("root", "registry.example/root:1", 0)
    await scene.scanning.round()
    lines = generate_latest(registry).decode().splitlines()
    for line in (
        'nonroot_workloads{mode="Audit",resource_namespace="default",state="fixed",verdict="fixable"} 1.0',
        'nonroot_workloads{mode="Audit",resource_namespace="default",state="refused",verdict="denied"} 1.0',
        "nonroot_root_workloads 1.0",
        "nonroot_identity_mismatches_total 0.0",
        "nonroot_report_writes_total 2.0",
    ):
        assert line in lines
    assert any(line.startswith("nonroot_scan_timestamp_seconds 1.") for line in lines)


async def test_the_namespaces_with_fewest_workloads_are_one_in_the_metrics(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever makes namespaces makes no series; the sum is right all the same."""
    monkeypatch.setattr("webhook.controller.background_scan.NAMESPACE_METRICS_LIMIT", 2)
    for namespace in ("b", "a", "c"):
        scene.namespace(namespace)
    await scene.scanning.round()
    document = scene.scanning.document
    assert document is not None
    counts = by_namespace(document.workloads)
    assert counts == {
        ("default", "Audit", "fixed", "fixable"): 1,
        ("default", "Audit", "refused", "denied"): 1,
        ("a", "Audit", "fixed", "fixable"): 1,
        ("", "Audit", "fixed", "fixable"): 2,
    }


async def test_a_look_at_some_namespaces_leaves_the_others_as_they_were(scene: Scene) -> None:
    """What is new, changed or gone there is in the document, the reports and the sums; the rest is not even listed."""
    scene.namespace("shop")
    await scene.scanning.look({"shop"})
    assert scene.scanning.document is None  # the first scan is to find everything
    await scene.scanning.round()
    first = scene.scanning.document
    assert first is not None
    await scene.scanning.look({"shop"})
    assert len(scene.objects.writes) == 3
    scene.pod("newcomer", "registry.example/root:1", namespace="shop")
    scene.pod("unseen", IMAGE)
    del scene.objects.stored[PODS]["shop", "shop"]
    assert await scene.scanning.html()
    await scene.scanning.look({"shop", "gone"})
    assert [write.rpartition("-")[0] for write in scene.objects.writes[3:]] == [
        "POST report shop/nonroot-pod-newcomer",
        "DELETE report shop/nonroot-pod-shop",
    ]
    now = scene.scanning.document
    assert now is not None
    assert [(each.namespace, each.name) for each in now.workloads] == [
        ("default", "root"), ("default", "web"), ("shop", "newcomer"),
    ]  # fmt: skip
    assert now.at == first.at
    assert "newcomer" in await scene.scanning.html()
    assert scene.scanning.sums() == {"(built-in)": Outcomes.of(fixable=1, denied=2)}
    scene.objects.stored[NAMESPACES].pop(("", "shop"))
    scene.objects.stored[PODS].pop(("shop", "newcomer"))
    await scene.scanning.look({"shop"})
    assert scene.scanning.sums() == {"(built-in)": Outcomes.of(fixable=1, denied=1)}


async def test_a_look_that_cannot_see_a_label_guesses_no_mode(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports stay as they were until it can."""
    await scene.scanning.round()
    call = scene.objects.call

    async def refuse(method: str, path: str, what: str, *given: Any, **more: Any) -> bytes | None:
        if path.startswith(f"{NAMESPACES}/") and method == "GET":
            raise Forbidden(what)
        return await call(method, path, what, *given, **more)

    monkeypatch.setattr(scene.objects, "call", refuse)
    with pytest.raises(Forbidden):
        await scene.scanning.look({"default"})


async def test_a_look_knows_what_pods_have_shown_elsewhere_and_stores_what_they_show_here(scene: Scene) -> None:
    """An image that only nodes can pull: predicted in one namespace from the Pods of another."""
    scene.objects.stored[IDENTITIES] = {}
    info = {"operatingSystem": "linux", "architecture": "amd64"}
    scene.objects.put("/api/v1/nodes", {"metadata": {"name": "node-1"}, "status": {"nodeInfo": info}})
    await scene.scanning.round()
    scene.pod("teacher", "registry.example/closed:1", 1500)
    scene.objects.stored[PODS]["default", "teacher"]["spec"]["nodeName"] = "node-1"
    await scene.scanning.look({"default"})
    await scene.scanning.look({"default"})
    assert [each["spec"]["uid"] for each in scene.objects.all(IDENTITIES)] == [1500]
    assert scene.scanning._reconciler.writes == 1
    scene.namespace("shop", image="registry.example/closed:1")
    await scene.scanning.look({"shop"})
    document = scene.scanning.document
    assert document is not None
    (uid,) = (each.containers[0].uid for each in document.workloads if each.namespace == "shop")
    assert uid == 1500


async def test_what_ran_unpatched_is_remembered_when_it_is_gone(scene: Scene) -> None:
    def status(**state: Any) -> dict[str, Any]:
        return {"status.containerStatuses": [{"name": "app", "imageID": f"x@{DIGEST}", "state": state}]}

    started = {"running": {"startedAt": "2026-06-01T12:00:00Z"}}
    record = {"metadata.annotations": {"nonroot.dev/injected": '[{"container": "app", "fields": ["runAsUser"]}]'}}
    ended = {"terminated": {"exitCode": 0}}
    for name, its_image, more in (
        ("runs", "r.example/runs:1", status(**started)),
        ("ended", "r.example/ended:1", status(**ended) | {"status.phase": "Succeeded"}),
        ("failed", "r.example/failed:1", status(terminated={"exitCode": 126})),
        ("patched", "r.example/patched:1", status(**started) | record),
        (
            "shell",
            "r.example/shell:1",
            status(**started) | {"spec.containers.0.command": ["sh"], "spec.containers.0.args": ["-c"]},
        ),
    ):
        about = {"metadata.name": name, "spec.containers.0.image": its_image}
        scene.objects.put(PODS, tweak(minimal(), about | more))
    await scene.scanning.round()
    scene.objects.stored[PODS].clear()
    await scene.scanning.round()
    names = ("runs", "ended", "failed", "patched", "shell")
    assert [each for each in names if scene.scanning.ran_unpatched((f"r.example/{each}:1", (), ()))] == [
        "runs",
        "ended",
    ]
    assert scene.scanning.ran_unpatched((DIGEST, (), ()))
    assert scene.scanning.ran_unpatched(("r.example/shell:1", ("sh",), ("-c",)))


async def test_reports_get_the_labels_of_their_namespaces_that_are_asked_for(scene: Scene) -> None:
    """After a look at the namespace as well; ours, such as the outcome, are never replaced."""
    labels = {"team": "shop", "cost": "7", "nonroot.dev/outcome": "none"}
    scene.objects.put(NAMESPACES, {"metadata": {"name": "default", "labels": labels}})
    images, reconciler = Table({IMAGE: image("app")}), Reconciler(scene.objects, IdentityIndex())
    scanning = BackgroundScan(
        scene.objects, images, reconciler, print, reports=True, labels=("team", "gone", "nonroot.dev/outcome")
    )

    def stored() -> list[dict[str, str]]:
        found = scene.objects.all("/apis/openreports.io/v1alpha1/reports")
        return [each["metadata"]["labels"] for each in found]

    await scanning.round()
    assert [(each["team"], "cost" in each, "gone" in each) for each in stored()] == [("shop", False, False)] * 2
    assert "none" not in {each["nonroot.dev/outcome"] for each in stored()}
    scene.objects.put(NAMESPACES, {"metadata": {"name": "default", "labels": {"team": "other"}}})
    await scanning.look({"default"})
    assert {each["team"] for each in stored()} == {"other"}
