"""`nonroot scan` as a command: its flags, its exit codes, and images read with the pull secrets of their Pods."""

import asyncio
import json
import re
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
from tests.support.pods import IMAGE, Object, minimal, tweak
from tests.unit.cli.output.test_scan import REPORTED
from tests.unit.scan.test_run import cluster_of
from webhook.cli.main import main
from webhook.cli.output.scan import report
from webhook.image import image_identity
from webhook.image.config import Platform
from webhook.image.image_identity import Observation
from webhook.scan.document import Document, render

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
    refused = {"spec.containers.0.image": "127.0.0.1/app:1"}  # at once; a host that has no address is asked for again
    running = [named(tweak(of("Pod", **each), refused), f"p{number}") for number, each in enumerate(pods)]
    async with reachable(cluster_of(pods=running, deployments=[]), tmp_path, monkeypatch):
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


async def test_offline_an_image_is_known_from_what_the_cluster_has_stored(
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


def saved(folder: Path, cluster: str, at: str, **more: object) -> str:
    """A file of a scan of that cluster."""
    document = msgspec.structs.replace(REPORTED, cluster=cluster, at=at, **more)
    path = folder / f"{cluster}.json"
    path.write_text(render(document))
    return str(path)


def test_scans_of_several_clusters_become_one(tmp_path: Path) -> None:
    """Namespaces of one name stay two, images of one name become one, and it is as old as the oldest."""
    prod = saved(tmp_path, "prod", "2026-06-02T00:00:00+00:00")
    test = saved(tmp_path, "test", "2026-06-01T23:00:00+02:00")
    result = scan("--merge", prod, "--merge", test, "-o", "json")
    document = msgspec.json.decode(result.stdout, type=Document)
    assert (document.cluster, document.at) == ("prod, test", "2026-06-01T23:00:00+02:00")
    assert len(document.workloads) == 2 * len(REPORTED.workloads)
    assert {each.cluster for each in document.workloads} == {"prod", "test"}
    assert len(document.summary.namespaces) == 2 * len(REPORTED.summary.namespaces)
    assert len(document.summary.images) == len(REPORTED.summary.images)
    assert document.summary.pods == 2 * REPORTED.summary.pods
    assert [each.object for each in document.skipped] == ["CronJobs in cluster prod", "CronJobs in cluster test"]
    (namespace, *_) = REPORTED.summary.namespaces
    for form in ("text", "html", "sarif"):
        shown = scan("--merge", prod, "--merge", test, "-o", form).stdout
        assert f"prod/{namespace.namespace}" in shown
        assert f"test/{namespace.namespace}" in shown


def test_one_scan_alone_is_what_it_was(tmp_path: Path) -> None:
    """So a page can be made of it later; the exit code is that of the scan."""
    result = scan("--merge", saved(tmp_path, "prod", REPORTED.at), "-o", "json")
    assert msgspec.json.decode(result.stdout, type=Document) == msgspec.structs.replace(REPORTED, cluster="prod")
    assert result.exit_code == report(REPORTED).exit_code()


def test_a_scan_by_an_earlier_version_gets_the_words_of_this_one(tmp_path: Path) -> None:
    """It has no `state`, and no counts by it."""
    path = Path(saved(tmp_path, "prod", REPORTED.at))
    path.write_text(re.sub(r',\n *"(state|compliant|fixable|denied|exempted)": [^,\n]*', "", path.read_text()))
    assert '"state"' not in path.read_text()
    result = scan("--merge", str(path), "-o", "json")
    assert msgspec.json.decode(result.stdout, type=Document) == msgspec.structs.replace(REPORTED, cluster="prod")
    assert result.stdout.count('"compliant"')


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--merge", "prod.json", "--merge", "prod.json"], "there is a scan of 'prod' already"),
        (["--merge", "gone.json"], "cannot read gone.json: No such file"),
        (["--merge", "odd.json"], "odd.json is no output of nonroot scan -o json: "),
        (["--merge", "both.json"], "both.json is about several clusters already"),
        (["--merge", "prod.json", "-n", "shop"], "--merge reads files and no cluster"),
        (["--merge", "prod.json", "-o", "policyreport"], "-o policyreport is for one cluster"),
    ],
)
def test_what_cannot_be_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, "prod", REPORTED.at)
    saved(tmp_path, "both", REPORTED.at, workloads=[msgspec.structs.replace(REPORTED.workloads[0], cluster="prod")])
    (tmp_path / "odd.json").write_text("[]")
    result = scan(*arguments)
    assert (result.exit_code, said in result.stderr) == (2, True), result.output
