"""A scan of real workloads: predicted as the kubelet then reports them, by somebody who may do nothing but read."""

import base64
import contextlib
import json
import os
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from deploy.dev.images.build import Pushed
from tests.e2e.target import Target, deployment, eventually, outcomes
from webhook.cluster.client import Cluster
from webhook.cluster.errors import Expired
from webhook.scan import document

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

ID = secrets.token_hex(3)
READ = ["get", "list"]
EVERYWHERE = [
    {"apiGroups": [""], "resources": ["pods", "nodes", "namespaces", "serviceaccounts"], "verbs": READ},
    {"apiGroups": [""], "resources": ["replicationcontrollers"], "verbs": READ},
    {"apiGroups": ["apps", "batch", "nonroot.dev", "storage.k8s.io"], "resources": ["*"], "verbs": READ},
    {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": READ},
    {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["validatingwebhookconfigurations"], "verbs": READ},
]
IN_ONE = [
    {"apiGroups": [""], "resources": ["pods", "replicationcontrollers"], "verbs": READ},
    {"apiGroups": ["apps", "batch"], "resources": ["*"], "verbs": READ},
]
RBAC = "rbac.authorization.k8s.io"


def account(target: Target, namespace: str, name: str, rules: list[dict[str, Any]], *, everywhere: bool) -> str:
    """A ServiceAccount with these rights alone; its token."""
    role, suffix = ("ClusterRole", f"-{ID}") if everywhere else ("Role", "")
    metadata = {"name": f"{name}{suffix}", "labels": {"scan-test": ID}}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    reference = {"apiGroup": RBAC, "kind": role, "name": metadata["name"]}
    api = {"apiVersion": f"{RBAC}/v1", "metadata": metadata}
    target.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
        api | {"kind": role, "rules": rules},
        api | {"kind": f"{role}Binding", "roleRef": reference, "subjects": [subject]},
        namespace=namespace,
    )
    return target.token(name, namespace)


@pytest.fixture
def readers(target: Target, namespace: str, tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Kubeconfigs of somebody who may read all that a scan reads but no Secret, and of one who may see one namespace."""
    config = json.loads(target.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    paths = {}
    target.namespace(namespace)
    for name, rules, everywhere in (("wide", EVERYWHERE, True), ("narrow", IN_ONE, False)):
        config["users"][0]["user"] = {"token": account(target, namespace, name, rules, everywhere=everywhere)}
        paths[name] = tmp_path / name
        paths[name].write_text(json.dumps(config))
    yield paths
    target.kubectl("delete", "clusterrole,clusterrolebinding", "-l", f"scan-test={ID}")


def nonroot(kubeconfig: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command with a kubeconfig of its own."""
    command = [sys.executable, "-m", "webhook", *arguments]
    environment = os.environ | {"KUBECONFIG": str(kubeconfig)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def scan(target: Target, kubeconfig: Path, namespace: str, *more: str) -> tuple[dict[str, Any], int]:
    """The document and the exit code."""
    plain = ("--insecure-registry", target.registry)
    done = nonroot(kubeconfig, "scan", "-n", namespace, "-o", "json", *plain, *more)
    assert done.stdout, done.stderr
    assert done.stderr == ""
    result: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(result, json.loads(document.SCHEMA.read_bytes()))
    return result, done.returncode


def others(image: str) -> list[dict[str, Any]]:
    """Workloads of other kinds, and a Pod of nobody."""
    spec = {"containers": [{"name": "app", "image": image}], "terminationGracePeriodSeconds": 0}
    root = {"securityContext": {"runAsUser": 0}}
    labels = {"metadata": {"labels": {"app": "set"}}}
    job = {"template": {"spec": spec | {"restartPolicy": "Never"}}}
    return [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lone"}, "spec": spec | root},
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "night"},
            "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}},
        },
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "once"}, "spec": job},
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "set"},
            "spec": {
                "serviceName": "set",
                "selector": {"matchLabels": {"app": "set"}},
                "template": {**labels, "spec": spec},
            },
        },
    ]


