"""A scan of a small API server: by pages, as far as one is allowed to, and each image looked up once."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.config import kube_config

from deploy.dev.oci import OCI_MANIFEST, document
from deploy.dev.oci import image as content
from deploy.dev.registry import Login, Redirect, Registry
from tests.support.api import Api, serving
from tests.support.evaluation import NOW
from tests.support.images import Table, image, unknown
from tests.support.made_up_cluster import named, of, running
from tests.support.pods import IMAGE, Object, minimal, tweak
from webhook.cli.output import scan_text
from webhook.cluster.client import Cluster
from webhook.cluster.errors import Absent, Unreachable
from webhook.image import image_identity
from webhook.image.config import Config, Platform, parse_config
from webhook.image.identity_index import IdentityIndex
from webhook.image.image_identity import Observation
from webhook.image.source import Images
from webhook.policy.types import Documents
from webhook.registry.client import RegistryClient
from webhook.registry.settings import RegistrySettings, Timeouts
from webhook.scan import policyreport
from webhook.scan.collector import Reader
from webhook.scan.document import Document
from webhook.scan.html.page import render
from webhook.scan.run import scan

PODS, DEPLOYMENTS = "/api/v1/pods", "/apis/apps/v1/deployments"
KINDS = {
    "nodes": "/api/v1/nodes",
    "serviceaccounts": "/api/v1/serviceaccounts",
    "replicasets": "/apis/apps/v1/replicasets",
    "jobs": "/apis/batch/v1/jobs",
    "statefulsets": "/apis/apps/v1/statefulsets",
    "daemonsets": "/apis/apps/v1/daemonsets",
    "cronjobs": "/apis/batch/v1/cronjobs",
    "replicationcontrollers": "/api/v1/replicationcontrollers",
}
POLICIES = "/apis/nonroot.dev/v1alpha1/nonrootpolicies"
HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
EXCEPTIONS = "/apis/nonroot.dev/v1alpha1/nonrootexceptions"


def namespace(name: str, **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": labels}}


def within(obj: Object, name: str) -> Object:
    return tweak(obj, {"metadata.namespace": name})


def cluster_of(*, pods: list[Object], deployments: list[Object], **more: list[Object]) -> Api:
    """Two namespaces without our kinds, one enforced by its label."""
    namespaces = [namespace("default"), namespace("shop", **{"nonroot.dev/mode": "enforce"})]
    objects = {path: more.get(name, []) for name, path in KINDS.items()}
    return Api({"/api/v1/namespaces": namespaces, PODS: pods, DEPLOYMENTS: deployments, **objects})


Scan = Callable[..., Any]


@pytest.fixture
async def scanned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scan]:
    """Scans an API server."""
    async with AsyncExitStack() as stack:

        async def run(
            api: Api,
            table: Images | None = None,
            namespaces: tuple[str, ...] = (),
            documents: Documents | None = None,
            progress: Callable[[int, int], None] | None = None,
            hooks: str = "",
            known: IdentityIndex | None = None,
        ) -> Document:
            kubeconfig = await stack.enter_async_context(serving(api, tmp_path))
            monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
            cluster = Cluster()
            stack.push_async_callback(cluster.aclose)
            return await scan(
                Reader(cluster, namespaces, hooks),
                table or Table({IMAGE: image("app")}),
                cluster="small",
                documents=documents,
                now=NOW,
                progress=progress,
                known=known,
            )

        yield run


def outcomes(result: Document) -> dict[tuple[str, str, str], str]:
    return {(each.namespace, each.kind, each.name): each.outcome for each in result.workloads}


async def test_a_whole_cluster_is_scanned_without_our_kinds(scanned: Scan) -> None:
    """The mode is the namespace label's, the policy the built-in one; nothing is skipped."""
    api = cluster_of(
        pods=[named(minimal(), "lone"), within(named(minimal(), "web-1-a", ("ReplicaSet", "web-1")), "shop")],
        deployments=[within(named(of("Deployment", runAsUser=0), "web"), "shop")],
        replicasets=[within(named(of("ReplicaSet"), "web-1", ("Deployment", "web")), "shop")],
        cronjobs=[named(of("CronJob"), "night")],
    )
    progress: list[tuple[int, int]] = []
    result = await scanned(api, progress=lambda *each: progress.append(each))
    assert outcomes(result) == {
        ("default", "CronJob", "night"): "fixed",
        ("default", "Pod", "lone"): "fixed",
        ("shop", "Deployment", "web"): "refused",
    }
    assert [(each.mode, each.policy, each.pods) for each in result.workloads] == [
        ("Audit", "(built-in)", 0), ("Audit", "(built-in)", 1), ("Enforce", "(built-in)", 1),
    ]  # fmt: skip
    assert (result.cluster, result.at, result.skipped) == ("small", "2026-06-01T12:00:00+00:00", ())
    assert progress[-1] == (3, 3)
    assert {asked.partition(" ")[0] for asked in api.asked} == {"GET"}


