"""Helm, kubeconform and kubectl as the tests use them: the programs that deploy/local builds, on this chart."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from deploy.local import build
from tests.support import schemas

CHART = Path(__file__).resolve().parents[2] / "charts" / "nonroot-webhook"
RELEASE, NAMESPACE = "nonroot", "nonroot-system"
OUR_KINDS = ("NonRootPolicy", "NonRootException", "ImageIdentity")
TOOLS = ("helm", "helm-unittest", "kubeconform", "kubernetes")

Manifest = dict[str, Any]


class ProgramError(Exception):
    """A program failed; the text is what it said."""


def run(*command: str | Path, stdin: str = "") -> str:
    """Run one of the built programs and return what it printed; `ProgramError` where it fails."""
    folders = [str(build.tools()[name].folder) for name in TOOLS]
    env = {
        **os.environ,
        "PATH": os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)]),
        "HELM_PLUGINS": str(build.tools()["helm-unittest"].folder),
    }
    words = [str(word) for word in command]
    done = subprocess.run(words, input=stdin, env=env, text=True, capture_output=True, check=False)
    if done.returncode:
        raise ProgramError(f"{' '.join(words)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def template(
    values: Path | None = None,
    *,
    program: str = "helm",
    kubernetes: str = schemas.KUBERNETES[0],
    namespace: str = NAMESPACE,
    **given: Any,
) -> str:
    """Render the chart as for a cluster of that version that knows our kinds; `given` are values, `values` a file of them."""
    command: list[str | Path] = [
        program,
        "template",
        RELEASE,
        CHART,
        "--namespace",
        namespace,
        "--kube-version",
        kubernetes,
    ]
    for kind in OUR_KINDS:
        command += ["--api-versions", f"nonroot.dev/v1alpha1/{kind}"]
    if values is not None:
        command += ["--values", values]
    return run(*command, "--values", "-", stdin=json.dumps(given))


def kubeconform(folder: Path, *locations: str, version: str = schemas.KUBERNETES[0]) -> list[Manifest]:
    """What kubeconform has to complain about in the YAML files of a folder, by the schemas of some locations."""
    command = ["kubeconform", "-strict", "-output", "json", "-kubernetes-version", version]
    for location in locations:
        command += ["-schema-location", location]
    try:
        run(*command, folder)
    except ProgramError as error:
        report = json.loads(str(error).partition("\n")[2])
        return [each for each in report["resources"] if each["status"] != "statusValid"]
    return []


def manifests(rendered: str) -> list[Manifest]:
    """The objects in what `template` returned."""
    return [each for each in yaml.load_all(rendered, yaml.CSafeLoader) if each]


def pick(rendered: str, kind: str, name: str) -> Manifest:
    """One of them."""
    (found,) = (each for each in manifests(rendered) if each["kind"] == kind and each["metadata"]["name"] == name)
    return found


def controllers_rights(**values: Any) -> list[dict[str, Any]]:
    """What the chart grants the controller, in the whole cluster and in its own namespace, where others make certificates."""
    rendered = manifests(template(certificates={"mode": "certManager"}, **values))
    roles = [each for each in rendered if each["kind"] in {"ClusterRole", "Role"}]
    return [rule for role in roles if role["metadata"]["name"].endswith("-controller") for rule in role["rules"]]
