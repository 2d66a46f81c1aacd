"""The release workflow's own steps, run as GitHub's runner would: the real helm, but for its log-in and push."""

import os
import shutil
from pathlib import Path

import pytest
import yaml

from deploy.local import build
from deploy.local.errors import ClusterError
from deploy.rehearsal import registry
from deploy.rehearsal.workflow import Runner
from tests.support.helm import CHART, RELEASE, manifests, run

HELM = """\
#!/bin/sh
case $1 in
  registry) cat >/dev/null ;;
  push) echo "Pushed: $3"; [ "$REFUSED" = 1 ] && exit 1; echo "Digest: sha256:0123" ;;
  *) exec "$REAL_HELM" "$@" ;;
esac
"""
GH = '#!/bin/sh\necho "$*"\n'
VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="serves on port 443 and gives it a name in a mount namespace")


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """In a checkout of what the steps read."""
    shutil.copytree(CHART, tmp_path / "checkout" / "charts" / CHART.name)
    (tmp_path / "bin").mkdir()
    for name, text in (("helm", HELM), ("gh", GH)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "REAL_HELM": str(build.tools()["helm"].folder / "helm"),
        "GITHUB_ACTOR": "a",
        "GITHUB_REPOSITORY": "Some-Org/NonRoot",
        "GITHUB_REPOSITORY_OWNER": "Some-Org",
    }
    values = {"secrets.GITHUB_TOKEN": "x", "steps.version.outputs.version": VERSION}
    return Runner(tmp_path / "checkout", environment, values)


def test_the_steps_run_with_pipefail(runner: Runner) -> None:
    """A runner sets it for `bash` that is named, and not for the shell that it takes by itself."""
    assert runner.workflow["defaults"]["run"]["shell"] == "bash"
    assert runner.run({"run": "false | true"}).returncode != 0
    assert Runner(runner.checkout, {}, {}, workflow={}).run({"run": "false | true"}).returncode == 0


@pytest.mark.chart
def test_the_published_chart_names_the_published_image(runner: Runner) -> None:
    """In lower case, and with another registry in the place of the first alone."""
    build.ensure(["helm"])
    assert runner.run(runner.step("The names")).returncode == 0
    chart = runner.step("Chart")
    assert runner.run(chart, REFUSED="1").returncode != 0
    shutil.rmtree(runner.checkout / "charts")
    shutil.copytree(CHART, runner.checkout / "charts" / CHART.name)
    done = runner.run(chart, REFUSED="0")
    assert done.returncode == 0, done.stderr
    assert "Pushed: oci://ghcr.io/some-org/charts" in done.stderr
    assert runner.values["steps.chart.outputs.digest"] == "sha256:0123"
    (package,) = (runner.checkout / "dist").glob("*.tgz")
    for arguments, host in (((), "ghcr.io"), (("--set", "global.imageRegistry=harbor.example"), "harbor.example")):
        rendered = manifests(run("helm", "template", RELEASE, package, *arguments))
        images = {
            container["image"]
            for each in rendered
            if each["kind"] == "Deployment"
            for container in each["spec"]["template"]["spec"]["containers"]
        }
        assert images == {f"{host}/some-org/nonroot:{VERSION}"}


@pytest.mark.chart
@as_root
def test_a_chart_that_is_not_pushed_fails_the_step(runner: Runner, tmp_path: Path) -> None:
    """The real helm and a real registry, of the public one's name: nobody listens, a wrong token, and then it is there."""
    build.ensure(["helm"])
    shutil.copy(build.program("helm", "helm"), tmp_path / "bin" / "helm")
    with registry.serving(tmp_path / "registry") as serving:
        runner.inside = serving.inside
        runner.environment |= {**serving.environment(), "GITHUB_ACTOR": registry.USER}
        assert runner.run(runner.step("The names")).returncode == 0
        chart = runner.step("Chart")
        assert runner.run(chart).returncode != 0
        runner.values["secrets.GITHUB_TOKEN"] = registry.PASSWORD
        unheard = runner.run(chart, CHARTS=f"{serving.address}:1/charts")
        assert unheard.returncode != 0
        assert "Login Succeeded" in unheard.stdout + unheard.stderr
        assert "connection refused" in unheard.stderr
        assert "steps.chart.outputs.digest" not in runner.values
        done = runner.run(chart)
        assert done.returncode == 0, done.stderr
        assert runner.values["steps.chart.outputs.digest"].startswith("sha256:")


@as_root
def test_another_registry_at_the_address_is_not_taken_for_ours(tmp_path: Path) -> None:
    with (
        registry.serving(tmp_path / "one") as one,
        pytest.raises(ClusterError, match="address already in use"),
        registry.serving(tmp_path / "two", one.address),
    ):
        pass


@pytest.mark.parametrize(("tag", "latest"), [("v1.0.0", True), ("v1.0.0-rc.1", False)])
def test_a_candidate_is_never_the_latest_release(runner: Runner, tag: str, latest: bool) -> None:
    done = runner.run(runner.step("Release"), GITHUB_REF_NAME=tag)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"release create {tag} ")
    assert ("--prerelease --latest=false" not in done.stdout) is latest
