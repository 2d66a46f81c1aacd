"""What a real Podman saves and keeps."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import apt
from deploy.local.build import Tool, ensure_tools
from tests.support.layouts import folder, oci_files
from tests.unit.check.test_inspection import APP

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(os.geteuid()) or not shutil.which("skopeo"), reason="needs root, and skopeo beside Podman"),
]

NAME = "team/app:1"
PODMAN = Tool("podman", "packaged", lambda place: apt.unpack(place, "podman", "conmon", "crun"))


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Its command, with a store of its own that has one image. It takes no run root of more than 50 characters."""
    ensure_tools([PODMAN], print)
    here, programs = tmp_path_factory.mktemp("podman"), PODMAN.folder / "usr/bin"
    folder(here / "from", oci_files({"": APP}))
    runtime = ["--conmon", f"{programs}/conmon", "--runtime", f"{programs}/crun", "--cgroup-manager=cgroupfs"]
    archive = f"docker-archive:{here}/loaded.tar:{NAME}"
    subprocess.run(["skopeo", "copy", "--insecure-policy", "-q", f"oci:{here}/from", archive], check=True)
    with tempfile.TemporaryDirectory() as run:
        store = ["--root", f"{here}/store", "--runroot", run, "--storage-driver=vfs", "--events-backend=none"]
        command = [f"{programs}/podman", *store, *runtime]
        subprocess.run([*command, "load", "--input", f"{here}/loaded.tar"], check=True, capture_output=True)
        yield command


def inspected(reference: str, **environment: str) -> list[int]:
    """The uid of each platform, as `nonroot inspect` tells it."""
    command = [sys.executable, "-m", "webhook", "inspect", reference, "-o", "json"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout + done.stderr
    return [each["uid"] for each in json.loads(done.stdout)["platforms"]]


@pytest.mark.parametrize(
    ("form", "transport"), [("docker-archive", "docker-archive"), ("oci-archive", "oci-archive"), ("oci-dir", "oci")]
)
def test_what_podman_saves_is_inspected(podman: list[str], tmp_path: Path, form: str, transport: str) -> None:
    """In every form that has one; the archive without being told which image, and by the image's name."""
    saved = tmp_path / "saved"
    subprocess.run([*podman, "save", "--format", form, "--output", str(saved), NAME], check=True, capture_output=True)
    assert inspected(f"{transport}:{saved}") == [1500]
    if form == "docker-archive":
        assert inspected(f"{transport}:{saved}:{NAME}") == [1500]


async def test_what_podman_keeps_is_inspected(podman: list[str], tmp_path: Path) -> None:
    """By the API that it serves beside Docker's."""
    address = f"unix://{tmp_path}/podman.sock"
    service = await asyncio.create_subprocess_exec(*podman, "system", "service", "--time=0", address)
    try:
        while not (tmp_path / "podman.sock").exists():
            assert service.returncode is None
            await asyncio.sleep(0.1)
        assert await asyncio.to_thread(inspected, f"docker-daemon:{NAME}", DOCKER_HOST=address) == [1500]
    finally:
        service.terminate()
        await service.wait()
