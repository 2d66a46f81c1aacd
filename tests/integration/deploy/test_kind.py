"""deploy/kind, as far as it goes without kind's node image: every program is a recorder, except Helm's rendering."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest
import yaml

from deploy.kind import engine
from tests.support.helm import CHART

ROOT = CHART.parent.parent
KIND = ROOT / "deploy" / "kind"
SEPARATOR = "\x1f"
RECORDER = """\
#!/bin/sh
{ printf '%s' "${0##*/}"; printf '\\037%s' "$@"; echo; } >>"$RECORD"
case "${0##*/} $*" in
  "docker container inspect"*) exit "$MISSING" ;;
  "docker image inspect"*) echo sha256:0123456789abcdef ;;
  "docker image ls"*) printf 'nonroot-webhook:%s\\n' dev mine 0123456789ab fedcba987654 ;;
  "docker exec"*" images list") cat "$HOME/images" ;;
  "kind create cluster"*) cat >"$HOME/configuration"; exit "${NO_CLUSTER:-0}" ;;
  "docker pull"*) exit "${NO_HUB:-0}" ;;
  "docker build"*) echo "$DOCKER_BUILDKIT" >>"$HOME/buildkit" ;;
  "kind get clusters") [ "$MISSING" = 1 ] || echo nonroot ;;
  "kind get nodes"*) printf 'nonroot-control-plane\\nnonroot-worker\\n' ;;
  "docker network inspect kind"*) echo fc00:f853::1 172.18.0.1 ;;
esac
"""

IMAGES = """\
REF TYPE DIGEST SIZE PLATFORMS LABELS
docker.io/library/nonroot-webhook:0123456789ab application/json sha256:new 1.0 MiB linux/amd64 -
docker.io/library/nonroot-webhook:fedcba987654 application/json sha256:old 1.0 MiB linux/amd64 -
docker.io/library/nonroot-webhook-tests:1 application/json sha256:other 1.0 MiB linux/amd64 -
import-2026-11-30@sha256:new application/json sha256:new 1.0 MiB linux/amd64 -
import-2026-11-30@sha256:old application/json sha256:old 1.0 MiB linux/amd64 -
sha256:fedcba9876543210 application/json sha256:old 1.0 MiB linux/amd64 -
"""


class Recorded(msgspec.Struct, frozen=True):
    """What a script ran, in order, and how it ended."""

    code: int
    said: str
    commands: list[list[str]]

    def first(self, *words: str) -> int:
        """The position of the first command that begins like this."""
        return next(place for place, command in enumerate(self.commands) if tuple(command[: len(words)]) == words)

    def has(self, *words: str) -> bool:
        """Whether any command begins like this."""
        return any(tuple(command[: len(words)]) == words for command in self.commands)


def _record(
    script: str,
    folder: Path,
    *,
    missing: bool,
    programs: str = "docker kind kubectl helm",
    settings: Mapping[str, str] | None = None,
) -> Recorded:
    """Run a script with recorders for `programs`; `missing` says that neither cluster nor registry is there yet."""
    command = ["bash", str(KIND / script)]
    return _run(command, folder, missing=missing, programs=programs, settings=settings)


def _run(
    command: Sequence[str], folder: Path, *, missing: bool, programs: str, settings: Mapping[str, str] | None
) -> Recorded:
    for name in programs.split():
        (folder / name).write_text(RECORDER)
        (folder / name).chmod(0o755)
    for name in (
        "bash",
        "sh",
        "env",
        "dirname",
        "grep",
        "awk",
        "cat",
        "mkdir",
        "mv",
        "sed",
        "xargs",
    ):  # all that the scripts need besides
        (folder / name).symlink_to(shutil.which(name) or name)
    (folder / "images").write_text(IMAGES)
    record = folder / "record"
    record.touch()
    env = {
        "PATH": str(folder),
        "RECORD": str(record),
        "MISSING": str(int(missing)),
        "HOME": str(folder),
        **(settings or {}),
    }
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    commands = [line.split(SEPARATOR) for line in record.read_text().splitlines()]
    return Recorded(done.returncode, done.stdout + done.stderr, commands)


def test_it_makes_what_is_missing_before_it_installs(tmp_path: Path) -> None:
    recorded = _record("up.sh", tmp_path, missing=True)
    assert recorded.code == 0, recorded.said
    order = [
        recorded.first("kind", "create", "cluster"),
        recorded.first("docker", "run"),
        recorded.first("docker", "exec"),
        recorded.first("kubectl", "--context", "kind-nonroot", "--namespace", "kube-system", "rollout", "status"),
        recorded.first("docker", "build"),
        recorded.first("kind", "load", "docker-image", "nonroot-webhook:0123456789ab"),
        recorded.first("helm", "upgrade", "--install"),
        recorded.first("kubectl", "--context", "kind-nonroot", "wait"),
        recorded.first("kubectl", "--context", "kind-nonroot", "label"),
    ]
    assert order == sorted(order)
    assert "nonroot.dev/mode=enforce" in recorded.commands[order[-1]]


def test_a_cluster_that_does_not_start_shows_why_and_is_gone(tmp_path: Path) -> None:
    """The nodes' logs come before they are deleted; nothing is built or installed."""
    recorded = _record("up.sh", tmp_path, missing=True, settings={"NO_CLUSTER": "1"})
    assert recorded.code == 1
    created = recorded.first("kind", "create", "cluster", "--retain")
    assert [command[:3] for command in recorded.commands[created + 1 :]] == [
        ["kind", "get", "nodes"],
        ["docker", "exec", "nonroot-control-plane"],
        ["docker", "exec", "nonroot-worker"],
        ["kind", "delete", "cluster"],
    ]


