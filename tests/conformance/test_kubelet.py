"""The real kubelet and the real runtime against the model, our predictions, our verdicts and our patches.

By default a pairwise-covering set of cells runs; NONROOT_MATRIX=full runs the whole product, which takes days, and
NONROOT_MATRIX=1/N every Nth cell of it. CRI-O, Windows, other architectures and snapshotters are not run here.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import msgspec
import pytest

from tests.conformance import images, matrix, model, ours
from tests.conformance.matrix import Cell
from tests.conformance.model import INT31, Node, Outcome, Ran, Stuck
from tests.conformance.runner import BatchRunner
from webhook.evaluation.verdict import ContainerVerdict
from webhook.image.source import Unknown

pytestmark = pytest.mark.e2e
AT_ONCE = 3000  # cells whose images and outcomes are held in memory


class Round(msgspec.Struct):
    """What some cells came to, and every disagreement."""

    counts: Counter[str] = msgspec.field(default_factory=Counter)
    wrong: list[str] = msgspec.field(default_factory=list)

    def check(self, holds: object, cell: Cell, *said: object) -> None:
        """Count one comparison."""
        self.counts["comparisons"] += 1
        if not holds:
            self.wrong.append(f"{cell}: {'; '.join(map(str, said))}")


def stride() -> int:
    """Of how many cells of the whole product one is wanted; 0: the small set."""
    wish = os.environ.get("NONROOT_MATRIX", "")
    return 1 if wish == "full" else int(wish.removeprefix("1/")) if wish else 0


def rounds() -> Iterator[list[Cell]]:
    """The cells to run, some thousands at a time."""
    cells: Iterator[Cell] = matrix.product(stride()) if stride() else iter(matrix.covering())
    while chunk := list(islice(cells, AT_ONCE)):
        yield chunk


async def test_the_kubelet_and_the_runtime_agree(
    runtime: Node,
    batch_runner: BatchRunner,
    registry: str,
    record_property: Callable[[str, object], None],
) -> None:
    """As written, every cell ends as the model and we say; patched, it runs as who it was, HOME included."""
    total = Round()
    for chunk in rounds():
        cells = [cell for cell in chunk if runtime.says_who_runs or not cell.groups.strict]
        contents = {(cell.user, cell.accounts): images.content(cell.user, cell.files) for cell in cells}
        await images.push(registry, contents.values())
        await _round(total, cells, batch_runner, runtime)
    result = f"{dict(total.counts)}, {len(total.wrong)} disagreements"
    record_property(f"kubelet and containerd {runtime.version}", result)
    record_property("cells", total.counts["cells as written"] + total.counts["cells patched"])
    record_property("disagreements", len(total.wrong))
    record_property("statuses that say who runs", batch_runner.statuses["user"])
    assert not total.wrong, "\n".join(total.wrong[:20])
    assert batch_runner.statuses.keys() == {"user" if runtime.says_who_runs else "no user"}


async def _round(total: Round, cells: list[Cell], batch_runner: BatchRunner, runtime: Node) -> None:
    def expected(cell: Cell) -> Outcome:
        return model.outcome(cell.user, cell.files, cell.pod_context, cell.container_context, runtime)

    table = ours.Table({batch_runner.image(cell): ours.image(cell.user, cell.files) for cell in cells})
    verdicts = {cell: await ours.single(cell, batch_runner.image(cell), table) for cell in cells}

    seen = await batch_runner.run(cells, expected)
    total.counts["cells as written"] += len(seen)
    for cell, real in seen.items():
        total.counts[real.reason if isinstance(real, Stuck) else "ran"] += 1
        total.check(_same(expected(cell), real), cell, f"the model says {expected(cell)}", f"it was {real}")
        total.check(
            _predicted(ours.prediction(cell), real, runtime),
            cell,
            f"we predict {ours.prediction(cell)}",
            f"it was {real}",
        )
        total.check(
            _justified(total, cell, verdicts[cell], real),
            cell,
            f"the verdict is {verdicts[cell].state}",
            f"it was {real}",
        )

    cured = [cell for cell in cells if verdicts[cell].state == "fixable" or _good(verdicts[cell], seen[cell])]
    by_name = {cell: cell.undemanded if isinstance(seen[cell], Stuck) else cell for cell in cured}
    undemanded = {alone for alone in by_name.values() if alone not in seen}
    seen |= await batch_runner.run(undemanded, expected)
    total.counts["cells without the demand"] += len(undemanded)

    async def patch(pod: dict[str, Any]) -> dict[str, Any]:
        return await ours.patched(pod, table)

    after = await batch_runner.run(cured, lambda cell: seen[by_name[cell]], patch)
    total.counts["cells patched"] += len(after)
    for cell, real in after.items():
        before = seen[by_name[cell]]
        total.check(
            isinstance(before, Ran) and before.uid and before == real, cell, f"it was {before}", f"patched it is {real}"
        )


async def test_what_is_left_to_the_kubelet_runs_where_the_warning_says_and_never_as_root(
    runtime: Node, batch_runner: BatchRunner, registry: str, record_property: Callable[[str, object], None]
) -> None:
    """`onUnknown: Verify` with every form of USER: the kubelet starts a number above 0, and neither a name nor root."""
    cells, total = matrix.unread(stride()), Round()
    contents = {(cell.user, cell.accounts): images.content(cell.user, cell.files) for cell in cells}
    await images.push(registry, contents.values())
    table = ours.Table({batch_runner.image(cell): Unknown("unauthorized", "it asks for a password") for cell in cells})

    def expected(cell: Cell) -> Outcome:
        demanded = {**cell.container_context, "runAsNonRoot": True}
        return model.outcome(cell.user, cell.files, cell.pod_context, demanded, runtime)

    async def patch(pod: dict[str, Any]) -> dict[str, Any]:
        return await ours.patched(pod, table)

    for cell, real in (await batch_runner.run(cells, expected, patch)).items():
        total.counts[real.reason if isinstance(real, Stuck) else "ran"] += 1
        total.check(_same(expected(cell), real), cell, f"the model says {expected(cell)}", f"it was {real}")
        total.check(not isinstance(real, Ran) or real.uid, cell, f"it ran as root: {real}")
        total.check(
            not isinstance(real, Ran) or isinstance(model.image_user(cell.user), int), cell, f"a name ran: {real}"
        )
        said = [each.message for each in (await ours.single(cell, batch_runner.image(cell), table)).findings]
        total.check(any(WARNING in each for each in said), cell, f"the warning does not say what comes: {said}")
    record_property("left to the kubelet", f"{dict(total.counts)}, {len(total.wrong)} disagreements")
    assert not total.wrong, "\n".join(total.wrong[:20])
    assert total.counts["ran"]
    assert total.counts["CreateContainerConfigError"]


WARNING = "the kubelet decides: a numeric USER above 0 runs, and a named one or root does not start (CreateContainerConfigError)"


def _good(verdict: ContainerVerdict, real: Outcome) -> bool:
    return verdict.state == "compliant" and isinstance(real, Ran)


def _same(expected: Outcome, real: Outcome) -> bool:
    if isinstance(expected, Ran) or isinstance(real, Ran):
        return expected == real
    return expected.reason == real.reason and _says(expected.words, real)


def _says(words: str, real: Stuck) -> bool:
    """The kubelet adds to its sentence whom it means; the runtime wraps its own."""
    if real.reason == "CreateContainerConfigError":
        return real.words.startswith(f"{words} (pod: ")
    return words in real.words


def _predicted(ours: str | Ran | None, real: Outcome, node: Node) -> bool:
    """Our prediction is exact, but that we say nobody of whom an older kubelet or runtime would still make somebody."""
    if isinstance(ours, Ran):
        return ours == real or (
            max(ours.uid, *ours.groups) > INT31 and isinstance(real, Stuck) and real.reason in {"Frozen", "StartError"}
        )
    if ours is None:
        return not isinstance(real, Stuck) or real.reason != "CreateContainerConfigError"
    if "invalid user id" in ours and not node.refuses_numbers_out_of_range:
        return isinstance(real, Stuck) or not node.refuses_huge_numbers
    return isinstance(real, Stuck) and real.reason == "CreateContainerConfigError" and _says(ours, real)


def _justified(total: Round, cell: Cell, verdict: ContainerVerdict, real: Outcome) -> bool:
    """What is fine starts as non-root; what is refused is root, nobody, or the one thing that its rule names."""
    rules = {finding.rule for finding in verdict.findings if finding.severity == "error"}
    demanded = isinstance(real, Stuck) and real.reason == "CreateContainerConfigError"
    if verdict.state == "fixable":
        return demanded and rules == {"named-user"}
    if verdict.state == "compliant":
        if isinstance(real, Stuck) and not demanded and _numeric(cell):
            total.counts["a number over broken files, which nobody reads for it"] += 1
            return True
        return isinstance(real, Ran) and real.uid != 0
    if isinstance(real, Ran) and real.uid and rules == {"invalid-user"}:
        total.counts["refused, because another runtime makes root or nobody of it"] += 1
        return True
    return isinstance(real, Stuck) or real.uid == 0 or rules == {"identity-drift"}


def _numeric(cell: Cell) -> bool:
    return any(user is not None for user in cell.run_as) or isinstance(model.image_user(cell.user), int)


async def test_with_the_accounts_read_a_number_over_broken_files_is_refused() -> None:
    """A number needs no layers, so that broken files go unseen; whoever asks for the accounts is told."""
    for accounts in ("line of 70 KB", "line of 64 KiB", "gid negative", "gid of a group negative"):
        cell = Cell("1500", accounts)
        for read, state in ((False, "compliant"), (True, "denied")):
            table = ours.Table({"registry.test/app:1": ours.image(cell.user, cell.files, accounts=read)})
            assert (await ours.single(cell, "registry.test/app:1", table)).state == state, accounts


async def test_a_number_alone_would_change_who_runs(batch_runner: BatchRunner, runtime: Node, registry: str) -> None:
    """Why drift is refused: where two users share a uid, the runtime takes the first one's groups for the number."""
    named, numbered = (
        Cell("app", "uid twice, other groups"),
        Cell("app", "uid twice, other groups", run_as=(None, 1500)),
    )
    await images.push(registry, [images.content(named.user, named.files)])
    seen = await batch_runner.run(
        [named, numbered],
        lambda cell: model.outcome(cell.user, cell.files, cell.pod_context, cell.container_context, runtime),
    )
    assert seen[named] == Ran(1500, 1600, (1600, 1700), "/home/legacy")
    assert seen[numbered] == Ran(1500, 1600, (888, 1600), "/home/legacy")


async def test_account_files_that_are_absolute_links(batch_runner: BatchRunner, runtime: Node, registry: str) -> None:
    """They are what they lead to, as we read them; or no container of the image is created, whoever it is to be."""
    cells = [
        Cell("app", "found"),
        Cell("1500", "found"),
        Cell(None, "found"),
        Cell("app", "found", run_as=(None, 1500)),
    ]
    contents = {cell: images.linked(cell.user, cell.files) for cell in cells}
    await images.push(registry, contents.values())

    def expected(cell: Cell) -> Outcome:
        if not runtime.follows_absolute_links:
            return Stuck("CreateContainerError", "path escapes from parent")
        return model.outcome(cell.user, cell.files, cell.pod_context, cell.container_context, runtime)

    behind = msgspec.structs.replace(batch_runner, image=lambda cell: images.reference(registry, contents[cell]))
    for cell, real in (await behind.run(cells, expected)).items():
        assert _same(expected(cell), real), f"{cell}: expected {expected(cell)}, it was {real}"
