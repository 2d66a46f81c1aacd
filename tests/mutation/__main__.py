"""`python -m tests.mutation`: what the last run of mutmut in this folder found, by module, into results.md beside this file.

A module that was not run to its end keeps the row that it had, with its date.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).with_name("results.md")
MUTANTS = Path("mutants")  # made by mutmut, where it was started
HEAD = (
    "| module | mutants | killed | survived | no test reaches them | not ended | score | date and commit |\n"
    "|---|---|---|---|---|---|---|---|\n"
)
SURVIVORS = "## Survivors\n"
_ROW = re.compile(r"^\| `(\S+)` \|.*$", re.MULTILINE)
_KILLED, _SURVIVED, _NO_TESTS = (1, 3, 37), (0,), (5, 33)  # exit codes, as boxed/mutmut stats.py (status_by_exit_code)


def row(module: str, codes: Counter[int], when: str) -> str:
    """A line of the table. What did not end in its time, or otherwise, is not counted as killed."""
    total = codes.total()
    killed, survived, untested = (sum(codes[each] for each in found) for found in (_KILLED, _SURVIVED, _NO_TESTS))
    others = total - killed - survived - untested
    return f"| `{module}` | {total} | {killed} | {survived} | {untested} | {others} | {killed / total:.1%} | {when} |"


def measured(mutants: Path, when: str) -> tuple[dict[str, str], list[str]]:
    """The lines of the modules whose mutants have all been run, and the other modules."""
    found, others = {}, []
    for file in sorted(mutants.rglob("*.py.meta")):
        codes = list(json.loads(file.read_text())["exit_code_by_key"].values())
        module = str(file.relative_to(mutants)).removesuffix(".meta")
        if codes and None not in codes:
            found[module] = row(module, Counter(codes), when)
        elif codes:
            others.append(module)
    return found, others


def total(lines: Iterable[str]) -> str:
    """The sum of the lines of all modules."""
    counts = [tuple(int(each) for each in line.split("|")[2:4]) for line in lines]
    mutants, killed = map(sum, zip(*counts, strict=True))
    return f"All {len(counts)} of them: {killed:,} of {mutants:,} mutants killed, {killed / mutants:.1%}."


def main() -> None:
    """Put the new lines into the table, and below it what is not in it."""
    before, _, text = RESULTS.read_text().partition(HEAD)
    table, _, after = text.partition(SURVIVORS)
    rows = {each[1]: each[0] for each in _ROW.finditer(table)}
    commit = (MUTANTS / "commit").read_text().strip()
    found, others = measured(MUTANTS, f"{datetime.now(UTC):%Y-%m-%d}, {commit}")
    rows |= found
    left = ", ".join(f"`{each}`" for each in others if each not in rows) or "none"
    lines = [line for _, line in sorted(rows.items())]
    table = "\n".join(lines)
    RESULTS.write_text(
        f"{before}{HEAD}{table}\n\n{total(lines)}\n\nNot run to their end yet: {left}.\n\n{SURVIVORS}{after}"
    )


if __name__ == "__main__":
    main()