async def test_what_is_said_of_many_workloads_is_kept_once(scanned: Scan) -> None:
    """A large cluster runs few images in many places: the document must not be as large as their number."""
    first, second = named(of("Deployment"), "a"), within(named(of("Deployment"), "b"), "shop")
    one, other = (
        each.containers for each in (await scanned(cluster_of(pods=[], deployments=[first, second]))).workloads
    )
    assert one[0] is other[0]


async def test_one_namespace_is_asked_for_by_name_alone(scanned: Scan) -> None:
    """Whoever may only read that one can still scan it."""
    api = cluster_of(pods=[named(minimal(), "lone"), within(named(minimal(), "other"), "shop")], deployments=[])
    result = await scanned(api, namespaces=("shop",))
    assert outcomes(result) == {("shop", "Pod", "other"): "fixed"}
    wide = [asked for asked in api.asked if "/namespaces/shop" not in asked]
    classes = [f"GET /apis/storage.k8s.io/v1/{each}" for each in ("csidrivers", "storageclasses")]
    assert wide == [f"GET {POLICIES}", f"GET {HOOKS}", *classes, "GET /api/v1/nodes"]


async def test_what_may_not_be_read_is_said_and_the_rest_is_scanned(scanned: Scan) -> None:
    """Nodes and accounts are only asked for to know more, and missed in silence."""
    api = cluster_of(pods=[within(named(minimal(), "lone"), "shop")], deployments=[])
    api.forbidden = {"/api/v1/namespaces/shop", "/apis/batch/v1/namespaces/shop/cronjobs", "/api/v1/nodes",
                     "/api/v1/namespaces/shop/serviceaccounts", POLICIES}  # fmt: skip
    result = await scanned(api, namespaces=("shop",))
    assert outcomes(result) == {("shop", "Pod", "lone"): "fixed"}
    assert [each.object for each in result.skipped] == [
        "labels of Namespace shop", "NonRootPolicy objects", "CronJobs of Namespace shop",
    ]  # fmt: skip
    assert all(each.forbidden and "403 forbidden" in each.reason for each in result.skipped)


@pytest.mark.parametrize(
    ("forbidden", "mode"),
    [
        ({POLICIES}, "Enforce"),
        ({"/api/v1/namespaces/shop"}, None),
        ({POLICIES, "/api/v1/namespaces/shop"}, None),
    ],
)
async def test_a_policy_that_may_not_be_read_is_unknown(scanned: Scan, forbidden: set[str], mode: str | None) -> None:
    """Not the built-in one. That the namespace's label says enforce settles the mode, and nothing else."""
    api = cluster_of(pods=[within(named(minimal(), "lone"), "shop")], deployments=[])
    api.forbidden = forbidden
    result = await scanned(api, namespaces=("shop",))
    assert [(each.policy, each.mode, each.today) for each in result.workloads] == [("(unknown)", mode, None)]
    assert [(each.policy, each.mode) for each in result.summary.namespaces] == [("(unknown)", mode)]
    labels = [each["metadata"]["labels"] for each in policyreport.reports(result.workloads)]
    assert labels == [
        {"nonroot.dev/outcome": "fixed", "nonroot.dev/state": "fixable"} | ({"nonroot.dev/mode": mode} if mode else {})
    ]


async def test_a_namespace_that_may_be_read_is_not_left_out_because_of_another(scanned: Scan) -> None:
    api = cluster_of(pods=[named(minimal(), "lone"), within(named(minimal(), "other"), "shop")], deployments=[])
    api.forbidden = {"/api/v1/namespaces/default/pods"}
    result = await scanned(api, namespaces=("default", "shop"))
    assert outcomes(result) == {("shop", "Pod", "other"): "fixed"}
    assert [each.object for each in result.skipped] == ["Pods of Namespace default"]
    assert "Who runs now is not known of all" in render(result)


