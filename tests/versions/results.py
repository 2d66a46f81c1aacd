"""What each combination of versions came to: kept in `results.json`, shown in the documentation.

python -m tests.versions.results    # writes the page anew from results.json; a test says when that has been forgotten
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from tests.conformance.model import Node
from tests.support import markdown
from tests.versions.parts import PARTS

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results.json"
PAGE = HERE.parents[1] / "docs" / "explanation" / "compatibility.md"
BEGIN, END = "<!-- versions: begin; made by python -m tests.versions.results -->", "<!-- versions: end -->"


class Part(msgspec.Struct, frozen=True):
    """What one group of tests came to, when, in how many seconds, and the figures that they counted."""

    date: str
    seconds: int
    passed: int
    failed: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    figures: dict[str, int] = {}


class Combination(msgspec.Struct):
    """One cluster by the versions that it reports, and what its parts came to by their names."""

    kubernetes: str
    containerd: str
    parts: dict[str, Part] = {}

    @property
    def node(self) -> Node | None:
        """Its nodes, as the model knows them; None for an API server alone."""
        if not self.containerd:
            return None
        major, minor, _ = _numbers(self.kubernetes)
        return Node("containerd", _numbers(self.containerd), (major, minor))


class Difference(msgspec.Struct, frozen=True):
    """What some versions do otherwise than the newest ones, which combinations do it, and which part shows it."""

    versions: str
    what: str
    holds: Callable[[Combination], bool]
    part: str = "kubelet matrix"


def _by_node(holds: Callable[[Node], bool]) -> Callable[[Combination], bool]:
    """Whether the model has the nodes do it."""
    return lambda each: each.node is not None and holds(each.node)


INVALID = "refused here on every version ([invalid-user](../reference/rules/invalid-user.md))"
DIFFERENCES = (
    Difference(
        "kubelet before 1.34",
        "Under `runAsNonRoot: true` it starts an image whose USER is a number that is negative or above 2147483647; "
        f"{INVALID}. Where the image cannot be read and `onUnknown: Verify` leaves it to the kubelet, nobody refuses it.",
        _by_node(lambda node: not node.refuses_numbers_out_of_range),
    ),
    Difference(
        "containerd before 1.7.32, 2.0.9, 2.1.8, 2.2.4 and 2.3.1",
        "A USER above 2147483647 is looked up as a name, which the image's passwd may give to root (CVE-2026-46680); "
        f"{INVALID}.",
        _by_node(lambda node: not node.refuses_huge_numbers),
    ),
    Difference(
        "containerd 2.2.0 to 2.2.2",
        "An image whose `/etc/passwd` or `/etc/group` is an absolute link, as in images of NixOS, does not start, "
        "whichever user it is to run as (`path escapes from parent`). Verdicts are by the files that the links lead to, "
        "as other versions start it.",
        _by_node(lambda node: not node.follows_absolute_links),
    ),
    Difference(
        "Kubernetes before 1.33, containerd before 2.0",
        "Container statuses do not say who runs: what injected fields have stopped is not reported from them. "
        "`supplementalGroupsPolicy: Strict` has no effect, or the kubelet refuses its Pod.",
        _by_node(lambda node: not node.says_who_runs),
    ),
    Difference(
        "containerd before 2.0",
        "`enable_unprivileged_ports` is off unless its configuration has it on: a port below 1024 needs NET_BIND_SERVICE "
        "([limitations](limitations.md)).",
        _by_node(lambda node: not node.opens_low_ports),
        "privileges",
    ),
    Difference(
        "Kubernetes before 1.33",
        "The API server drops `hostUsers` unless its gate UserNamespacesSupport is on: the Pod would run in the node's user "
        "namespace. Validating admission sees it without the field, and root is refused under `rootInUserNamespaces: Allow`, too.",
        lambda each: _numbers(each.kubernetes) < (1, 33, 0),
        "hooks and CEL",
    ),
)


def _numbers(version: str) -> tuple[int, int, int]:
    major, minor, patch = (int(number) for number in version.split("."))
    return major, minor, patch


def load() -> list[Combination]:
    """What was kept, newest versions first."""
    return msgspec.json.decode(RESULTS.read_bytes(), type=list[Combination]) if RESULTS.exists() else []


def keep(kubernetes: str, containerd: str, name: str, part: Part) -> None:
    """Put what was run in the place of what the same part came to before."""
    every = load()
    found = next((each for each in every if (each.kubernetes, each.containerd) == (kubernetes, containerd)), None)
    if found is None:
        every.append(found := Combination(kubernetes, containerd))
    parts = {**found.parts, name: part}
    found.parts = {each: parts[each] for each in PARTS if each in parts}
    every.sort(key=lambda each: (_numbers(each.kubernetes), _numbers(each.containerd or "0.0.0")), reverse=True)
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(every), indent=1) + b"\n")


def section(every: Iterable[Combination]) -> str:
    """The documentation's tables: what was run, and what differs."""
    every = list(every)
    ran = markdown.table(
        ("Kubernetes", "containerd", *PARTS),
        (
            [each.kubernetes, each.containerd or "no node", *(_cell(each.parts.get(name)) for name in PARTS)]
            for each in every
        ),
    )
    failures = [
        f"- Kubernetes {each.kubernetes}, {each.containerd or 'no node'}: {test}"
        for each in every
        for part in each.parts.values()
        for test in part.failed
    ]
    differs = markdown.table(
        ("versions", "what they do", "seen with"),
        ((each.versions, each.what, _seen(each, every)) for each in DIFFERENCES),
    )
    failed = "\n".join(["Failed:\n", *failures, "", ""]) if failures else ""
    return f"{ran}\n\n{failed}{differs}"


def _seen(difference: Difference, every: Iterable[Combination]) -> str:
    """The combinations on which its part had it so; without one it is only read in the source."""
    found = (each for each in every if difference.holds(each) and difference.part in each.parts)
    return ", ".join(f"{each.kubernetes} and {each.containerd or 'no node'}" for each in found) or "its source alone"


def _cell(part: Part | None) -> str:
    if part is None:
        return "not run"
    counts = {"failed": len(part.failed), "passed": part.passed, "skipped": len(part.skipped)}
    words = [f"{number} {name}" for name, number in counts.items() if number]
    words += [f"{number} {name}" for name, number in part.figures.items()]
    return f"{', '.join(words)} ({part.date})"


def filled_in(document: str, every: Iterable[Combination]) -> str:
    """`document` with the tables between its two marks."""
    return markdown.filled_in(document, BEGIN, END, section(every))


if __name__ == "__main__":
    PAGE.write_text(filled_in(PAGE.read_text(), load()))
