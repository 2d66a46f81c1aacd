"""The GitHub Action and the pre-commit hook: each installed from this repository and run on somebody's files."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
ACTION = ROOT / "deploy" / "action" / "action.yml"
ROOT_POD = """\
apiVersion: v1
kind: Pod
metadata: {name: root}
spec:
  containers:
    - name: app
      image: registry.example.com/app:1
      securityContext: {runAsUser: 0}
"""
CLEAN_POD = ROOT_POD.replace("runAsUser: 0", "runAsUser: 1000")


class Runner:
    """Runs the `run` steps of the action as GitHub's runner does: bash, inputs filled in, a folder of the user's."""

    def __init__(self, workspace: Path, temporary: Path) -> None:
        self.action = yaml.safe_load(ACTION.read_text())
        self.workspace = workspace
        self.temporary = temporary

    def step(self, name: str, **inputs: str) -> subprocess.CompletedProcess[str]:
        """One step, by the beginning of its name, with what the user gave under `with`."""
        (step,) = (each for each in self.action["runs"]["steps"] if each.get("name", "").startswith(name))
        assert step["shell"] == "bash"
        given = {key: str(value.get("default", "")) for key, value in self.action["inputs"].items()}
        given |= {key.replace("_", "-"): value for key, value in inputs.items()}
        env = {key: _filled(value, given) for key, value in step.get("env", {}).items()}
        assert "${{" not in step["run"]  # inputs come by the environment alone
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.workspace,
            env={**os.environ, "GITHUB_ACTION_PATH": str(ACTION.parent), "RUNNER_TEMP": str(self.temporary), **env},
            capture_output=True,
            text=True,
            check=False,
        )


def _filled(value: str, given: dict[str, str]) -> str:
    return re.sub(r"\$\{\{ inputs\.([\w-]+) }}", lambda match: given[match[1]], value)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Somebody's repository: one Pod that runs as root, one that does not."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "root pod.yaml").write_text(ROOT_POD)
    (folder / "clean.yaml").write_text(CLEAN_POD)
    return folder


@pytest.fixture
def runner(workspace: Path, tmp_path: Path) -> Runner:
    """With this checkout's own command where the action's first step would install it."""
    programs = tmp_path / "temporary" / "nonroot" / "bin"
    programs.mkdir(parents=True)
    (programs / "nonroot").symlink_to(Path(sys.executable).with_name("nonroot"))
    return Runner(workspace, tmp_path / "temporary")


def test_it_annotates_the_line_and_fails_the_job(runner: Runner) -> None:
    done = runner.step("Check", images="false")
    assert done.returncode == 1
    assert re.search(r"^::error .*file=root pod.yaml,line=\d+", done.stdout, re.MULTILINE)


def test_it_takes_one_path_a_line(runner: Runner) -> None:
    """Names with spaces are names; empty lines, which YAML blocks end in, are nothing."""
    assert runner.step("Check", images="false", paths="clean.yaml\n\n").returncode == 0
    assert runner.step("Check", images="false", paths="clean.yaml\nroot pod.yaml\n").returncode == 1


def test_what_looks_like_a_command_or_an_option_is_a_path(runner: Runner, workspace: Path) -> None:
    done = runner.step("Check", images="false", paths="$(touch pwned)\n--help")
    assert done.returncode == 2
    assert not (workspace / "pwned").exists()


def test_it_writes_sarif_instead(runner: Runner, workspace: Path) -> None:
    done = runner.step("Check", images="false", sarif="found.sarif")
    assert (done.returncode, done.stdout) == (1, "")
    assert '"ruleId":"root-user"' in (workspace / "found.sarif").read_text().replace(": ", ":")


def test_a_policy_of_the_users_counts(runner: Runner, workspace: Path) -> None:
    policy = {
        "apiVersion": "nonroot.dev/v1alpha1",
        "kind": "NonRootPolicy",
        "metadata": {"name": "lenient"},
        "spec": {"rootImages": "Allow", "exemptions": {"images": ["registry.example.com/*"]}},
    }
    (workspace / "policy.yml").write_text(yaml.safe_dump(policy))
    assert runner.step("Check", images="false", policy="policy.yml", paths="root pod.yaml").returncode == 0


@pytest.mark.index
@pytest.mark.timeout(600)
def test_it_installs_what_it_runs(workspace: Path, tmp_path: Path) -> None:
    runner = Runner(workspace, tmp_path)
    installed = runner.step("Install")
    assert installed.returncode == 0, installed.stderr
    assert runner.step("Check", images="false", paths="clean.yaml").returncode == 0


def _git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


@pytest.mark.index
@pytest.mark.timeout(600)
def test_the_hook_runs_in_somebodys_repository(workspace: Path, tmp_path: Path) -> None:
    """`pre-commit` clones, installs and runs it; the repository that it clones is what is here, committed or not."""
    ours = tmp_path / "ours"
    ignored = shutil.ignore_patterns(
        *(".git", ".venv*", "__pycache__", ".*_cache", "tests", "charts"),
        *(".coverage*", ".hypothesis", "dist", "readiness.html"),  # what else is made here
    )
    shutil.copytree(ROOT, ours, ignore=ignored)
    for folder in (ours, workspace):
        _git(folder, "init", "--quiet")
        _git(folder, "add", "--all")
        _git(folder, "commit", "--quiet", "--message", "all of it")
    command = [sys.executable, "-m", "pre_commit", "try-repo", str(ours), "nonroot-check", "--all-files"]
    env = {**os.environ, "PRE_COMMIT_HOME": str(tmp_path / "hooks")}
    done = subprocess.run(command, cwd=workspace, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "root pod.yaml" in done.stdout
    assert "runs as root" in done.stdout
    (workspace / "root pod.yaml").write_text(CLEAN_POD)
    _git(workspace, "commit", "--quiet", "--all", "--message", "cured")
    done = subprocess.run(command, cwd=workspace, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Passed" in done.stdout


def test_the_hooks_file_is_one() -> None:
    command = [sys.executable, "-m", "pre_commit", "validate-manifest", str(ROOT / ".pre-commit-hooks.yaml")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
