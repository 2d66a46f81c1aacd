"""The GitLab component's script, run on somebody's files, and the Terraform example against the chart's own values."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import hcl2
import yaml

from tests.integration.packaging.test_action_and_hook import ROOT_POD

ROOT = Path(__file__).resolve().parents[3]
COMPONENT = ROOT / "deploy" / "gitlab" / "templates" / "nonroot-check.yml"
TERRAFORM = ROOT / "deploy" / "terraform" / "main.tf"
VALUES = ROOT / "charts" / "nonroot-webhook" / "values.yaml"


def _job(**inputs: str) -> dict[str, Any]:
    """The component's job with its inputs filled in, as GitLab does it before anything runs."""
    specification, text = COMPONENT.read_text(encoding="utf-8").split("\n---\n")
    given = {name: each["default"] for name, each in yaml.safe_load(specification)["spec"]["inputs"].items()} | inputs
    filled = re.sub(r"\$\[\[ inputs\.([\w-]+) \]\]", lambda match: given[match[1]], text)
    job: dict[str, Any] = yaml.safe_load(filled)["nonroot-check"]
    return job


def test_the_component_reports_the_line_and_fails_the_job(tmp_path: Path) -> None:
    """`pip install` is left out: the environment has this checkout's own command already."""
    (tmp_path / "pod.yaml").write_text(ROOT_POD)
    programs = tmp_path / ".nonroot" / "bin"
    programs.mkdir(parents=True)
    (programs / "nonroot").symlink_to(Path(sys.executable).with_name("nonroot"))
    job = _job(paths="pod.yaml")
    environment, install, check = job["script"]
    assert environment == "python3 -m venv .nonroot"
    assert install == '.nonroot/bin/pip install --quiet "$NONROOT_SOURCE"'
    variables = {**os.environ, **job["variables"]}
    done = subprocess.run(
        ["bash", "-c", check], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    (finding, *_) = json.loads((tmp_path / job["artifacts"]["reports"]["codequality"]).read_text())
    assert finding["check_name"] == "root-user"
    assert finding["location"] == {"path": "pod.yaml", "lines": {"begin": 8}}


def test_every_value_of_the_terraform_example_is_the_charts() -> None:
    document = hcl2.loads(TERRAFORM.read_text(encoding="utf-8"))
    releases = [each for each in document["resource"] if '"helm_release"' in each]
    (release,) = [next(iter(each['"helm_release"'].values())) for each in releases]
    assert release["chart"] == '"${path.module}/../../charts/nonroot-webhook"'
    (given,) = release["values"]
    names = re.findall(r"\b(\w+) ?[=:] ?", given)
    values = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
    assert names == ["image", "registry", "digest", "replicaCount"]
    assert {"image", "replicaCount"} <= values.keys()
    assert {"registry", "digest"} <= values["image"].keys()
