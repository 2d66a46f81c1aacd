"""Kustomizations and charts are evaluated by what they render to, where that is asked for and can be done."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from tests.unit.check.files import POD
from webhook.check.rendering import rendered
from webhook.check.report import Skipped
from webhook.check.run import Request, check
from webhook.image.source import NotExamined

ROOT = POD.replace("runAsNonRoot: true", "runAsUser: 0")
CHART = "apiVersion: v2\nname: web\nversion: 1.0.0\n"


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A chart with a subchart, and an overlay of a base, below the working directory."""
    for name, text in {
        "chart/Chart.yaml": CHART,
        "chart/templates/pod.yaml": ROOT.replace("name: web", "name: {{ .Release.Name }}"),
        "chart/charts/sub/Chart.yaml": CHART,
        "base/kustomization.yaml": "resources: [pod.yaml]\n",
        "base/pod.yaml": ROOT,
        "overlay/kustomization.yaml": "resources: [../base]\nnamePrefix: a-\npatches: [{path: patch.yaml}]\n",
        "overlay/patch.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec: {}\n",
        "more/Dockerfile": "FROM a\nUSER 5\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


async def run(path: str = ".") -> tuple[list[str], list[tuple[str, str]]]:
    """Where something was found, and what was skipped."""
    report = await check(Request((path,), render=True), NotExamined())
    return [each.path for each in report.findings], [(each.path, each.reason) for each in report.skipped]


async def test_each_is_rendered_once_and_its_inputs_are_not_evaluated_by_themselves(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a subchart, nor the base and the patch of an overlay; a Dockerfile beside them is."""
    bin_, log, pod = files / "bin", files / "log", files / "rendered.txt"
    pod.write_text(ROOT)
    for name in ("helm", "kubectl"):
        program(bin_, name, f'echo "{name} $*" >> {log}; cat {pod}')
    monkeypatch.setenv("PATH", f"{bin_}:{os.defpath}")
    found, skipped = await run()
    assert (found, skipped) == (["chart", "overlay"], [])
    assert log.read_text().splitlines() == ["helm template ./chart", "kubectl kustomize ./overlay"]


async def test_what_cannot_be_rendered_is_skipped_with_the_reason(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(files / "bin", "kustomize", 'echo "no such resource" >&2; exit 3')
    for name in ("sh",):
        (files / "bin" / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(files / "bin"))
    found, skipped = await run()
    assert found == []
    assert skipped == [
        ("chart/Chart.yaml", "it cannot be rendered: helm is not installed"),
        ("overlay/kustomization.yaml", "kustomize build ./overlay says: no such resource"),
    ]


def test_what_is_neither_is_left_alone() -> None:
    skip = Skipped("a.yaml", 1, "why")
    assert list(rendered([skip])) == [skip]


@pytest.mark.skipif(not shutil.which("kubectl"), reason="needs kubectl")
async def test_the_real_kubectl_renders_an_overlay(files: Path) -> None:
    """With its name prefix, by which the finding names the object."""
    report = await check(Request(("overlay",), render=True), NotExamined())
    assert report.skipped == ()
    ((path, about),) = [(each.path, each.object) for each in report.findings]
    assert (path, about and about.name) == ("overlay", "a-web"), files