def test_it_makes_nothing_twice(tmp_path: Path) -> None:
    recorded = _record("up.sh", tmp_path, missing=False)
    assert recorded.code == 0, recorded.said
    assert not recorded.has("docker", "run")
    assert not recorded.has("kind", "create")
    assert recorded.has("helm", "upgrade", "--install")


def test_it_touches_no_cluster_but_its_own(tmp_path: Path) -> None:
    recorded = _record("up.sh", tmp_path, missing=True)
    for command in recorded.commands:
        if command[0] == "kubectl":
            assert command[1:3] == ["--context", "kind-nonroot"]
        if command[0] == "helm":
            assert command[command.index("--kube-context") + 1] == "kind-nonroot"


def test_the_environment_names_the_cluster_and_its_registry(tmp_path: Path) -> None:
    """By an address, because the machine that pushes does not ask Docker's DNS; nodes know it as a plain registry."""
    recorded = _record("cluster.sh", tmp_path, missing=True)
    kubeconfig = tmp_path / ".cache" / "nonroot-webhook" / "kind.kubeconfig"
    assert recorded.said == f"export KUBECONFIG='{kubeconfig}' NONROOT_REGISTRY='172.18.0.1:5000'\n"
    assert kubeconfig.stat().st_mode & 0o777 == 0o600
    for node in ("nonroot-control-plane", "nonroot-worker"):
        for name in ("nonroot-registry:5000", "172.18.0.1:5000"):
            hosts = f"/etc/containerd/certs.d/{name}/hosts.toml"
            assert recorded.has("docker", "exec", "--interactive", node, "tee", hosts)


def test_it_names_the_program_that_is_missing(tmp_path: Path) -> None:
    recorded = _record("up.sh", tmp_path, missing=True, programs="docker kubectl helm")
    assert recorded.code == 1
    assert recorded.said == "kind is needed and not on the PATH; without Docker: make cluster\n"
    assert recorded.commands == []


