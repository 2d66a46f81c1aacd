"""The kernel settings that a kubelet changes, in a folder instead of /proc/sys."""

from pathlib import Path

import pytest

from deploy.local import sysctls


def test_what_was_changed_is_put_back_and_nothing_else_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the kernel lacks a setting."""
    monkeypatch.setattr(sysctls, "SETTINGS", tmp_path / "sys")
    panic, memory = (tmp_path / "sys" / name for name in ("kernel/panic", "vm/overcommit_memory"))
    for path in (panic, memory):
        path.parent.mkdir(parents=True)
        path.write_text("0\n")
    note = tmp_path / "state" / "sysctls.json"
    sysctls.remember(note)
    panic.write_text("10\n")
    untouched = memory.stat().st_mtime_ns
    sysctls.restore(note)
    assert panic.read_text() == "0"
    assert memory.stat().st_mtime_ns == untouched
