"""The cache of images on a disk, in front of a registry."""

import asyncio
import re
from pathlib import Path

from deploy.dev.oci import accounts_layer
from deploy.dev.oci import image as built
from deploy.dev.registry import Login, Registry
from tests.support.command import nonroot
from tests.unit.check.files import POD
from tests.unit.registry.samples import docker_config
from webhook.cli.disk_cache import DiskCache
from webhook.image.source import Image, Query, Unknown
from webhook.registry.client import RegistryClient
from webhook.registry.settings import RegistrySettings


async def test_a_second_look_at_a_tag_is_one_head(tmp_path: Path) -> None:
    """Even in another process; and the right to read is proven anew by it."""
    async with Registry(Login({"u": "p"}, scheme="Basic")) as registry:
        registry.push("team/app:1", built(accounts_layer("app:x:1500:1600::/:/bin/sh"), user="app"))
        settings = RegistrySettings(insecure=frozenset({registry.host}))
        query = Query(f"{registry.host}/team/app:1", budget=20.0)
        for config, requests in (
            (docker_config(registry.host, "u", "p"), 4),
            (docker_config(registry.host, "u", "p"), 2),
        ):
            before = len(registry.requests)
            client = RegistryClient(settings, docker_config=config)
            assert isinstance(await DiskCache(client, tmp_path).find(query), Image)
            await client.aclose()
            assert len(registry.requests) - before == requests
        assert {str(each) for each in registry.requests[-2:]} == {"HEAD /v2/team/app/manifests/1"}
        stranger = RegistryClient(settings)
        assert isinstance(await DiskCache(stranger, tmp_path).find(query), Unknown)
        await stranger.aclose()


async def test_a_second_run_may_do_without_the_registry(tmp_path: Path) -> None:
    """--offline says the same as before and how old it is, and what it does not know is unknown."""
    async with Registry() as registry:
        registry.push("team/app:1", built(accounts_layer("app:x:1500:1600::/:/bin/sh"), user="app"))
        (tmp_path / "pod.yaml").write_text(POD.replace("named:1", f"{registry.host}/team/app:1"))
        (tmp_path / "other.yaml").write_text(POD.replace("named:1", f"{registry.host}/team/other:1"))
        place = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "DOCKER_CONFIG": str(tmp_path)}
        online = await asyncio.to_thread(
            nonroot, "check", "pod.yaml", "--insecure-registry", registry.host, cwd=tmp_path, **place
        )
    offline = await asyncio.to_thread(nonroot, "check", "pod.yaml", "--offline", cwd=tmp_path, **place)
    fresh, aged = re.subn(r", as of (\d+ s ago|just now)", "", offline.stdout)
    assert (offline.returncode, fresh, aged) == (online.returncode, online.stdout, 1)
    assert "uid 1500" in offline.stdout
    other = await asyncio.to_thread(nonroot, "check", "other.yaml", "--offline", cwd=tmp_path, **place)
    assert other.returncode == 3
    assert "--offline asks no registry" in other.stdout
