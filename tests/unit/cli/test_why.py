"""`nonroot why` as a command: what may be named, which cluster is asked as whom, and its exit codes."""

import asyncio
import json
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from click.testing import CliRunner, Result
from kubernetes.aio.config import kube_config

from tests.support.api import Api, serving
from tests.support.made_up_cluster import named, of
from tests.support.pods import Object, minimal, tweak
from tests.unit.scan.test_run import POLICIES, cluster_of, namespace
from webhook.cli.main import main


def why(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["why", *arguments], input=stdin)


@pytest.fixture(autouse=True)
def _nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kubeconfig, docker config or cache of whoever runs the tests."""
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", "/nowhere/kubeconfig")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def written(folder: Path, *objects: Object) -> str:
    path = folder / "objects.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    return str(path)


def test_a_file_needs_no_cluster(tmp_path: Path) -> None:
    """Every workload in it, with the status of a Pod, as kubectl prints it; admission knows no exception of a file."""
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": "no"}}
    pod = tweak(minimal(), {"spec.securityContext.runAsUser": 7}) | {
        "status": {"containerStatuses": [{"name": "app", "state": waiting}]}
    }
    deployment = of("Deployment", runAsUser=0) | {"apiVersion": "apps/v1"}
    deployment["metadata"]["annotations"] = {"nonroot.dev/allow.root-user": "a ticket"}
    result = why(written(tmp_path, pod, deployment), "--no-images")
    assert result.exit_code == 0, result.output
    assert "Pod web in namespace default\n" in result.output
    assert "  now         does not start in 1 Pod: CreateContainerConfigError: no\n" in result.output
    assert "Deployment web in namespace default\n" in result.output
    assert "  in Enforce  admission denies it\n" in result.output
    assert why("-", "--no-images", stdin=yaml.safe_dump(pod)).output.startswith("Pod web")


def test_a_files_policies_are_those_that_are_given(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "{apiVersion: nonroot.dev/v1alpha1, kind: NonRootPolicy, metadata: {name: p}, spec: {mode: Enforce}}"
    )
    result = why(written(tmp_path, tweak(minimal(), {"spec.securityContext.runAsUser": 0})), "--policy", str(policy))
    assert "  policy      p, mode Enforce, injects" in result.output
    assert "  admission   denies it in mode Enforce\n" in result.output
    assert "  more        https://nonroot.dev/docs/reference/rules/root-user/\n" in result.output


def test_an_image_is_asked_about_as_the_pod_that_says_nothing_else() -> None:
    result = why("image/registry.example/app:1", "--offline", "-o", "json")
    document = json.loads(result.output)
    assert (result.exit_code, document["containers"][0]["image"]) == (3, "registry.example/app:1")
    assert why("image", "registry.example/app:1", "--offline", "-o", "json").output == result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["web"], "name KIND/NAME, such as pod/web"),
        (["gone/web"], "'gone' is none of pod"),
        (["/gone.yaml"], "there is no '/gone.yaml'"),
        (["deplyment", "web"], "did you mean deployment?"),
        (["pod/web"], "there is no kubeconfig at '/nowhere/kubeconfig'; give --kubeconfig or set KUBECONFIG"),
        (["image/a", "--no-images", "--offline"], "give one of them"),
        (["image/a", "--no-images", "-c", "b"], "has no container 'b'; it has app"),
    ],
)
def test_what_cannot_be_asked(arguments: list[str], said: str) -> None:
    """One line with the next step."""
    result = why(*arguments)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert said in result.stderr


def test_a_file_without_a_workload_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    result = why(str(tmp_path / "Dockerfile"))
    assert (result.exit_code, "nonroot check evaluates" in result.stderr) == (2, True)
    (tmp_path / "chart.yaml").write_text("apiVersion: v1\nkind: Pod\nmetadata: {{ x }}\n")
    result = why(str(tmp_path / "chart.yaml"))
    assert (result.exit_code, "helm template" in result.stderr) == (2, True)


async def test_a_cluster_is_asked_as_kubectl_would_ask_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The context's namespace, a kubeconfig and a user to act as; a Pod by its kind and name, in either form."""
    pod = named(tweak(minimal(), {"metadata.namespace": "shop", "spec.securityContext.runAsUser": 7}), "web")
    api = cluster_of(pods=[pod], deployments=[])
    users: list[str | None] = []
    handle = api.handle

    async def noting(_: Api, request: web.Request) -> web.Response:
        users.append(request.headers.get("Impersonate-User"))
        return await handle(request)

    monkeypatch.setattr(Api, "handle", noting)
    async with serving(api, tmp_path) as kubeconfig:
        config = json.loads(kubeconfig.read_text())
        config["contexts"][0]["context"]["namespace"] = "shop"
        kubeconfig.write_text(json.dumps(config))
        ours = ["--kubeconfig", str(kubeconfig)]
        result = await asyncio.to_thread(why, "pod/web", *ours)
        assert (result.exit_code, set(users)) == (0, {None}), result.output
        assert "Pod web in namespace shop\n" in result.output
        assert "  policy      (built-in), mode Enforce" in result.output
        users.clear()
        result = await asyncio.to_thread(why, "po", "web", "-n", "shop", "--as", "jane", "--context", "small", *ours)
        assert (result.exit_code, set(users)) == (0, {"jane"}), result.output
        result = await asyncio.to_thread(why, "pod/web", "-n", "default", "-o", "yaml", *ours)
        assert (result.exit_code, "Pod default/" in result.stderr) == (0, False), result.output
        for arguments in (["-A", "-o", "yaml"], []):
            policy_result = await asyncio.to_thread(CliRunner().invoke, main, ["policy", *arguments, *ours])
            documents = (
                list(yaml.safe_load_all(policy_result.output)) if arguments else policy_result.output.splitlines()
            )
            assert (policy_result.exit_code, len(documents) == 2 or documents[0].startswith("shop: ")) == (0, True)
        scan = ["scan", "-A", "--no-images", "-o", "yaml", *ours]
        scanned = await asyncio.to_thread(CliRunner().invoke, main, scan)
        assert yaml.safe_load(scanned.output)["workloads"][0]["name"] == "web"
        both = await asyncio.to_thread(CliRunner().invoke, main, [*scan, "-n", "shop"])
        assert (both.exit_code, "give one of them" in both.output) == (2, True)


