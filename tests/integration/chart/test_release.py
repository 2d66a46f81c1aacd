"""A real `helm install`, upgrade and uninstall of the chart by Helm 3 and 4, beside whatever else is installed on the cluster.

The cluster may hold a release already, so all names are others and the hooks select no namespace. What is looked at is what
Helm does to the objects; the program, upgrades of it and GitOps tools are in the end-to-end tests.
"""

import json
import subprocess
import uuid
from collections.abc import Iterator

import msgspec
import pytest

from deploy.local import build
from tests.support.helm import CHART, TOOLS, manifests, run

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif("not os.environ.get('KUBECONFIG')", reason="needs KUBECONFIG: make test starts a cluster"),
]

NOWHERE = {"nonroot.dev/test": "selects-nothing"}
OFF_SWITCH = "app.kubernetes.io/part-of=nonroot-webhook"


class Release(msgspec.Struct, frozen=True):
    """An installed chart, with names that nobody else has."""

    program: str  # Helm's
    name: str  # of the release, its namespace, and its objects

    @property
    def configurations(self) -> tuple[str, str]:
        """As kubectl takes them."""
        return f"mutatingwebhookconfiguration/zz-{self.name}", f"validatingwebhookconfiguration/{self.name}"

    def helm(self, *words: str) -> str:
        """`helm install`, `upgrade` or `template` with this release's values."""
        values = {
            "fullnameOverride": self.name,
            "crds": {"install": False},
            "webhook": {
                "mutatingConfiguration": f"zz-{self.name}",
                "validatingConfiguration": self.name,
                "namespaceSelector": {"matchLabels": NOWHERE},
            },
            "apiPriorityAndFairness": {"enabled": True},
        }
        return run(self.program, *words, self.name, CHART, "-n", self.name, "--values", "-", stdin=json.dumps(values))

    def bundles(self) -> list[str | None]:
        """The caBundle of every hook."""
        found = json.loads(run("kubectl", "get", *self.configurations, "-o", "json"))["items"]
        return [hook["clientConfig"].get("caBundle") for each in found for hook in each["webhooks"]]


@pytest.fixture(scope="module", params=["helm", "helm4"], ids=["Helm 3", "Helm 4"])
def release(request: pytest.FixtureRequest) -> Iterator[Release]:
    build.ensure([*TOOLS, request.param])
    name = f"release-{uuid.uuid4().hex[:8]}"
    made = Release(build.program(request.param, "helm"), name)
    made.helm("install", "--create-namespace")
    yield made
    run(made.program, "uninstall", name, "--namespace", name, "--ignore-not-found")
    run("kubectl", "delete", "namespace", name, "--ignore-not-found", "--wait=false")


def test_a_fresh_install_has_no_ca_and_the_handle_of_the_off_switch(release: Release) -> None:
    assert release.bundles() == [None] * 4
    kinds = "mutatingwebhookconfigurations,validatingwebhookconfigurations"
    selected = run("kubectl", "get", kinds, "-l", OFF_SWITCH, "-o", "name")
    for each in release.configurations:
        assert each.partition("/")[2] in selected


def test_requests_of_ours_get_the_priority_level_that_is_asked_for(release: Release) -> None:
    """As the API server itself says of a request that the controller's account makes."""
    account = f"system:serviceaccount:{release.name}:{release.name}-controller"
    uids = {
        kind: json.loads(run("kubectl", "get", f"{kind}/{name}", "-o", "json"))["metadata"]["uid"]
        for kind, name in (("flowschema", release.name), ("prioritylevelconfiguration", "workload-high"))
    }
    words = ("kubectl", "auth", "can-i", "list", "namespaces", "-v=9")
    for user, ours in ((account, True), (f"{account}-not", False)):
        groups = ("--as-group=system:serviceaccounts", "--as-group=system:authenticated")
        said = subprocess.run([*words, f"--as={user}", *groups], capture_output=True, text=True, check=False).stderr
        assert (uids["flowschema"] in said) is ours
        if ours:
            assert uids["prioritylevelconfiguration"] in said


def test_our_own_pods_meet_the_restricted_standard(release: Release) -> None:
    level = "pod-security.kubernetes.io/enforce=restricted"
    run("kubectl", "label", "namespace", release.name, level, "--overwrite")
    for component in ("admission", "controller"):
        deployment = json.loads(
            run("kubectl", "-n", release.name, "get", "deployment", f"{release.name}-{component}", "-o", "json")
        )
        template = deployment["spec"]["template"]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            **template,
            "metadata": {"name": component, "namespace": release.name},
        }
        assert "dry run" in run("kubectl", "create", "--dry-run=server", "-f", "-", stdin=json.dumps(pod))
    (test,) = (each for each in manifests(release.helm("template")) if each["kind"] == "Pod")
    assert "dry run" in run("kubectl", "create", "--dry-run=server", "-f", "-", stdin=json.dumps(test))


def test_an_upgrade_undoes_the_off_switch(release: Release) -> None:
    run("kubectl", "delete", *release.configurations)
    release.helm("upgrade")
    assert release.bundles() == [None] * 4  # until the controller, which watches them, publishes again


def test_uninstalling_takes_the_configurations_with_it(release: Release) -> None:
    run(release.program, "uninstall", release.name, "--namespace", release.name)
    for each in release.configurations:
        assert run("kubectl", "get", each, "--ignore-not-found") == ""
    left = run("kubectl", "get", "clusterroles,clusterrolebindings", "-o", "name")
    assert release.name not in left
