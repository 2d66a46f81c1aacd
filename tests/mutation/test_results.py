"""The table of scores counts as killed only what a test has ended, and says nothing of modules that were not run."""

import json
from collections import Counter
from pathlib import Path

from tests.mutation import __main__ as results


def test_only_what_a_test_has_ended_is_killed() -> None:
    codes = Counter({1: 6, 3: 1, 0: 1, 33: 1, -24: 1})
    assert results.row("a.py", codes, "today") == "| `a.py` | 10 | 7 | 1 | 1 | 1 | 70.0% | today |"


def test_a_module_that_was_not_run_to_its_end_has_no_row(tmp_path: Path) -> None:
    for name, found in (("whole", {"x": 1, "y": 0}), ("half", {"x": 1, "y": None}), ("none", {})):
        (tmp_path / f"{name}.py.meta").write_text(json.dumps({"exit_code_by_key": found}))
    line = "| `whole.py` | 2 | 1 | 1 | 0 | 0 | 50.0% | today |"
    assert results.measured(tmp_path, "today") == ({"whole.py": line}, ["half.py"])


def test_the_table_that_is_kept_has_the_rows_that_are_written() -> None:
    assert results.HEAD in results.RESULTS.read_text()
    assert results.SURVIVORS in results.RESULTS.read_text()