def test_every_prediction_is_what_the_kubelet_reports(
    target: Target, images: dict[str, Pushed], readers: dict[str, Path], namespace: str
) -> None:
    """Of every example image that starts at all; the others are refused, for the kubelet or the runtime refuse them."""
    target.apply(
        *(deployment(name, each.reference, non_root=False) for name, each in images.items()), namespace=namespace
    )
    target.apply(*others(images["a-useradd-uid"].reference), namespace=namespace)
    starting = {name for name in images if not name.startswith("h-")}
    became = outcomes(target, namespace, {*starting, "lone"})
    eventually(lambda: len(target.get("pods", namespace, fields="status.phase=Running")) > len(starting) + 2, "all")
    result, code = scan(target, readers["wide"], namespace)
    assert (result["skipped"], code) == ([], 1)
    by_name = {each["name"]: each for each in result["workloads"]}
    assert {(each["kind"], each["name"]) for each in result["workloads"] if each["kind"] != "Deployment"} == {
        ("Pod", "lone"), ("CronJob", "night"), ("Job", "once"), ("StatefulSet", "set"),
    }  # fmt: skip
    for name in starting:
        (container,) = by_name[name]["containers"]
        (running,) = container["running"]
        was = became[name]
        assert (running["uid"], running["gid"], running["pods"]) == (was.uid, was.gid, 1)
        assert {*running["groups"]} == {was.gid, *was.groups}
        assert (container["uid"], container["mismatch"]) == (was.uid, None), name
        assert by_name[name]["outcome"] == ("refused" if was.uid == 0 else "fixed"), name
        print(f"{name}: {container['who']}: {by_name[name]['outcome']}, runs as {running['uid']}:{running['groups']}")
    assert by_name["h-no-such-user"]["outcome"] == "refused"
    lone = by_name["lone"]["containers"][0]
    assert (by_name["lone"]["outcome"], lone["running"][0]["uid"]) == ("refused", 0)
    assert result["summary"]["mismatches"] == 0
    assert result["summary"]["workloads"]["root"] == sum(each.uid == 0 for each in became.values())


def test_whoever_may_see_one_namespace_scans_that_and_reads_what_is_missing(
    target: Target, images: dict[str, Pushed], readers: dict[str, Path], namespace: str
) -> None:
    """The outcomes are the same; an image that no registry tells of is known from its Pods where nodes may be listed."""
    target.apply(deployment("web", images["k-supplementary"].reference, non_root=False), namespace=namespace)
    outcomes(target, namespace, {"web"})
    result, code = scan(target, readers["narrow"], namespace)
    assert (result["workloads"][0]["outcome"], code) == ("fixed", 3)
    assert [each["object"] for each in result["skipped"]] == [
        f"labels of Namespace {namespace}",
        "NonRootPolicy objects",
        f"NonRootException objects of Namespace {namespace}",
        "ValidatingWebhookConfigurations, taken to be as the chart installs them",
    ]
    result, code = scan(target, readers["wide"], namespace, "--offline")
    (container,) = result["workloads"][0]["containers"]
    assert (container["uid"], container["outcome"], code) == (1500, "fixed", 0), container
    everything = nonroot(readers["narrow"], "scan", "-o", "json", "--no-images")
    assert everything.returncode == 3
    assert "Pods" in {each["object"] for each in json.loads(everything.stdout)["skipped"]}


def test_the_plugin_works_with_the_real_kubectl(target: Target, readers: dict[str, Path], namespace: str) -> None:
    """`kubectl nonroot` finds `kubectl-nonroot` on the PATH; flags and exit codes come through."""
    target.apply(*others("registry.invalid/app:1"), namespace=namespace)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"KUBECONFIG": str(readers["wide"]), "PATH": path}

    def plugin(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["kubectl", "nonroot", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    result = plugin("scan", "-n", namespace, "--no-images")
    assert result.returncode == 1, result.stderr
    assert result.stdout.startswith(f"{namespace}  policy ")
    assert "root-user: runs as root" in result.stdout
    governed = plugin("policy", "-n", namespace, "-o", "json")
    assert (governed.returncode, json.loads(governed.stdout)["namespace"]) == (0, namespace), governed.stderr


def forget() -> None:
    """Have the store forget its first versions; the API server has it do so after some minutes, which a test cannot wait for.

    Source: kubernetes/kubernetes staging/src/k8s.io/apiserver/pkg/storage/etcd3/compact.go.
    """
    etcd = os.environ.get("NONROOT_ETCD")
    if not etcd:
        pytest.skip("the API server's store is not reachable from here (NONROOT_ETCD)")
    with contextlib.suppress(urllib.error.HTTPError):  # it has forgotten more than that
        urllib.request.urlopen(f"{etcd}/v3/kv/compaction", b'{"revision": 3}', timeout=10).close()


async def test_a_list_that_is_too_old_goes_on(target: Target, namespace: str) -> None:
    """The API server says so, and how to go on. Events are what it keeps in no cache, which would remember for longer."""
    forget()
    target.namespace(namespace)
    about = {"kind": "Namespace", "name": namespace, "namespace": namespace}
    target.apply(
        {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "later"}, "involvedObject": about},
        namespace=namespace,
    )
    token = base64.urlsafe_b64encode(b'{"v":"meta.k8s.io/v1","rv":2,"start":"former\\u0000"}').decode().rstrip("=")
    events, cluster = f"/api/v1/namespaces/{namespace}/events?limit=1&continue=", Cluster()
    try:
        with pytest.raises(Expired) as raised:
            await cluster.call("GET", f"{events}{token}", "Events")
        body = await cluster.call("GET", f"{events}{raised.value.token}", "Events")
        (item,) = json.loads(body or b"")["items"]
        assert item["metadata"]["name"] == "later"
    finally:
        await cluster.aclose()
