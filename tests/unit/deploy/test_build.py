"""The cache of built programs, when several build at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from deploy.local.build import Tool

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.thorough
def test_of_two_builds_at_once_one_builds_and_the_other_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second begins in the middle of the first, and gets half a second to come in its way."""
    monkeypatch.setenv("NONROOT_CACHE", str(tmp_path))
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "program").touch()
        if len(made) == 1:
            other.start()
            other.join(0.5)

    tool = Tool("made-up", "v1", make)
    other = threading.Thread(target=tool.build)
    tool.build()
    other.join()
    assert len(made) == 1
    assert [each.name for each in tool.folder.iterdir()] == ["program"]
    assert sorted(each.name for each in tool.folder.parent.iterdir()) == [".made-up.lock", "made-up-v1"]


def test_what_a_killed_build_has_left_is_removed_and_what_a_running_one_has_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of another tool, one of whose name the other's begins with."""
    monkeypatch.setenv("NONROOT_CACHE", str(tmp_path))
    left = [tmp_path / "bin" / name / "made" for name in (".made-up-01234567", ".made-abcdefg_")]
    seen: list[bool] = []

    def look(folder: Path) -> None:
        Tool("made", "v1", lambda folder: (folder / "program").touch()).build()
        seen.append(folder.is_dir())

    for each in left:
        each.mkdir(parents=True)
    Tool("made-up", "v1", look).build()
    assert seen == [True]
    names = sorted(each.name for each in (tmp_path / "bin").iterdir())
    assert names == [".made-up.lock", ".made.lock", "made-up-v1", "made-v1"]


def test_what_failed_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a build is never there."""
    monkeypatch.setenv("NONROOT_CACHE", str(tmp_path))

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        Tool("made-up", "v1", fail).build()
    tool = Tool("made-up", "v1", lambda folder: (folder / "whole").touch())
    assert not tool.built
    tool.build()
    assert [each.name for each in tool.folder.iterdir()] == ["whole"]