def test_it_ends_what_it_started_and_nothing_else(tmp_path: Path) -> None:
    recorded = _record("down.sh", tmp_path, missing=False)
    assert recorded.commands == [
        ["kind", "delete", "cluster", "--name", "nonroot"],
        ["docker", "container", "inspect", "nonroot-registry"],
        ["docker", "rm", "--force", "--volumes", "nonroot-registry"],
    ]


def test_the_configuration_is_the_one_that_the_scripts_speak_of() -> None:
    configuration = yaml.safe_load((KIND / "cluster.yaml").read_text())
    assert (configuration["kind"], configuration["apiVersion"]) == ("Cluster", "kind.x-k8s.io/v1alpha4")
    assert configuration["name"] == "nonroot"
    assert [node["role"] for node in configuration["nodes"]] == ["control-plane"]


@pytest.mark.parametrize(("nodes", "workers"), [("", 2), ("1", 0), ("2", 1)])
def test_there_are_as_many_nodes_as_are_asked_for(tmp_path: Path, nodes: str, workers: int) -> None:
    recorded = _record("cluster.sh", tmp_path, missing=True, settings={"NODES": nodes})
    assert recorded.code == 0, recorded.said
    configuration = yaml.safe_load((tmp_path / "configuration").read_text())
    assert [node["role"] for node in configuration["nodes"]] == ["control-plane", *["worker"] * workers]


def test_a_version_is_the_image_that_the_workflow_names(tmp_path: Path) -> None:
    recorded = _record("cluster.sh", tmp_path, missing=True, settings={"KUBERNETES": "1.35"})
    command = recorded.commands[recorded.first("kind", "create", "cluster")]
    node = command[command.index("--image") + 1]
    assert node.startswith("kindest/node:v1.35.")
    assert node.removeprefix("kindest/node:") in (ROOT / ".github" / "workflows" / "test.yml").read_text()


@pytest.mark.parametrize("version", ["1.3", "1.99", "v1.35"])
def test_a_version_that_is_not_listed_is_refused(tmp_path: Path, version: str) -> None:
    recorded = _record("cluster.sh", tmp_path, missing=True, settings={"KUBERNETES": version})
    assert recorded.code == 1
    assert f"KUBERNETES={version} is not among the versions" in recorded.said
    assert recorded.commands == []


def test_bases_are_arguments(tmp_path: Path) -> None:
    """Each to the build that it is for, and BuildKit is asked for by name."""
    settings = {"BUILD_BASE": "localhost/a:1", "RUNTIME_BASE": "localhost/b:1", "DEMO_BASE": "localhost/c:1"}
    recorded = _record("up.sh", tmp_path, missing=True, settings=settings)
    builds = [command for command in recorded.commands if command[:2] == ["docker", "build"]]
    assert [word for command in builds for word in command if "BASE=" in word] == [
        "BUILD_BASE=localhost/a:1",
        "RUNTIME_BASE=localhost/b:1",
        "BASE=localhost/c:1",
        "BASE=localhost/c:1",
    ]
    assert (tmp_path / "buildkit").read_text() == "1\n" * 3


def test_an_image_that_is_there_is_not_built(tmp_path: Path) -> None:
    recorded = _record("up.sh", tmp_path, missing=True, settings={"IMAGE": "localhost/ours:1"})
    assert recorded.has("docker", "tag", "localhost/ours:1", "nonroot-webhook:dev")
    assert all("demo/" in " ".join(command) for command in recorded.commands if command[:2] == ["docker", "build"])


def test_what_an_upgrade_supersedes_goes_from_docker_and_from_each_node(tmp_path: Path) -> None:
    """By all of its names on a node; images of others, also under our name, stay."""
    recorded = _record("up.sh", tmp_path, missing=False)
    removed = [command[3:] for command in recorded.commands if command[:3] == ["docker", "image", "rm"]]
    assert removed == [["nonroot-webhook:fedcba987654"]]
    old = {"docker.io/library/nonroot-webhook:fedcba987654", "import-2026-11-30@sha256:old", "sha256:fedcba9876543210"}
    for node in ("nonroot-control-plane", "nonroot-worker"):
        place = recorded.first("docker", "exec", node, "ctr", "--namespace", "k8s.io", "images", "remove")
        assert set(recorded.commands[place][8:]) == old
        assert place > recorded.first("helm", "upgrade")