async def test_a_manifest_is_evaluated_by_a_clusters_policies_where_one_is_named(tmp_path: Path) -> None:
    api = cluster_of(pods=[], deployments=[])
    api.objects["/api/v1/namespaces"] = [namespace("shop", **{"nonroot.dev/mode": "enforce"})]
    file = written(tmp_path, tweak(minimal(), {"spec.securityContext.runAsUser": 0}))
    async with serving(api, tmp_path) as kubeconfig:
        result = await asyncio.to_thread(why, file, "-n", "shop", "--kubeconfig", str(kubeconfig), "--no-images")
    assert "  admission   denies it in mode Enforce\n" in result.output
    assert "  more        https://nonroot.dev/docs/reference/rules/root-user/\n" in result.output


async def test_where_the_policies_may_not_be_read_nothing_depends_on_a_guess(tmp_path: Path) -> None:
    api = cluster_of(pods=[], deployments=[])
    api.objects["/api/v1/namespaces"] = [namespace("shop")]
    api.objects[POLICIES] = []
    api.forbidden = {POLICIES}
    file = written(tmp_path, tweak(minimal(), {"spec.securityContext.runAsUser": 0}))
    async with serving(api, tmp_path) as kubeconfig:
        result = await asyncio.to_thread(why, file, "-n", "shop", "--kubeconfig", str(kubeconfig), "--no-images")
    assert result.exit_code == 3
    assert "  policy      (unknown), mode unknown: the NonRootPolicies may not be read" in result.output
    assert "  admission   what it does depends on that policy\n" in result.output
