"""The schemas that tests keep: those that other states of the code made do not stay for ever."""

import os
import time
from pathlib import Path

import pytest

from tests.support import schemas


def test_schemas_that_are_not_used_any_more_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of another checkout that uses its own stay."""
    monkeypatch.setenv("NONROOT_CACHE", str(tmp_path))
    unused, used = (tmp_path / "schemas" / name / "v1.30.14" for name in ("0123456789ab", "ba9876543210"))
    for each in (unused, used):
        each.mkdir(parents=True)
    long_ago = time.time() - schemas.UNUSED - 60
    os.utime(unused.parent, (long_ago, long_ago))
    location = schemas._kept("made-up", lambda: iter([("pod-v1", {})]))
    assert (Path(location).parent / "pod-v1.json").read_text() == "{}"
    assert used.is_dir()
    assert not unused.parent.exists()


def test_schemas_that_are_used_stay_however_old_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NONROOT_CACHE", str(tmp_path))
    folder = Path(schemas._kept("made-up", lambda: iter([("pod-v1", {})]))).parent
    os.utime(folder.parent, (0, 0))
    schemas._kept("made-up", lambda: iter([]))
    assert (folder / "pod-v1.json").exists()