async def test_where_nothing_may_be_read_nothing_is_claimed(scanned: Scan) -> None:
    """Neither that there are no workloads nor that all of them could be enforced; one line says what is missing."""
    api = cluster_of(pods=[named(minimal(), "lone")], deployments=[])
    api.objects |= {POLICIES: [], EXCEPTIONS: [], HOOKS: []}
    api.forbidden = set(api.objects)
    result = await scanned(api)
    assert len(result.skipped) == 12
    assert all(each.forbidden for each in result.skipped)
    said = scan_text.render(result).replace("\n", " ").strip()
    assert said.startswith("no right to read Namespaces, NonRootPolicy objects, ")
    assert said.count("403") == 1
    assert said.endswith("could be read, and there may be more; if all were enforced now: that is not known")
    page = render(result)
    assert "No workload could be read" in page
    assert "Which namespaces can be enforced today is not known" in page


async def test_a_namespace_of_which_not_all_may_be_read_is_not_called_ready(scanned: Scan) -> None:
    api = cluster_of(pods=[named(minimal(), "lone")], deployments=[])
    assert "kubectl label --overwrite ns default" in render(await scanned(api))
    api.forbidden = {KINDS["cronjobs"]}
    page = render(await scanned(api))
    assert "kubectl label --overwrite ns default" not in page
    assert "Not known: not all of it may be read" in page
    assert "All of 1 workload that could be read keep running" in page


async def test_a_kind_that_the_cluster_does_not_have_is_said(scanned: Scan) -> None:
    """No API server leaves one of these out, so somebody has to know."""
    api = cluster_of(pods=[], deployments=[])
    del api.objects[KINDS["cronjobs"]]
    assert [each.object for each in (await scanned(api)).skipped] == ["CronJobs"]


async def test_the_clusters_policies_and_exceptions_count(scanned: Scan) -> None:
    """And one that cannot be used is said; documents given instead leave the cluster's alone."""
    api = cluster_of(pods=[named(minimal(), "lone"), named(minimal(), "other")], deployments=[])
    pod = {"kind": "Pod", "name": "lone"}
    exception = {"metadata": {"name": "e", "namespace": "default"}, "spec": {"reason": "r", "workloads": [pod]}}
    odd = {"metadata": {"name": "odd"}, "spec": {"mode": "Later"}}
    api.objects[POLICIES] = [{"metadata": {"name": "strict"}, "spec": {"mode": "Warn"}}, odd]
    api.objects[EXCEPTIONS] = [exception]
    result = await scanned(api)
    assert set(outcomes(result).values()) == {"excepted", "fixed"}
    assert {each.policy for each in result.workloads} == {"strict"}
    assert [each.object for each in result.skipped] == ["NonRootPolicy odd"]
    api.asked.clear()
    result = await scanned(api, documents=Documents())
    assert {each.policy for each in result.workloads} == {"(built-in)"}
    assert f"GET {POLICIES}" not in api.asked


@pytest.mark.parametrize("name", ["", "ours"])
async def test_a_namespace_that_the_hooks_do_not_reach_is_not_evaluated(scanned: Scan, name: str) -> None:
    """As installed; whoever may not list configurations reads the one whose name is known, or goes by the defaults."""
    expression = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["shop"]}
    hooks = {"metadata": {"name": "ours"}, "webhooks": [{"namespaceSelector": {"matchExpressions": [expression]}}]}
    pods = [within(named(minimal(), "web"), each) for each in ("shop", "default", "gke-system")]
    api = cluster_of(pods=pods, deployments=[])
    api.objects["/api/v1/namespaces"].append(namespace("gke-system"))
    api.objects[HOOKS] = [hooks]
    api.forbidden = {HOOKS} if name else set()
    result = await scanned(api, hooks=name)
    assert [(each.namespace, each.outcome) for each in result.workloads] == [
        ("default", "fixed"), ("gke-system", "fixed"), ("shop", "excepted"),
    ]  # fmt: skip
    assert result.workloads[2].reason == "the API server does not ask admission about this namespace"
    assert [(each.namespace, each.reached) for each in result.summary.namespaces] == [
        ("default", True), ("gke-system", True), ("shop", False),
    ]  # fmt: skip
    assert [each["metadata"]["namespace"] for each in policyreport.reports(result.workloads)] == [
        "default",
        "gke-system",
    ]
    assert "1 of 2 namespaces" not in (page := render(result))
    assert "2 of 2 namespaces can be enforced today" in page
    assert "label --overwrite ns shop" not in page
    api.forbidden = {HOOKS}
    assert [each.outcome for each in (await scanned(api)).workloads] == ["fixed", "excepted", "fixed"]


