"""nonroot check reads images from a registry."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.dev.oci import file, image, layer
from deploy.dev.registry import Login, Registry
from tests.support.command import nonroot
from tests.unit.check.files import POD


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    """A registry for those who have logged in."""
    async with Registry(login=Login({"me": "hunter-two"})) as registry:
        registry.push("team/app:1", image(layer(file("etc/passwd", "app:x:1500:1500::/:/bin/sh\n")), user="app"))
        yield registry


async def test_check_reads_images_with_the_users_own_docker_login(tmp_path: Path, registry: Registry) -> None:
    """The name in the image's config, its uid in the image's own files; without the login it is said to be unknown."""
    (tmp_path / "pod.yaml").write_text(POD.replace("named:1", f"{registry.host}/team/app:1"))
    (tmp_path / "config.json").write_text(
        json.dumps({"auths": {registry.host: {"username": "me", "password": "hunter-two"}}})
    )
    arguments = ("check", "pod.yaml", "--insecure-registry", registry.host)
    with_login = await asyncio.to_thread(
        nonroot, *arguments, cwd=tmp_path, DOCKER_CONFIG=str(tmp_path), XDG_CACHE_HOME=str(tmp_path)
    )
    assert "pod.yaml:9:7: error named-user" in with_login.stdout
    assert "runAsUser: 1500" in with_login.stdout
    assert (with_login.returncode, with_login.stderr) == (1, "")
    without = await asyncio.to_thread(
        nonroot, *arguments, cwd=tmp_path, DOCKER_CONFIG=str(tmp_path / "none"), XDG_CACHE_HOME=str(tmp_path)
    )
    assert "unknown unknown-image" in without.stdout
    assert "unauthorized" in without.stdout
    assert without.returncode == 3
    assert "hunter-two" not in with_login.stdout + without.stdout


async def test_a_registry_config_says_it_all_instead(tmp_path: Path, registry: Registry) -> None:
    """The same file as for serve: credentials, plain HTTP and the rest."""
    (tmp_path / "login.json").write_text(
        json.dumps({"auths": {registry.host: {"username": "me", "password": "hunter-two"}}})
    )
    (tmp_path / "registries.yaml").write_text(f"insecure: ['{registry.host}']\ndockerConfig: login.json\n")
    reference = f"{registry.host}/team/app:1"
    result = await asyncio.to_thread(
        nonroot, "inspect", reference, "--registry-config", "registries.yaml", cwd=tmp_path
    )
    assert "uid 1500" in result.stdout
    wrong = await asyncio.to_thread(nonroot, "inspect", reference, "--registry-config", "no.yaml", cwd=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "no.yaml" in wrong.stderr
