"""Workflows, the action and Dependabot's file: what GitHub would read, by the tools that know its rules."""

import re
from pathlib import Path

import pytest
import yaml

from tests.support.builtin_schemas import complaints

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTION = ROOT / "deploy" / "action" / "action.yml"
DEPENDABOT = ROOT / ".github" / "dependabot.yml"
FILES = [*WORKFLOWS, ACTION, DEPENDABOT]


@pytest.mark.parametrize(
    ("schema", "files"),
    [("github-workflows", WORKFLOWS), ("github-actions", [ACTION]), ("dependabot", [DEPENDABOT])],
)
def test_it_fits_the_schema(schema: str, files: list[Path]) -> None:
    assert complaints(schema, files) == ""


def test_whatever_is_used_is_pinned_to_a_commit_with_its_version_beside_it() -> None:
    """A tag can be moved to somebody else's code; a commit cannot."""
    used = [
        line.strip() for path in FILES for line in path.read_text().splitlines() if re.match(r"\s*-? ?uses: ", line)
    ]
    loose = [line for line in used if not re.search(r"uses: (\./|[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$)", line)]
    assert used
    assert loose == []


def test_workflows_may_do_only_what_they_need() -> None:
    for path in WORKFLOWS:
        assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}, path.name


def test_the_workflows_run_what_a_laptop_runs() -> None:
    """Every make target and script that they name is there."""
    text = "".join(path.read_text() for path in WORKFLOWS)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for line in re.findall(r"\bmake ([a-z][a-z -]*[a-z])$", text, re.MULTILINE) for word in line.split()}
    assert {"check", "unit", "test", "sbom"} <= named <= targets
    for script in re.findall(r"deploy/[\w/]+\.sh", text):
        assert (ROOT / script).is_file()


def test_every_supported_kubernetes_is_tried() -> None:
    """From the oldest that the chart takes to the newest whose schemas it is checked against, each by its digest."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
    tried = workflow["jobs"]["kind"]["strategy"]["matrix"]["node"]
    chart = yaml.safe_load((ROOT / "charts" / "nonroot-webhook" / "Chart.yaml").read_text())
    first = int(re.findall(r"1\.(\d+)", chart["kubeVersion"])[0])
    minors = [re.fullmatch(r"v1\.(\d+)\.\d+@sha256:[0-9a-f]{64}", node) for node in tried]
    assert [int(minor[1]) for minor in minors if minor] == list(range(first, 37))


def test_the_base_of_the_image_is_the_one_that_dependabot_moves() -> None:
    """By tag and digest, in a folder that it reads."""
    (docker,) = (
        each for each in yaml.safe_load(DEPENDABOT.read_text())["updates"] if each["package-ecosystem"] == "docker"
    )
    (base,) = re.findall(r"^FROM (\S+)$", (ROOT / docker["directory"][1:] / "Dockerfile").read_text(), re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)
    bases = re.findall(r"^ARG (?:BUILD|RUNTIME)_BASE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert bases == [base, base], "copy the FROM line of deploy/base/Dockerfile into both arguments"


def test_dependabot_finds_every_pinned_thing() -> None:
    """Each ecosystem that has files, and each folder with a go.mod."""
    updates = yaml.safe_load(DEPENDABOT.read_text())["updates"]
    assert {each["package-ecosystem"] for each in updates} == {"pip", "docker", "github-actions", "gomod"}
    (globs,) = (each["directories"] for each in updates if each["package-ecosystem"] == "gomod")
    covered = {path for pattern in globs for path in ROOT.glob(pattern.lstrip("/"))}
    assert {path.parent for path in ROOT.glob("[!.]*/**/go.mod")} - covered == set()
