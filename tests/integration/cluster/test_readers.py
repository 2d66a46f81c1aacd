"""What somebody who may read one namespace is told by the commands and by the page, with the rights of a real API server."""

import json
import os
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.target import Target, eventually
from tests.integration.cluster.test_scheduler import FLAGS, deployment
from tests.support import cluster, helm
from tests.support.controller import controller

pytestmark = pytest.mark.timeout(600)

OWN, OTHER = (f"readers-{secrets.token_hex(4)}-{each}" for each in ("own", "other"))
READER = "reader"


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """Two namespaces with a workload each, a policy that enforces both, and somebody who has the role `admin` in one."""
    found = cluster.reach()
    with cluster.crds(found):
        selector = {"matchLabels": {"readers": OWN}}
        policy = {"apiVersion": "nonroot.dev/v1alpha1", "kind": "NonRootPolicy", "metadata": {"name": OWN}}
        found.apply({**policy, "spec": {"mode": "Enforce", "namespaceSelector": selector}})
        for name in (OWN, OTHER):
            found.namespace(name, readers=OWN)
            found.apply(deployment(f"web-{name}", runAsUser=1001), namespace=name)
            eventually(lambda name=name: len(found.get("pods", name)) == 2, f"the Pods of {name}")  # type: ignore[misc]
        found.kubectl("create", "serviceaccount", READER, "-n", OWN)
        found.kubectl(
            "create", "rolebinding", READER, "-n", OWN, "--clusterrole=admin", f"--serviceaccount={OWN}:{READER}"
        )
        try:
            yield found
        finally:
            found.delete("nonrootpolicies", OWN)
            found.kubectl("delete", "namespace", OWN, OTHER, "--wait=false")


@pytest.fixture
def token(target: Target) -> str:
    return target.token(READER, OWN)


@pytest.fixture
def kubeconfig(target: Target, token: str, tmp_path: Path) -> Path:
    """The one of a namespace's admin."""
    config = json.loads(target.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    config["users"][0]["user"] = {"token": token}
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


def nonroot(kubeconfig: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    command = [sys.executable, "-m", "webhook", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_namespaces_admin_reads_what_they_have_no_right_to(kubeconfig: Path) -> None:
    """Not that no policy selects the namespace, while one enforces it."""
    printed = nonroot(kubeconfig, "policy", "-n", OWN)
    assert printed.returncode == 3, printed.stderr
    assert printed.stdout.startswith(f"{OWN}: policy (unknown), mode unknown\n")
    assert "no right to read NonRootPolicy objects" in printed.stdout


def test_a_namespaces_admin_can_scan_it(kubeconfig: Path) -> None:
    """Whoever may list the workloads of one namespace learns of them, and that the policy is not known."""
    scanned = nonroot(kubeconfig, "scan", "-n", OWN, "--no-images", "-o", "json")
    assert scanned.returncode == 3, scanned.stderr
    document = json.loads(scanned.stdout)
    assert [each["name"] for each in document["workloads"]] == [f"web-{OWN}"]
    assert {(each["policy"], each["mode"], each["today"]) for each in document["workloads"]} == {
        ("(unknown)", None, None)
    }


def test_a_namespaces_admin_who_scans_everything_reads_one_line(kubeconfig: Path) -> None:
    """Of all the kinds that they may not list, and not that nothing would change."""
    scanned = nonroot(kubeconfig, "scan", "-A", "--no-images")
    assert scanned.returncode == 3, scanned.stderr
    text = " ".join(scanned.stdout.split())
    assert text.startswith("no right to read Namespaces, NonRootPolicy objects")
    assert text.count("403") == 1
    assert text.endswith("if all were enforced now: that is not known")


def test_a_reader_of_the_page_sees_the_namespaces_whose_pods_they_may_list(
    target: Target, token: str, tmp_path: Path
) -> None:
    """With the rights that the chart grants the controller for it; without a token nothing."""
    rules = helm.controllers_rights(reportPage={"enabled": True, "authentication": True})
    with (
        cluster.access(target, tmp_path, *rules) as kubeconfig,
        controller(kubeconfig, *FLAGS, "--report-page-authentication", "--no-reports") as running,
    ):
        eventually(lambda: "\nnonroot_scan_timestamp_seconds " in running.answer("/metrics"), "a scan")
        url = f"http://127.0.0.1:{running.port}/report.json"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(url, timeout=5)
        with pytest.raises(urllib.error.HTTPError, match="404"):
            _open(f"{url}?namespace={OTHER}", token)
        found = json.loads(_open(url, token))
        assert {each["namespace"] for each in found["workloads"]} == {OWN}
        page = _open(f"http://127.0.0.1:{running.port}/report", token)
        assert f"web-{OWN}" in page
        assert OTHER not in page


def _open(url: str, token: str) -> str:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # our own
    with urllib.request.urlopen(request, timeout=10) as response:
        text: str = response.read().decode()
    return text
