"""`make install`: which registry is spoken to how, and what Helm is given; the programs are recorders."""

import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DIGEST = "sha256:" + "0" * 64
DOCKER = f"""\
#!/bin/sh
echo "docker $1 $DOCKER_BUILDKIT" >>"$RECORD"
[ "$1" = "$FAILS" ] && exit 1
[ "$1" = image ] && printf 'other.example/nonroot-webhook@sha256:1\\n%s/nonroot-webhook@{DIGEST}\\n' "$REGISTRY"
exit 0
"""
HELM = '#!/bin/sh\necho "helm $1 $(cat)" >>"$RECORD"\n'
KUBECTL = """\
#!/bin/sh
echo "kubectl $1" >>"$RECORD"
[ "$1 $FAILS" = "get cluster" ] && echo "connection refused" >&2 && exit 1
exit 0
"""


def _install(folder: Path, registry: str, fails: str = "") -> tuple[int, str, list[str]]:
    for name, text in (("docker", DOCKER), ("helm", HELM), ("kubectl", KUBECTL)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    record = folder / "record"
    env = {"PATH": f"{folder}:{os.environ['PATH']}", "RECORD": str(record), "FAILS": fails, "REGISTRY": registry}
    done = subprocess.run(
        [sys.executable, "-m", "deploy.install", registry],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr, record.read_text().splitlines() if record.exists() else []


@pytest.mark.parametrize(("registry", "insecure"), [("localhost:5000", True), ("harbor.example/team", False)])
def test_the_pushed_image_is_installed_by_its_digest(tmp_path: Path, registry: str, insecure: bool) -> None:
    """BuildKit is asked for by name; a registry on loopback has no TLS."""
    code, output, commands = _install(tmp_path, registry)
    assert code == 0, output
    assert [each.split(" {")[0] for each in commands[:6]] == [
        "kubectl get",
        "docker info ",
        "docker build 1",
        "docker push 1",
        "docker image ",
        "helm upgrade",
    ]
    host, _, path = registry.partition("/")
    assert f'"registry": "{host}"' in commands[5]
    assert f'"repository": "{path + "/" if path else ""}nonroot-webhook"' in commands[5]
    assert DIGEST in commands[5]
    assert (f'"insecure": ["{host}"]' in commands[5]) is insecure
    assert "kubectl label namespace NAME nonroot.dev/mode=enforce" in output


@pytest.mark.parametrize("fails", ["build", "push"])
def test_nothing_is_installed_that_was_not_built_and_pushed(tmp_path: Path, fails: str) -> None:
    code, output, commands = _install(tmp_path, "harbor.example", fails)
    assert code == 1
    assert output.endswith(f"docker {fails} failed, see above\n")
    assert not [each for each in commands if each.startswith("helm")]


def test_nothing_is_built_for_a_cluster_that_does_not_answer(tmp_path: Path) -> None:
    code, output, commands = _install(tmp_path, "harbor.example", "cluster")
    assert (code, commands) == (1, ["kubectl get"])
    assert "does not answer: connection refused" in output
    assert "KUBECONFIG=FILE" in output


def test_nothing_is_built_without_helm(tmp_path: Path) -> None:
    """It is named, with where it is to be had."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.install", "harbor.example"],
        env={"PATH": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "helm is needed and not on the PATH: https://helm.sh/docs/intro/install/\n"


def test_without_a_registry_it_says_what_to_write(tmp_path: Path) -> None:
    code, output, commands = _install(tmp_path, "")
    assert (code, commands) == (1, [])
    assert "make install REGISTRY=" in output


def test_it_needs_no_package_that_the_image_lacks() -> None:
    """`make install` installs those of requirements.txt, and no linter or test framework."""
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    owners = packages_distributions().items()
    others = {module for module, names in owners if not locked & {re.sub(r"[_.]", "-", name.lower()) for name in names}}
    assert {"pytest", "mypy"} <= others
    script = f"import sys; sys.modules.update(dict.fromkeys({others - {'deploy', 'webhook'}})); import deploy.install"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
