"""One workload of a cluster: who it runs as and why, where the lines belong, and what stands in the way of telling."""

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest
from kubernetes.aio.config import kube_config

from tests.support.api import Api, serving
from tests.support.evaluation import NOW
from tests.support.images import Table, image, unknown
from tests.support.made_up_cluster import named, of, running
from tests.support.pods import IMAGE, Object, minimal, tweak
from tests.unit.scan.test_run import cluster_of
from webhook.cli.output.why import render
from webhook.cluster.client import Cluster
from webhook.cluster.errors import Absent
from webhook.errors import InvalidSetting
from webhook.image.source import Images
from webhook.policy.selection import MODE_LABEL, Namespace
from webhook.policy.types import Documents
from webhook.scan import why as module
from webhook.scan.lookup import find, kind_of
from webhook.scan.why import Why, explain

NON_ROOT = {"spec.securityContext.runAsNonRoot": True}
SENTENCE = "container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root"
ENFORCED = Namespace("default", {MODE_LABEL: "enforce"})


def stuck(pod: Object, name: str = "app") -> Object:
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": SENTENCE}}
    return pod | {"status": {"phase": "Pending", "containerStatuses": [{"name": name, "state": waiting}]}}


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Asks an API server about one workload."""

    async def run(api: Api, kind: str, name: str, images: Images | None = None, namespace: Namespace = ENFORCED) -> Why:
        async with serving(api, tmp_path) as kubeconfig:
            monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
            cluster = Cluster()
            try:
                target, skipped = await find(cluster, kind, "default", name)
            finally:
                await cluster.aclose()
        return await explain(target, Documents(), namespace, images or Table({IMAGE: image("app")}), NOW, skipped)

    return run


def deployed(**paths: Any) -> Api:
    """A Deployment whose template starts with the container `app`; its Pod got a container in front of it."""
    pod = stuck(named(tweak(minimal(), paths), "web-1-a", ("ReplicaSet", "web-1")))
    pod["spec"]["containers"].insert(0, {"name": "proxy", "image": IMAGE})
    pod["metadata"]["annotations"] = {
        "nonroot.dev/injected": json.dumps(
            [{"container": "app", "fields": ["runAsUser"]}, {"pod": True, "fields": ["fsGroup"]}]
        )
    }
    deployment = named(of("Deployment"), "web")
    deployment["spec"]["template"]["spec"].update(pod["spec"] | {"containers": pod["spec"]["containers"][1:]})
    return cluster_of(
        pods=[pod],
        deployments=[deployment],
        replicasets=[named(of("ReplicaSet"), "web-1", ("Deployment", "web"))],
    )


async def test_a_pod_is_explained_with_the_lines_of_the_object_that_people_edit(asked: Any) -> None:
    """The deployment's index of the container, not the Pod's; nothing for a container that somebody else adds."""
    result: Why = await asked(deployed(**NON_ROOT), "Pod", "web-1-a")
    assert (result.kind, result.owners, result.pods) == ("Pod", ("ReplicaSet web-1", "Deployment web"), 1)
    assert [(each.container, each.fields) for each in result.injected] == [("app", ("runAsUser",)), ("", ("fsGroup",))]
    proxy, app = result.containers
    assert (app.outcome, app.path, app.written_in) == (
        "fixed", "spec.template.spec.containers[0].securityContext", "Deployment web",
    )  # fmt: skip
    assert (proxy.name, proxy.path) == ("proxy", "")
    assert app.waiting is not None
    assert (app.waiting.message, app.kubelet) == (SENTENCE, SENTENCE)
    assert "runAsUser: 1000" in app.yaml
    shown = render("text", (result,))
    assert "Pod web-1-a in namespace default, made by ReplicaSet web-1, made by Deployment web\n" in shown
    assert f"  kubelet     does not start it: {SENTENCE}\n" in shown
    assert f"  now         does not start in 1 Pod: CreateContainerConfigError: {SENTENCE}\n" in shown
    assert (
        "  write       in Deployment web, at spec.template.spec.containers[0].securityContext:\n    runAsUser: 1000\n"
        in shown
    )
    assert "  write       nothing: Deployment web does not have it; somebody adds it to its Pods\n" in shown
    assert '    USER "app": a name:' in shown


async def test_a_refused_pods_cure_names_the_templates_field(asked: Any) -> None:
    result: Why = await asked(deployed(), "Pod", "web-1-a", Table({IMAGE: image("")}))
    app = result.containers[1]
    assert (app.outcome, result.today) == ("refused", "deny")
    assert "spec.template.spec.containers[0].securityContext.runAsUser" in app.findings[0].fix
    assert app.findings[0].dockerfile == ""  # nobody knows as whom it runs


async def test_a_controller_is_explained_with_what_its_pods_run_as_now(asked: Any) -> None:
    pods = [running(named(minimal(), f"web-1-{each}", ("ReplicaSet", "web-1")), 0) for each in "ab"]
    api = cluster_of(
        pods=pods,
        deployments=[named(of("Deployment"), "web")],
        replicasets=[named(of("ReplicaSet"), "web-1", ("Deployment", "web"))],
    )
    result: Why = await asked(api, "Deployment", "web")
    (app,) = result.containers
    assert (result.pods, [(each.uid, each.pods) for each in app.running]) == (2, [(0, 2)])
    assert "  now         runs as uid 0 gid 0, groups 0 in 2 Pods\n" in render("text", (result,))
    assert app.path == "spec.template.spec.containers[0].securityContext"


@pytest.mark.parametrize("kind", ["StatefulSet", "CronJob", "Job", "DaemonSet"])
async def test_every_kind_with_a_template_is_explained(asked: Any, kind: str) -> None:
    api = cluster_of(pods=[], deployments=[], **{f"{kind.lower()}s": [named(of(kind), "web")]})
    assert (await asked(api, kind, "web")).containers[0].uid == 1000


async def test_what_may_not_be_read_is_said(asked: Any) -> None:
    """The Pods of a controller, or what made a Pod; the rest is told."""
    api = deployed()
    api.forbidden = {"/api/v1/namespaces/default/pods"}
    result: Why = await asked(api, "Deployment", "web")
    assert ([each.object for each in result.skipped], result.pods, result.unknown) == (
        ["Pods of Deployment web"],
        0,
        True,
    )
    api = deployed()
    api.forbidden = {"/apis/apps/v1/namespaces/default/replicasets/web-1"}
    result = await asked(api, "Pod", "web-1-a")
    assert ([each.object for each in result.skipped], result.owners) == (["ReplicaSet web-1"], ("ReplicaSet web-1",))


async def test_a_pod_of_a_custom_resource_names_its_maker(asked: Any) -> None:
    api = cluster_of(pods=[named(minimal(), "w-0", ("Worker", "w"))], deployments=[])
    result: Why = await asked(api, "Pod", "w-0")
    assert (result.owners, result.containers[0].written_in) == (("Worker w",), "Worker w")
    assert result.containers[0].path == "spec.containers[0].securityContext"


async def test_an_image_that_nobody_can_read_leaves_it_open(asked: Any) -> None:
    api = cluster_of(pods=[tweak(minimal(), NON_ROOT)], deployments=[])
    result: Why = await asked(api, "Pod", "web", Table({IMAGE: unknown("unauthorized")}))
    assert (result.containers[0].kubelet, result.unknown) == (None, True)
    assert "    USER not known: the image was not read\n" in render("text", (result,))


async def test_a_namespace_that_admission_does_not_see_is_explained_so(asked: Any) -> None:
    api = cluster_of(pods=[minimal()], deployments=[])
    result: Why = await asked(api, "Pod", "web", namespace=Namespace("kube-system"))
    assert "does not evaluate it: the API server does not ask admission" in render("text", (result,))


async def test_what_is_not_there_is_an_error(asked: Any) -> None:
    api = cluster_of(
        pods=[],
        deployments=[],
        jobs=[named(of("Job"), "j") | {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}],
    )
    with pytest.raises(Absent, match="Pod default/gone"):
        await asked(api, "Pod", "gone")
    with pytest.raises(InvalidSetting, match="Job default/j makes no Pods: it has ended"):
        await asked(api, "Job", "j")
    with pytest.raises(InvalidSetting, match="no Pod can be called"):
        await asked(api, "Pod", "../secrets")


@pytest.mark.parametrize(
    ("typed", "kind"),
    [
        ("po", "Pod"),
        ("Pods", "Pod"),
        ("deploy", "Deployment"),
        ("deployments.apps", "Deployment"),
        ("sts", "StatefulSet"),
    ],
)
def test_kinds_are_typed_as_for_kubectl(typed: str, kind: str) -> None:
    assert kind_of(typed) == kind


def test_a_kind_that_is_none_is_answered_with_the_nearest() -> None:
    with pytest.raises(InvalidSetting, match="did you mean deployment"):
        kind_of("deplyment")
    with pytest.raises(InvalidSetting, match="name one of its Pods"):
        kind_of("rollout")


async def test_the_formats_for_programs(asked: Any) -> None:
    """The schema is generated from the types; whoever changes them publishes it anew."""
    published = module.SCHEMA.read_bytes()
    assert published == module.schema(), "run: python -m webhook.scan.why"
    result: Why = await asked(deployed(**NON_ROOT), "Pod", "web-1-a")
    jsonschema.validate(json.loads(render("json", (result,))), json.loads(published))
    assert render("yaml", (result, result)).count("\n---\n") == 1
