"""The tables of figures: kept in `results.json`, shown in `results.md` and, shortened, in the documentation.

    python -m tests.resilience.figures    # writes both anew from results.json; a test says when that has been forgotten

A run keeps its figures only where NONROOT_KEEP_FIGURES is set, as the long form does; it always prints them at its end.
"""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tests.resilience.traffic import Tally
from tests.support import markdown

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
PAGE = HERE / "results.md"
SECTION = HERE.parents[1] / "docs" / "explanation" / "faults.md"
BEGIN, END = "<!-- survive: begin; made by python -m tests.resilience.figures -->", "<!-- survive: end -->"
KEEP = "NONROOT_KEEP_FIGURES"


class Fault(msgspec.Struct, frozen=True):
    """What users noticed of one fault under steady traffic. Times are seconds.

    `recovered` is the time from the end of the fault to the last admission that failed; `message` is what most of those
    read that failed because of us.
    """

    fault: str
    admissions: int
    wrong: int
    lost: int
    away: int
    retried: int
    longest: float
    recovered: float
    message: str = ""
    note: str = ""

    @classmethod
    def of(cls, fault: str, tally: Tally, recovered: float, note: str = "") -> "Fault":
        """A tally as a row."""
        lost, away = tally.lost.total(), tally.away.total()
        longest = round(tally.longest, 1)
        return cls(
            fault,
            tally.admissions,
            len(tally.wrong),
            lost,
            away,
            tally.retried,
            longest,
            round(recovered, 1),
            tally.result,
            note,
        )


class Attack(msgspec.Struct, frozen=True):
    """What one attack cost a replica, and the slowest of the honest reviews that were sent meanwhile. Seconds, MiB."""

    attack: str
    answer: str
    seconds: float
    cpu: float
    memory: int
    honest: float


class Fact(msgspec.Struct, frozen=True):
    """Anything else that was measured, in a sentence."""

    what: str
    measured: str


Row = Fault | Attack | Fact
RECORDED: list[Row] = []  # in this run


class Results(msgspec.Struct):
    """Everything that has been measured, each by its first column."""

    measured: str = ""
    faults: dict[str, Fault] = {}
    attacks: dict[str, Attack] = {}
    facts: dict[str, Fact] = {}


def load() -> Results:
    """What was kept last."""
    return msgspec.json.decode(RESULTS.read_bytes(), type=Results) if RESULTS.exists() else Results()


def record(row: Row) -> None:
    """Have a row printed at the end of the run, and keep it if that is wanted."""
    RECORDED.append(row)
    if not os.environ.get(KEEP):
        return
    results = load()
    results.measured = (
        f"Measured until {datetime.now(UTC):%Y-%m-%d} by the long form of `make test-survive`, every row where it was run "
        f"last: {os.cpu_count()} cores, Linux {platform.release()}, other work on the same machine."
    )
    match row:
        case Fault():
            results.faults[row.fault] = row
        case Attack():
            results.attacks[row.attack] = row
        case Fact():
            results.facts[row.what] = row
    RESULTS.write_text(json.dumps(msgspec.to_builtins(results), indent=1, ensure_ascii=False) + "\n")


ELSEWHERE = """\
Proven elsewhere, by its own tests: the API server away at first or later, CRDs that come later, and each resource's
watch history gone by itself (`tests/integration/cluster/test_policy_watch.py`); the controller killed before and
after every write of a rotation, every kind of damage to its Secrets
(`tests/unit/controller/test_certificate_rotation.py`); 20 changes of CA under admissions
(`tests/integration/cluster/test_controller.py`); scans that are killed (`tests/integration/cluster/test_scheduler.py`);
addresses in every notation, redirects, realms, names that resolve to several addresses, passwords across hosts
(`tests/unit/registry/transport/test_egress.py`, `test_http.py`, `tests/unit/registry/auth/test_token.py`); archives and
compression byte by byte (`tests/unit/registry/layers/test_tar.py`, `test_compression.py`); random bytes as reviews
(`tests/unit/admission/test_review.py`). A real API server answers 429 or 500 to nobody at will (priority and fairness
lets a request through where a level has no seat): replicas get that from a proxy (`tests/resilience/test_view.py`).
"""


def page(results: Results) -> str:
    """All of it as Markdown."""
    faults = markdown.table(
        (
            *("fault", "admissions", "wrong", "lost", "API server away", "429"),
            *("longest wait s", "recovered s", "told", ""),
        ),
        (
            (
                each.fault,
                each.admissions,
                each.wrong,
                each.lost,
                each.away,
                each.retried,
                each.longest,
                each.recovered,
                each.message,
                each.note,
            )
            for each in results.faults.values()
        ),
    )
    attacks = markdown.table(
        ("attack", "answer", "seconds", "CPU s", "memory MiB", "slowest honest review s"),
        (
            (each.attack, each.answer, each.seconds, each.cpu, each.memory, each.honest)
            for each in results.attacks.values()
        ),
    )
    facts = markdown.table(("what", "measured"), ((each.what, each.measured) for each in results.facts.values()))
    return f"{results.measured}\n\n{ELSEWHERE}\n## Faults\n\n{faults}\n\n## Attacks\n\n{attacks}\n\n## Everything else\n\n{facts}\n"


def section(results: Results) -> str:
    """The documentation's table: what a user notices of each fault."""
    return markdown.table(
        ("fault, under steady admissions", "wrong verdicts", "lost", "longest wait", "over after"),
        (
            (each.fault, each.wrong, f"{each.lost} of {each.admissions}", f"{each.longest} s", f"{each.recovered} s")
            for each in results.faults.values()
        ),
    )


def filled_in(document: str, results: Results) -> str:
    """`document` with the table between its two marks."""
    return markdown.filled_in(document, BEGIN, END, section(results))


if __name__ == "__main__":
    PAGE.write_text(page(load()))
    SECTION.write_text(filled_in(SECTION.read_text(), load()))
