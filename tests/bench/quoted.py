"""What the documentation quotes of results.md: written between two marks of its page by every run of `make bench`.

python -m tests.bench.quoted     # the page alone; a test says when that has been forgotten
"""

import re
from pathlib import Path

from tests.bench import servers
from tests.support import markdown

RESULTS = Path(__file__).parent / "results.md"
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "performance.md"
BEGIN, END = "<!-- bench: begin; made by make bench -->", "<!-- bench: end -->"
CONNECTIONS, CREATING = "16", "8"
REVIEWS = {
    "compliant, 4 KB": "compliant",
    "compliant, names and commands of their own": "compliant, jobs",
    "compliant, each unlike the others": "compliant, no two alike",
    "violating": "denied",
    "violating, names and commands of their own": "denied, jobs",
    "violating, each unlike the others": "denied, no two alike",
    "13 containers, 31 KB": "13 containers",
}
REQUESTS = (100, 250, 500, 1000)  # thousandths of a core

Row = dict[str, str]


def table(results: str, title: str, head: str) -> list[Row]:
    """The rows of the table of a section whose heading begins so."""
    section = results.partition(f"## {title}\n")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in _lines(section, f"| {head} |")
        if line[1] != "-"
    ]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def _lines(section: str, head: str) -> list[str]:
    found = re.search(rf"^{re.escape(head)}.*\n(?:\|.*\n?)*", section, re.MULTILINE)
    if found is None:
        raise SystemExit(f"results.md has no table that begins with {head}")
    return found[0].splitlines()


def section(results: str) -> str:
    """What the page shows."""
    beside = [
        row
        for row in table(results, "Beside Kubernetes' own Pod Security webhook", "review")
        if row["connections"] == CONNECTIONS
    ]
    peer = {row["review"]: row["ours against it"] for row in beside if row["server"] == servers.POD_SECURITY}
    ours = {row["review"]: float(row["CPU ms/review"]) for row in beside if row["server"] == servers.OURS}
    (through,) = (
        row["creations/s"]
        for row in table(results, "Through a real API server", "webhook")
        if row["webhook"] == "ours, called" and row["connections"] == CREATING
    )
    (mixed,) = (
        row["ours against it"]
        for row in table(results, "As clusters send them", "server")
        if row["server"] == servers.POD_SECURITY
    )
    beside_peer = markdown.table(
        ("reviews", "ours against the Pod Security webhook"),
        [*((shown, peer[review]) for review, shown in REVIEWS.items()), ("as clusters send them", mixed)],
    )
    by_request = markdown.table(
        ("request", *REVIEWS.values()),
        ((f"{request}m", *(f"{request / ours[review]:,.0f}" for review in REVIEWS)) for request in REQUESTS),
    )
    return (
        f"{beside_peer}\n\n"
        "What a replica answers in a second for its CPU request (`resources.requests.cpu` of the chart):\n\n"
        f"{by_request}\n\n"
        f"One API server on such a machine creates {through} Pods in a second while it calls our webhook for each."
    )


def filled_in(page: str, results: str) -> str:
    """The page with the figures between its two marks."""
    return markdown.filled_in(page, BEGIN, END, f"\n{section(results)}\n")


def write() -> None:
    """The page anew."""
    PAGE.write_text(filled_in(PAGE.read_text(encoding="utf-8"), RESULTS.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
