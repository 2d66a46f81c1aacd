"""The command line in one file: built from the lock, run without this environment, and as krew would install it."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from deploy.krew import manifest, zipapp
from tests.unit.check.files import POD
from webhook import __version__

pytestmark = [pytest.mark.index, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file for this machine, at a place of its own."""
    return Path(shutil.copy2(zipapp.build(), tmp_path_factory.mktemp("zipapp")))


def run(program: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run it with no environment but this Python and a home of its own."""
    environment = {"PATH": f"{Path(sys.base_prefix, 'bin')}:{os.defpath}", "HOME": str(program.parent)}
    command = [str(program), *arguments]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, check=False, env=environment, cwd=program.parent
    )


def test_it_runs_by_itself(built: Path) -> None:
    """Compiled packages, templates and a cluster's client are in it; a server's are not."""
    assert run(built, "--version").stdout == f"nonroot, version {__version__}\n"
    root = POD.replace("runAsNonRoot: true", "runAsUser: 0")
    checked = run(built, "check", "--no-images", "-", stdin=root)
    assert (checked.returncode, "error root-user" in checked.stdout) == (1, True), checked.stderr
    assert run(built, "check", "--no-images", "-o", "html", "-", stdin=root).stdout.rstrip().endswith("</html>")
    scanned = run(built, "scan")
    assert (scanned.returncode, "kubeconfig" in scanned.stderr) == (2, True)
    served = run(built, "serve", "--standalone", "--self-signed")
    assert (served.returncode, "nonroot-webhook[server]" in served.stderr) == (2, True), served.stderr


def test_krew_installs_the_program_that_its_manifest_names(built: Path, tmp_path: Path) -> None:
    plugin = manifest.manifest("v1.2.3", "https://git.example/nonroot", built.parent)
    (platform,) = plugin["spec"]["platforms"]
    name = platform["uri"].rpartition("/")[2]
    with tarfile.open(built.parent / name) as archive:
        archive.extractall(tmp_path, filter="data")
    assert run(tmp_path / platform["bin"], "--version").stdout == f"nonroot, version {__version__}\n"