def test_both_pods_that_it_proposes_are_of_images_in_its_registry(tmp_path: Path) -> None:
    """One that starts and one that is refused, wherever Docker Hub is."""
    recorded = _record("up.sh", tmp_path, missing=True)
    proposed = re.findall(r"--image=(\S+)", recorded.said)
    pushed = [command[2] for command in recorded.commands if command[:2] == ["docker", "push"]]
    assert sorted(proposed) == sorted(each.replace("localhost:5001", "nonroot-registry:5000") for each in pushed)
    assert len(set(proposed)) == 2


def _make(verb: str, folder: Path, *, programs: str = "docker kind kubectl helm", **settings: str) -> Recorded:
    """`make kind` or `make kind-down`, with a cache in which nothing is."""
    command = [sys.executable, "-m", "deploy.kind", verb]
    settings |= {"NONROOT_CACHE": str(folder / "cache")}
    return _run(command, folder, missing=True, programs=programs, settings=settings)


def test_with_docker_hub_in_reach_it_is_the_script_with_kind_s_own_images(tmp_path: Path) -> None:
    recorded = _make("up", tmp_path, KUBERNETES="1.35")
    assert recorded.code == 0, recorded.said
    assert recorded.commands[:2] == [["docker", "info"], ["docker", "pull", "registry:2.8.3"]]
    command = recorded.commands[recorded.first("kind", "create", "cluster")]
    assert command[command.index("--image") + 1].startswith("kindest/node:v1.35.")
    assert recorded.has("helm", "upgrade", "--install")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"KUBERNETES": "1.29"}, "KUBERNETES=1.29: only 1.36, 1.35, 1.34, 1.33, 1.32, 1.31, 1.30 can be built here"),
        ({"KIND_IMAGE": "kindest/node:v1.36.4"}, "KIND_IMAGE=kindest/node:v1.36.4: Docker Hub is out of reach"),
    ],
)
def test_without_docker_hub_what_cannot_be_made_here_is_refused_before_anything_is_made(
    tmp_path: Path, settings: dict[str, str], words: str
) -> None:
    recorded = _make("up", tmp_path, NO_HUB="1", **settings)
    assert recorded.code == 1
    assert words in recorded.said
    assert recorded.commands == [["docker", "info"], ["docker", "pull", "registry:2.8.3"]]


def test_it_ends_the_cluster_in_the_user_s_docker_by_the_script(tmp_path: Path) -> None:
    assert _make("down", tmp_path).has("kind", "delete", "cluster", "--name", "nonroot")


@pytest.mark.parametrize("verb", ["up", "down"])
def test_of_two_at_once_the_second_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.setenv("NONROOT_CACHE", str(tmp_path / "cache"))
    with engine.alone():
        recorded = _make(verb, tmp_path)
    words = f"the kind cluster is in use by process {os.getpid()} of {ROOT}: try again when that has ended"
    assert (recorded.code, recorded.said) == (1, f"deploy.kind: {words}\n")
    assert recorded.commands == []


def test_where_nothing_runs_there_is_nothing_to_end(tmp_path: Path) -> None:
    recorded = _make("down", tmp_path, programs="")
    assert (recorded.code, recorded.said, recorded.commands) == (0, "", [])


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="needs shellcheck, from the package of that name")
@pytest.mark.parametrize("script", ["cluster.sh", "up.sh", "down.sh"])
def test_shellcheck_has_nothing_to_say(script: str) -> None:
    done = subprocess.run(["shellcheck", KIND / script], env=os.environ, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert os.access(KIND / script, os.X_OK)
