"""`nonroot scan` as a command: its flags, its exit codes, and images read with the pull secrets of their Pods."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from kubernetes.aio.config import kube_config

from tests.support.api import Api, serving
from tests.support.evaluation import NOW
from tests.support.made_up_cluster import named, of
from tests.support.pods import IMAGE, Object, minimal
from tests.unit.scan.test_run import cluster_of
from webhook.cli.main import main
from webhook.image import image_identity
from webhook.image.config import Platform
from webhook.image.image_identity import Observation

IDENTITIES = "/apis/nonroot.dev/v1alpha1/imageidentities"


def scan(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["scan", *arguments])


@asynccontextmanager
async def reachable(api: Api, folder: Path, patch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """The one cluster of the kubeconfig; nobody's docker config or cache is in the way."""
    async with serving(api, folder) as kubeconfig:
        patch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
        patch.setenv("DOCKER_CONFIG", str(folder))
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield


@pytest.mark.parametrize(
    ("pods", "arguments", "code"),
    [
        ([], [], 0),
        ([{"runAsUser": 7}], [], 0),
        ([{"runAsUser": 0}], [], 1),
        ([{}], ["--no-images"], 0),
        ([{}], ["--offline"], 3),
        ([{}], ["--offline", "--fail-on", "unknown"], 1),
        ([{}], ["--offline", "--no-images"], 2),
        ([], ["--context", "other"], 2),
        ([], ["--namespace", "gone"], 2),
        ([], ["--namespace", "../secrets"], 2),
        ([{}], ["--no-images", "--namespace", "default", "-n", "default", "-o", "sarif"], 0),
        ([], ["--policy", "/nowhere.yaml"], 2),
        ([], ["--output-file", "/nowhere/scan.json"], 2),
    ],
)
async def test_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pods: list[Object], arguments: list[str], code: int
) -> None:
    """As for a check; and one line, never a stack trace, where it cannot be done."""
    api = cluster_of(pods=[named(of("Pod", **each), f"p{number}") for number, each in enumerate(pods)], deployments=[])
    async with reachable(api, tmp_path, monkeypatch):
        result = await asyncio.to_thread(scan, *arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert (result.stderr.count("\n") == 1) == (code == 2)


async def test_a_file_is_written_instead_of_standard_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every format can be; the cluster is the context's name."""
    path = tmp_path / "scan.json"
    async with reachable(cluster_of(pods=[named(minimal(), "web")], deployments=[]), tmp_path, monkeypatch):
        result = await asyncio.to_thread(scan, "-o", "json", "--no-images", "--output-file", str(path))
    assert result.output == ""
    document = json.loads(path.read_text())
    assert (document["cluster"], document["summary"]["not_examined"]) == ("small", 1)


async def test_what_the_cluster_has_stored_of_an_image_is_told_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whoever may read it; objects of somebody else's making count for nothing."""
    fact = Observation(IMAGE, f"sha256:{'ab' * 32}", Platform("linux", "amd64"), 1500, 1600)
    identity = image_identity.of_observation(fact, (fact.platform,), NOW)
    assert identity is not None
    stored = {"metadata": {"name": identity.name}, "spec": json.loads(msgspec.json.encode(identity.spec))}
    api = cluster_of(pods=[named(minimal(), "web")], deployments=[])
    api.objects[IDENTITIES] = [{"metadata": {"name": "odd"}, "spec": {}}, stored]
    async with reachable(api, tmp_path, monkeypatch):
        result = await asyncio.to_thread(scan, "-o", "json", "--offline")
        api.forbidden = {IDENTITIES}
        less = await asyncio.to_thread(scan, "-o", "json", "--offline")
    assert json.loads(result.output)["workloads"][0]["containers"][0]["uid"] == 1500
    assert json.loads(less.output)["workloads"][0]["outcome"] == "unknown"
