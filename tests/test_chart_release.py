"""A real `helm install`, upgrade and uninstall of the chart, beside whatever else is installed on the cluster.

The webhook configurations have fixed names and the cluster may hold them already, so this is a copy of the chart in which
they have others; its hooks select no namespace. What is looked at is what Helm, the controller and a GitOps tool do to
the objects; the program itself runs in the end-to-end tests.
"""

import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from deploy.local import build
from tests.support.helm import CHART, TOOLS, Manifest, manifests, run

pytestmark = [
    pytest.mark.chart,
    pytest.mark.cluster,
    pytest.mark.skipif("not os.environ.get('KUBECONFIG')", reason="needs KUBECONFIG: make test starts a cluster"),
]

NOWHERE = {"nonroot.dev/test": "selects-nothing"}
CA = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1BPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo="
OFF_SWITCH = "app.kubernetes.io/part-of=nonroot-webhook"


class Release(msgspec.Struct, frozen=True):
    """An installed copy of the chart, with names that nobody else has."""

    chart: Path
    name: str  # of the release, its namespace, and its objects

    @property
    def configurations(self) -> tuple[str, str]:
        """As kubectl takes them."""
        return f"mutatingwebhookconfiguration/zz-{self.name}", f"validatingwebhookconfiguration/{self.name}"

    def helm(self, *words: str, timeout: int = 5) -> str:
        """`helm install`, `upgrade` or `template` with this release's values."""
        values = {
            "fullnameOverride": self.name,
            "crds": {"install": False},
            "webhook": {"timeoutSeconds": timeout, "namespaceSelector": {"matchLabels": NOWHERE}},
        }
        return run("helm", *words, self.name, self.chart, "-n", self.name, "--values", "-", stdin=json.dumps(values))

    def read(self, configuration: str) -> Manifest:
        """A webhook configuration as it is now."""
        found: Manifest = json.loads(run("kubectl", "get", configuration, "-o", "json", "--show-managed-fields"))
        return found

    def bundles(self) -> list[str | None]:
        """The caBundle of every hook."""
        hooks = [hook for each in self.configurations for hook in self.read(each)["webhooks"]]
        return [hook["clientConfig"].get("caBundle") for hook in hooks]

    def publish(self, bundle: str) -> None:
        """Write the CA as the controller does: that one field, by server-side apply."""
        for each in self.configurations:
            now = self.read(each)
            given = {
                "apiVersion": now["apiVersion"],
                "kind": now["kind"],
                "metadata": {"name": now["metadata"]["name"]},
                "webhooks": [{"name": hook["name"], "clientConfig": {"caBundle": bundle}} for hook in now["webhooks"]],
            }
            apply(given, "nonroot-operate")


def apply(given: object, manager: str) -> None:
    """Server-side apply."""
    command = ("kubectl", "apply", "--server-side", "--force-conflicts", "--validate=false", "--field-manager", manager)
    run(*command, "-f", "-", stdin=json.dumps(given))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    build.ensure(TOOLS)
    name = f"release-{uuid.uuid4().hex[:8]}"
    chart = tmp_path_factory.mktemp("chart") / "nonroot-webhook"
    shutil.copytree(CHART, chart)
    helpers = chart / "templates" / "_helpers.tpl"
    text = helpers.read_text()
    for configuration in ("zz-nonroot-webhook", "nonroot-webhook"):
        line = f"\n{configuration}\n"
        assert text.count(line) == 1
        text = text.replace(line, f"\n{configuration.replace('nonroot-webhook', name)}\n")
    helpers.write_text(text)
    made = Release(chart, name)
    made.helm("install", "--create-namespace")
    yield made
    run("helm", "uninstall", name, "--namespace", name, "--ignore-not-found")
    run("kubectl", "delete", "namespace", name, "--ignore-not-found", "--wait=false")


def test_a_fresh_install_has_no_ca_and_the_handle_of_the_off_switch(release: Release) -> None:
    assert release.bundles() == [None] * 4
    kinds = "mutatingwebhookconfigurations,validatingwebhookconfigurations"
    selected = run("kubectl", "get", kinds, "-l", OFF_SWITCH, "-o", "name")
    for each in release.configurations:
        assert each.partition("/")[2] in selected


def test_an_upgrade_and_a_gitops_tool_leave_the_ca_alone(release: Release) -> None:
    release.publish(CA)
    assert release.bundles() == [CA] * 4
    release.helm("upgrade", timeout=4)
    assert release.bundles() == [CA] * 4
    assert {hook["timeoutSeconds"] for each in release.configurations for hook in release.read(each)["webhooks"]} == {4}
    before = [release.read(each) for each in release.configurations]
    for each in manifests(release.helm("template", timeout=4)):
        if each["kind"].endswith("WebhookConfiguration"):
            apply(each, "argocd-controller")
    after = [release.read(each) for each in release.configurations]
    assert [each["webhooks"] for each in after] == [each["webhooks"] for each in before]
    owners = [
        entry["manager"]
        for each in after
        for entry in each["metadata"]["managedFields"]
        if "f:caBundle" in json.dumps(entry["fieldsV1"])
    ]
    assert owners == ["nonroot-operate"] * 2


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
    run("helm", "uninstall", release.name, "--namespace", release.name)
    for each in release.configurations:
        assert run("kubectl", "get", each, "--ignore-not-found") == ""
    left = run("kubectl", "get", "clusterroles,clusterrolebindings", "-o", "name")
    assert release.name not in left
