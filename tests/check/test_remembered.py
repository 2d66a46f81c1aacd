"""What was read before needs no second look: digests always, tags only where nobody may be asked."""

import asyncio
import os
from pathlib import Path

import msgspec
import pytest

from tests.check.files import POD
from tests.support.images import DIGEST, Table, image, multi, platform_image, unknown
from tests.support.oci import accounts_layer
from tests.support.oci import image as built
from tests.support.registry import Registry
from tests.test_cli import nonroot
from webhook.image import Image, Query, Unknown
from webhook.workstation import remembered
from webhook.workstation.remembered import Remembered

PINNED = f"app@{DIGEST}"


async def test_a_digest_is_asked_for_once(tmp_path: Path) -> None:
    """And answered in full: config, accounts, size, platforms; by os, architecture and accounts."""
    large = msgspec.structs.replace(platform_image("app"), size=120_000_000)
    table = Table({PINNED: multi(large, platform_image("1000", None, platform="linux/arm/v7"))})
    first = await Remembered(table, tmp_path).find(Query(PINNED))
    again = await Remembered(table, tmp_path).find(Query(PINNED))
    assert first == again == table.images[f"docker.io/library/{PINNED}"]
    assert len(table.asked) == 1
    for query in (
        Query(PINNED, os="windows"),
        Query(PINNED, accounts=True),
        Query(PINNED, architectures=frozenset({"arm"})),
    ):
        await Remembered(table, tmp_path).find(query)
    assert len(table.asked) == 4


async def test_a_tag_is_asked_for_every_time_and_remembered_for_offline(tmp_path: Path) -> None:
    """With its age, and without anybody to ask."""
    table = Table({"app:1": image("app")})
    for _ in range(2):
        await Remembered(table, tmp_path).find(Query("app:1"))
    assert len(table.asked) == 2
    for path in (tmp_path / "images-2").iterdir():
        os.utime(path, (1, 1))
    found = await Remembered(None, tmp_path).find(Query("app:1"))
    assert isinstance(found, Image)
    assert found.platforms == image("app").platforms
    assert found.age > 1000
    missing = await Remembered(None, tmp_path).find(Query("app:2"))
    assert isinstance(missing, Unknown)
    assert missing.cause == "unreachable"


async def test_what_is_not_known_for_sure_is_not_remembered(tmp_path: Path) -> None:
    """An unread image, unread accounts, a stale answer."""
    table = Table(
        {
            "a:1": unknown("unreachable"),
            "b:1": multi(platform_image("app", unknown="unreachable")),
            "c:1": Image(DIGEST, image("app").platforms, age=5.0),
        }
    )
    for name in ("a:1", "b:1", "c:1", "NO:1"):
        await Remembered(table, tmp_path).find(Query(name))
        assert isinstance(await Remembered(None, tmp_path).find(Query(name)), Unknown)


async def test_a_damaged_or_foreign_cache_is_as_good_as_none(tmp_path: Path) -> None:
    """Nobody else's word counts, and a folder that cannot be written is no error."""
    table = Table({PINNED: image("app")})
    await Remembered(table, tmp_path).find(Query(PINNED))
    folder = tmp_path / "images-2"
    assert folder.stat().st_mode & 0o777 == 0o700
    (entry,) = folder.iterdir()
    folder.chmod(0o777)
    assert isinstance(await Remembered(None, tmp_path).find(Query(PINNED)), Unknown)
    assert await Remembered(table, tmp_path).find(Query(PINNED)) == image("app")
    folder.chmod(0o700)
    entry.write_text("{")
    assert isinstance(await Remembered(None, tmp_path).find(Query(PINNED)), Unknown)
    (tmp_path / "file").write_text("")
    assert await Remembered(table, tmp_path / "file").find(Query(PINNED)) == image("app")


async def test_the_oldest_answers_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache does not grow without end."""
    monkeypatch.setattr(remembered, "ENTRIES", 2)
    table = Table({f"app:{number}": image("app") for number in range(4)})
    for number in range(4):
        await Remembered(table, tmp_path).find(Query(f"app:{number}"))
        for path in (tmp_path / "images-2").iterdir():
            os.utime(path, (path.stat().st_mtime - 100,) * 2)
    assert len(list((tmp_path / "images-2").iterdir())) == 2
    assert isinstance(await Remembered(None, tmp_path).find(Query("app:0")), Unknown)
    assert isinstance(await Remembered(None, tmp_path).find(Query("app:3")), Image)


@pytest.mark.registry
async def test_a_second_run_may_do_without_the_registry(tmp_path: Path) -> None:
    """--offline says the same as before, and what it does not know is unknown."""
    async with Registry() as registry:
        registry.push("team/app:1", built(accounts_layer("app:x:1500:1600::/:/bin/sh"), user="app"))
        (tmp_path / "pod.yaml").write_text(POD.replace("named:1", f"{registry.host}/team/app:1"))
        (tmp_path / "other.yaml").write_text(POD.replace("named:1", f"{registry.host}/team/other:1"))
        place = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "DOCKER_CONFIG": str(tmp_path)}
        online = await asyncio.to_thread(
            nonroot, "check", "pod.yaml", "--insecure-registry", registry.host, cwd=tmp_path, **place
        )
    offline = await asyncio.to_thread(nonroot, "check", "pod.yaml", "--offline", cwd=tmp_path, **place)
    assert (offline.returncode, offline.stdout) == (online.returncode, online.stdout)
    assert "uid 1500" in offline.stdout
    other = await asyncio.to_thread(nonroot, "check", "other.yaml", "--offline", cwd=tmp_path, **place)
    assert other.returncode == 3
    assert "--offline asks nobody" in other.stdout
