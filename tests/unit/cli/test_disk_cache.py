"""What was read before needs no second look: digests always, tags only where nobody may be asked."""

import os
from pathlib import Path

import msgspec
import pytest

from tests.support.images import DIGEST, Table, image, multi, platform_image, unknown
from webhook.cli import disk_cache
from webhook.cli.disk_cache import DiskCache
from webhook.image.filesystem import Directory, Special, Survey
from webhook.image.source import Image, Query, Unknown

PINNED = f"app@{DIGEST}"


async def test_a_digest_is_asked_for_once(tmp_path: Path) -> None:
    """And answered in full: config, accounts, size, platforms; by os, architecture and accounts."""
    large = msgspec.structs.replace(platform_image("app"), size=120_000_000)
    table = Table({PINNED: multi(large, platform_image("1000", None, platform="linux/arm/v7"))})
    first = await DiskCache(table, tmp_path).find(Query(PINNED))
    again = await DiskCache(table, tmp_path).find(Query(PINNED))
    assert first == again == table.images[f"docker.io/library/{PINNED}"]
    assert len(table.asked) == 1
    for query in (
        Query(PINNED, os="windows"),
        Query(PINNED, accounts=True),
        Query(PINNED, architectures=frozenset({"arm"})),
    ):
        await DiskCache(table, tmp_path).find(query)
    assert len(table.asked) == 4


async def test_of_a_tag_no_more_is_asked_than_what_it_stands_for(tmp_path: Path) -> None:
    """In every run; where that is new the image is read. Offline the last answer counts, with its age."""
    table = Table({"app:1": image("app"), "app:2": image("app")})
    for tag, resolved, asked in (("app:1", 0, 1), ("app:1", 1, 1), ("app:2", 1, 2)):
        assert await DiskCache(table, tmp_path).find(Query(tag)) == image("app")
        assert (len(table.resolved), len(table.asked)) == (resolved, asked)
    moved = msgspec.structs.replace(image("1000"), digest=f"sha256:{'cd' * 32}")
    table.images["docker.io/library/app:1"] = moved
    for _ in range(2):
        assert await DiskCache(table, tmp_path).find(Query("app:1")) == moved
    assert len(table.asked) == 3
    for path in (tmp_path / "images-4").iterdir():
        os.utime(path, (1, 1))
    found = await DiskCache(None, tmp_path).find(Query("app:1"))
    assert isinstance(found, Image)
    assert (found.digest, found.platforms) == (moved.digest, moved.platforms)
    assert found.age > 1000
    missing = await DiskCache(None, tmp_path).find(Query("app:3"))
    assert isinstance(missing, Unknown)
    assert missing.cause == "unreachable"


async def test_a_look_at_every_layer_is_remembered_too(tmp_path: Path) -> None:
    """And is another answer than the one that took less."""
    survey = Survey(None, (Directory("/data", "volume", present=True, uid=7),), (Special("/bin/su", 0, 0, 0o4755),))
    whole = multi(msgspec.structs.replace(platform_image("app"), survey=survey))
    table = Table(
        {PINNED: whole, "b:1": multi(msgspec.structs.replace(platform_image("app"), survey=unknown("tooLarge")))}
    )
    await DiskCache(table, tmp_path).find(Query(PINNED, survey=True))
    assert await DiskCache(None, tmp_path).find(Query(PINNED, survey=True)) == whole
    assert isinstance(await DiskCache(None, tmp_path).find(Query(PINNED)), Unknown)
    await DiskCache(table, tmp_path).find(Query("b:1", survey=True))
    assert isinstance(await DiskCache(None, tmp_path).find(Query("b:1", survey=True)), Unknown)


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
        await DiskCache(table, tmp_path).find(Query(name))
        assert isinstance(await DiskCache(None, tmp_path).find(Query(name)), Unknown)


async def test_a_damaged_or_foreign_cache_is_as_good_as_none(tmp_path: Path) -> None:
    """Nobody else's word counts, and a folder that cannot be written is no error."""
    table = Table({PINNED: image("app")})
    await DiskCache(table, tmp_path).find(Query(PINNED))
    folder = tmp_path / "images-4"
    assert folder.stat().st_mode & 0o777 == 0o700
    (entry,) = folder.iterdir()
    folder.chmod(0o777)
    assert isinstance(await DiskCache(None, tmp_path).find(Query(PINNED)), Unknown)
    assert await DiskCache(table, tmp_path).find(Query(PINNED)) == image("app")
    folder.chmod(0o700)
    entry.write_text("{")
    assert isinstance(await DiskCache(None, tmp_path).find(Query(PINNED)), Unknown)
    (tmp_path / "file").write_text("")
    assert await DiskCache(table, tmp_path / "file").find(Query(PINNED)) == image("app")


async def test_the_oldest_answers_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache does not grow without end."""
    monkeypatch.setattr(disk_cache, "ENTRIES", 2)
    table = Table({f"app{number}@{DIGEST}": image("app") for number in range(4)})
    for number in range(4):
        await DiskCache(table, tmp_path).find(Query(f"app{number}@{DIGEST}"))
        for path in (tmp_path / "images-4").iterdir():
            os.utime(path, (path.stat().st_mtime - 100,) * 2)
    assert len(list((tmp_path / "images-4").iterdir())) == 2
    assert isinstance(await DiskCache(None, tmp_path).find(Query(f"app0@{DIGEST}")), Unknown)
    assert isinstance(await DiskCache(None, tmp_path).find(Query(f"app3@{DIGEST}")), Image)