async def test_a_list_of_many_pages_is_complete_though_it_grows_too_old(scanned: Scan) -> None:
    """Each workload once."""
    api = cluster_of(pods=[], deployments=[named(of("Deployment"), f"web-{number:04}") for number in range(1201)])
    api.expire = 1
    result = await scanned(api)
    assert len({each.name for each in result.workloads}) == len(result.workloads) == 1201
    assert api.asked.count(f"GET {DEPLOYMENTS}") == 4


async def test_one_image_does_not_stop_a_scan(scanned: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one whose registry lies, nor one on which our own code fails: the others are told of."""

    def broken(raw: bytes) -> Config:
        if b"hunter2" in raw:
            raise KeyError("hunter2")
        return parse_config(raw)

    monkeypatch.setattr("webhook.registry.content_store.parse_config", broken)
    async with Registry() as registry, Registry(Login({}, anonymous=True, realm="https://[::1")) as realm:
        registry.push("evil/type:1", document({"schemaVersion": {}, "mediaType": ["x"]}, OCI_MANIFEST))
        registry.push("evil/bug:1", content(user="7", settings={"Labels": {"a": "hunter2"}}))
        registry.lie(Redirect("https://host:99999/"), path="evil/location")
        realm.push("evil/realm:1", content(user="7"))
        registry.push("good/app:1", content(user="7"))
        hosts = {"type": registry, "bug": registry, "location": registry, "realm": realm}
        images = {name: f"{each.host}/evil/{name}:1" for name, each in hosts.items()}
        images |= {f"after-{name}": f"{registry.host}/good/app:1" for name in images}
        pods = [named(tweak(minimal(), {"spec.containers.0.image": each}), name) for name, each in images.items()]
        insecure = frozenset({registry.host, realm.host})
        client = RegistryClient(RegistrySettings(insecure=insecure, timeouts=Timeouts(backoff=())))
        try:
            result = await scanned(cluster_of(pods=pods, deployments=[]), client)
        finally:
            await client.aclose()
    told = {name: outcome for (_, _, name), outcome in outcomes(result).items()}
    assert [told.pop(each) for each in hosts] == ["refused", "refused", "unknown", "unknown"]  # invalid; unreachable
    assert told == {f"after-{each}": "fixed" for each in hosts}
    assert client.stats.faults == 1


async def test_each_image_is_looked_up_once_for_each_set_of_credentials(scanned: Scan) -> None:
    """Templates without pull secrets get those of their account, which another namespace does not have."""
    api = cluster_of(
        pods=[named(minimal(), f"lone-{number}") for number in range(3)],
        deployments=[
            *(within(named(of("Deployment"), f"web-{number}"), "shop") for number in range(50)),
            *(named(of("Deployment"), f"web-{number}") for number in range(50)),
        ],
        serviceaccounts=[
            {"metadata": {"name": "default", "namespace": "shop"}, "imagePullSecrets": [{"name": "pull"}]},
            {"metadata": {"name": "default", "namespace": "default"}},
        ],
    )
    table = Table({IMAGE: image("app")})
    assert len((await scanned(api, table)).workloads) == 103
    assert sorted((each.pull_secrets, each.service_account) for each in table.asked) == [((), ""), (("pull",), "")]


async def test_an_image_whose_user_the_workload_says_is_looked_up_as_well(scanned: Scan) -> None:
    """So that its programs are known to whoever injects: admission asks for what is stored alone."""
    template = tweak(named(of("Deployment"), "web"), {"spec.template.spec.securityContext": {"runAsUser": 1000}})
    table = Table({IMAGE: image("app")})
    (found,) = (await scanned(cluster_of(pods=[], deployments=[template]), table)).workloads
    assert (len(table.asked), table.asked_stored) == (1, [])
    assert [(each.uid, each.user) for each in found.containers] == [(1000, None)]


async def test_accounts_that_cannot_be_listed_are_left_to_the_registry_client(scanned: Scan) -> None:
    """It reads one when it needs it."""
    api = cluster_of(pods=[], deployments=[named(of("Deployment"), "web")])
    api.forbidden = {KINDS["serviceaccounts"]}
    table = Table({IMAGE: image("app")})
    await scanned(api, table)
    assert [(each.namespace, each.service_account) for each in table.asked] == [("default", "default")]


async def test_an_image_that_only_nodes_can_pull_is_known_from_its_pods(scanned: Scan) -> None:
    """Told of a template, too; where nodes may not be listed nobody knows what the platform was."""
    pod = tweak(running(named(minimal(), "web-0", ("StatefulSet", "web")), 7, 7, (7,)), {"spec.nodeName": "node-1"})
    node = {
        "metadata": {"name": "node-1"},
        "status": {"nodeInfo": {"operatingSystem": "linux", "architecture": "amd64"}},
    }
    objects: dict[str, list[Object]] = {"nodes": [node], "statefulsets": [named(of("StatefulSet"), "web")]}
    table = Table({IMAGE: unknown("unauthorized")})
    result = await scanned(cluster_of(pods=[pod], deployments=[], **objects), table)
    (container,) = result.workloads[0].containers
    assert (container.outcome, container.uid, container.mismatch) == ("fixed", 7, None)
    api = cluster_of(pods=[pod], deployments=[], **objects)
    api.forbidden = {"/api/v1/nodes"}
    assert (await scanned(api, table)).workloads[0].outcome == "unknown"


async def test_without_an_answer_there_is_no_document(scanned: Scan) -> None:
    """A namespace that is not there, or an API server that breaks down in the middle: no half of a picture."""
    with pytest.raises(Absent, match="Namespace gone: GET was answered 404 gone not found"):
        await scanned(cluster_of(pods=[], deployments=[]), namespaces=("gone",))
    api = cluster_of(pods=[named(minimal(), "lone")], deployments=[])
    api.broken = {DEPLOYMENTS}
    with pytest.raises(Unreachable, match="Deployments: GET was answered 500"):
        await scanned(api)


async def test_an_image_that_is_stored_for_one_namespace_is_unknown_to_others(scanned: Scan) -> None:
    """Though the image itself is looked up once for both."""
    known = IdentityIndex()
    fact = Observation(IMAGE, f"sha256:{'ab' * 32}", Platform("linux", "amd64"), 1500, 1600, namespace="shop")
    identity = image_identity.of_observation(fact, (fact.platform,), NOW)
    assert identity is not None
    known.update("1", identity)
    pods = [within(named(minimal(), name), name) for name in ("default", "shop")]
    document = await scanned(
        cluster_of(pods=pods, deployments=[]), Table({IMAGE: unknown("unauthorized")}), known=known
    )
    result = {each.namespace: each.containers[0].uid for each in document.workloads}
    assert result == {"default": None, "shop": 1500}


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("None", 'set the owner in the driver\'s mount options (uid, gid) or in its StorageClass: "share.example" has'),
        ("File", "fsGroup"),
        (None, "fsGroup"),
    ],
)
async def test_the_clusters_drivers_say_whether_an_fs_group_helps(scanned: Scan, policy: str | None, told: str) -> None:
    """By the claim, its StorageClass and the CSIDriver; nothing of it may be there, or read."""
    mount = {"spec.containers.0.volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    claim = {"spec.volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}
    api = cluster_of(pods=[tweak(named(minimal(), "web"), mount | claim)], deployments=[])
    if policy is not None:
        group = "/apis/storage.k8s.io/v1"
        driver = {"metadata": {"name": "share.example"}, "spec": {"fsGroupPolicy": policy}}
        api.objects[f"{group}/csidrivers"] = [driver]
        api.objects[f"{group}/storageclasses"] = [{"metadata": {"name": "shared"}, "provisioner": "share.example"}]
        claimed = {"metadata": {"name": "data", "namespace": "default"}, "spec": {"storageClassName": "shared"}}
        api.objects["/api/v1/persistentvolumeclaims"] = [claimed]
    (found,) = (await scanned(api)).workloads
    (finding,) = [each for each in found.containers[0].findings if each.rule == "volume-permissions"]
    assert told in finding.fix
    assert finding.severity == ("note" if policy == "None" else "warning")
