"""Plain manifests, kustomize, Argo CD and Flux: current, valid, and saying what the chart understands.

What a controller of either would find to correct is asked on a real API server: tests/e2e/test_gitops.py.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy import plain
from deploy.local import build
from tests.support import schemas
from tests.support.helm import CHART, TOOLS, Manifest, kubeconform, manifests, run, template

DEPLOY = CHART.parents[1] / "deploy"
ARGO_CD = DEPLOY / "argocd" / "application.yaml"
FLUX = DEPLOY / "flux" / "release.yaml"


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    """Helm, kubectl and kubeconform, built if they are not there."""
    build.ensure(TOOLS)


def _named(objects: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    return {(each["kind"], each["metadata"]["name"]): each for each in objects}


def test_the_plain_manifests_are_what_the_chart_renders() -> None:
    assert plain.MANIFESTS.read_text() == plain.rendered(), "run: make generate"


def test_the_examples_are_what_the_chart_renders() -> None:
    assert {path.name: path.read_text() for path in plain.EXAMPLES.glob("*.yaml")} == plain.examples(), "make generate"


def test_they_say_nothing_that_only_helm_reads() -> None:
    """No Helm release owns them, so none may be claimed."""
    assert "helm.sh" not in plain.MANIFESTS.read_text()
    assert "Helm" not in yaml.safe_dump_all(manifests(plain.MANIFESTS.read_text()))


@pytest.mark.parametrize("version", schemas.KUBERNETES)
def test_they_fit_the_api(version: str, tmp_path: Path) -> None:
    shutil.copy(plain.MANIFESTS, tmp_path)
    assert kubeconform(tmp_path, schemas.kubernetes(version), version=version) == []


def test_kustomize_makes_the_same_of_them() -> None:
    built = _named(manifests(run("kubectl", "kustomize", plain.MANIFESTS.parent)))
    assert built == _named(manifests(plain.MANIFESTS.read_text()))


def test_an_overlay_names_an_image_as_the_base_says(tmp_path: Path) -> None:
    """The image of every container of ours, and nothing else."""
    shutil.copytree(plain.MANIFESTS.parent, tmp_path / "base")
    (overlay := tmp_path / "overlay").mkdir()
    images = [{"name": "nonroot-webhook", "newName": "registry.example.com/nonroot-webhook", "newTag": "9"}]
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump({"resources": ["../base"], "images": images}))
    built = _named(manifests(run("kubectl", "kustomize", overlay)))
    pods = [each["spec"]["template"]["spec"] for (kind, _), each in built.items() if kind == "Deployment"]
    named = [container["image"] for pod in pods for container in pod["containers"]]
    assert named == ["registry.example.com/nonroot-webhook:9"] * 2


@pytest.mark.parametrize("document", [ARGO_CD, FLUX], ids=["Argo CD", "Flux"])
def test_it_fits_the_schema_of_its_controller(document: Path, tmp_path: Path) -> None:
    """All but HelmRelease, whose schema cannot be had: its module is not on the proxy."""
    known = [each for each in manifests(document.read_text()) if each["kind"] != "HelmRelease"]
    assert known
    (tmp_path / "known.yaml").write_text(yaml.safe_dump_all(known))
    assert kubeconform(tmp_path, schemas.foreign()) == []
    known[0]["spec"]["noSuchField"] = 1
    (tmp_path / "known.yaml").write_text(yaml.safe_dump_all(known))
    (complaint,) = kubeconform(tmp_path, schemas.foreign())
    assert "noSuchField" in complaint["msg"]


def _argo_cd() -> tuple[str, str, dict[str, Any]]:
    spec = yaml.safe_load(ARGO_CD.read_text())["spec"]
    return spec["source"]["path"], spec["destination"]["namespace"], spec["source"]["helm"]["valuesObject"]


def _flux() -> tuple[str, str, dict[str, Any]]:
    source, release = manifests(FLUX.read_text())
    chart = release["spec"]["chart"]["spec"]
    reference = {"kind": source["kind"], "name": source["metadata"]["name"]}
    assert chart["sourceRef"] == reference
    return chart["chart"], release["spec"]["targetNamespace"], release["spec"]["values"]


@pytest.mark.parametrize("read", [_argo_cd, _flux], ids=["Argo CD", "Flux"])
def test_the_chart_takes_its_values(read: Any) -> None:
    path, namespace, values = read()
    assert DEPLOY.parent / path == CHART
    rendered = template(namespace=namespace, **values)
    assert "registry.example.com/nonroot-webhook:" in rendered
