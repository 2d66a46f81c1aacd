"""The release workflow's own steps, run as GitHub's runner would: the real helm, but for its log-in and push."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.local import build
from tests.support.helm import CHART, RELEASE, manifests, run

ROOT = CHART.parent.parent
STEPS = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]["release"]["steps"]
HELM = """\
#!/bin/sh
case $1 in
  registry) cat >/dev/null ;;
  push) echo "Pushed: $3"; [ "$REFUSED" = 1 ] && exit 1; echo "Digest: sha256:0123" ;;
  *) exec "$REAL_HELM" "$@" ;;
esac
"""
GH = '#!/bin/sh\necho "$*"\n'


class Runner:
    """A checkout of what the steps read, and the files by which they hand on names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(CHART, folder / "charts" / CHART.name)
        (folder / "bin").mkdir()
        for name, text in (("helm", HELM), ("gh", GH)):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        self.environment = {"GITHUB_ENV": str(folder / "env"), "GITHUB_OUTPUT": str(folder / "output")}

    def run(self, name: str, **more: str) -> subprocess.CompletedProcess[str]:
        """The step whose name begins so, after which its variables are set."""
        (step,) = (each for each in STEPS if each.get("name", "").startswith(name))
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.folder,
            env={"PATH": path, "HOME": str(self.folder), **self.environment, **more},
            capture_output=True,
            text=True,
            check=False,
        )
        if (made := self.folder / "env").exists():
            self.environment |= dict(line.split("=", 1) for line in made.read_text().splitlines())
        return done


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def test_the_steps_run_with_pipefail() -> None:
    """A runner sets it for `bash` that is named, and not for the shell that it takes by itself."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    assert workflow["defaults"]["run"]["shell"] == "bash"


@pytest.mark.chart
def test_the_published_chart_names_the_published_image(runner: Runner) -> None:
    """In lower case, and with another registry in the place of the first alone."""
    build.ensure(["helm"])
    names = {"GITHUB_REPOSITORY": "Some-Org/NonRoot", "GITHUB_REPOSITORY_OWNER": "Some-Org"}
    assert runner.run("The names", **names).returncode == 0
    helm = build.program("helm", "helm")
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    settings = {"TOKEN": "x", "VERSION": version, "GITHUB_ACTOR": "a", "REAL_HELM": helm}
    refused = runner.run("Chart", **settings, REFUSED="1")
    assert refused.returncode != 0
    shutil.rmtree(runner.folder / "charts")
    shutil.copytree(CHART, runner.folder / "charts" / CHART.name)
    done = runner.run("Chart", **settings, REFUSED="0")
    assert done.returncode == 0, done.stderr
    assert "Pushed: oci://ghcr.io/some-org/charts" in done.stderr
    assert (runner.folder / "output").read_text() == "digest=sha256:0123\n"
    (package,) = (runner.folder / "dist").glob("*.tgz")
    for arguments, registry in (((), "ghcr.io"), (("--set", "global.imageRegistry=harbor.example"), "harbor.example")):
        rendered = manifests(run("helm", "template", RELEASE, package, *arguments))
        images = {
            container["image"]
            for each in rendered
            if each["kind"] == "Deployment"
            for container in each["spec"]["template"]["spec"]["containers"]
        }
        assert images == {f"{registry}/some-org/nonroot:{version}"}


@pytest.mark.parametrize(("tag", "latest"), [("v1.0.0", True), ("v1.0.0-rc.1", False)])
def test_a_candidate_is_never_the_latest_release(runner: Runner, tag: str, latest: bool) -> None:
    done = runner.run("Release", GITHUB_REF_NAME=tag)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"release create {tag} ")
    assert ("--prerelease --latest=false" not in done.stdout) is latest
