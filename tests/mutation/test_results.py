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


def test_the_total_is_that_of_the_table_that_is_kept() -> None:
    lines = [
        results.row("a.py", Counter({1: 1499, 0: 1}), "today"),
        results.row("b.py", Counter({1: 1, 33: 1}), "today"),
    ]
    assert results.total(lines) == "All 2 of them: 1,500 of 1,502 mutants killed, 99.9%."
    kept = results.RESULTS.read_text()
    assert results.total(line for line in kept.splitlines() if line.startswith("| `webhook/")) in kept


def test_every_survivor_is_listed_with_its_reason() -> None:
    table, _, listed = results.RESULTS.read_text().partition(results.SURVIVORS)
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    survivors = sum(int(row[2]) - int(row[3]) for row in rows)
    assert survivors == sum(line.startswith("| `") for line in listed.splitlines())


def test_the_table_that_is_kept_has_the_rows_that_are_written() -> None:
    assert results.HEAD in results.RESULTS.read_text()
    assert results.SURVIVORS in results.RESULTS.read_text()
