"""A small deterministic generator of covering arrays: every pair of values of every two axes, in few rows."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from itertools import combinations, product

import msgspec

Pair = tuple[tuple[int, int], tuple[int, int]]  # two axes in ascending order, and a value of each


def pairwise(
    sizes: Sequence[int], fillers: Sequence[int], impossible: AbstractSet[Pair] = frozenset()
) -> list[tuple[int, ...]]:
    """Rows of indices in which every two axes show every pair of their values; axis i has `sizes[i]` values.

    The axes must stand with the two largest first: their product is the least that any such array can have, and every
    row is then filled greedily with the value that covers most of what is missing. Where nothing is missing, the first
    `fillers[i]` values of the axis take turns. No row holds an `impossible` pair.
    """
    missing = {
        (axes, values)
        for axes in combinations(range(len(sizes)), 2)
        for values in product(range(sizes[axes[0]]), range(sizes[axes[1]]))
    } - impossible
    table = _Table(sizes, fillers, impossible, missing)
    rows = [
        table.row({0: first, 1: second}, turn)
        for turn, (first, second) in enumerate(product(range(sizes[0]), range(sizes[1])))
    ]
    while missing:
        axes, values = min(missing)
        rows.append(table.row(dict(zip(axes, values, strict=True)), len(rows)))
    return rows


class _Table(msgspec.Struct, frozen=True):
    sizes: Sequence[int]
    fillers: Sequence[int]
    impossible: AbstractSet[Pair]
    missing: set[Pair]

    def row(self, chosen: dict[int, int], turn: int) -> tuple[int, ...]:
        """The row that holds what is chosen, and as much of what is missing as one value after the other can add.

        Equally good values take turns, or else the same ones would always meet.
        """
        for axis, size in enumerate(self.sizes):
            if axis not in chosen:
                order = [(value + turn) % size for value in range(size)]
                gains = {value: self._gain(chosen, axis, value) for value in order}
                best = max(order, key=gains.__getitem__)
                chosen[axis] = best if gains[best] > 0 else self._filler(chosen, axis, turn)
        for axis, value in chosen.items():
            self.missing.difference_update(_pairs(chosen, axis, value))
        return tuple(chosen[axis] for axis in range(len(self.sizes)))

    def _gain(self, chosen: dict[int, int], axis: int, value: int) -> int:
        pairs = _pairs(chosen, axis, value)
        return -1 if self.impossible & pairs else len(self.missing & pairs)

    def _filler(self, chosen: dict[int, int], axis: int, turn: int) -> int:
        fillers = self.fillers[axis]
        order: list[int] = [*((turn + step) % fillers for step in range(fillers)), *range(fillers, self.sizes[axis])]
        return next(value for value in order if not self.impossible & _pairs(chosen, axis, value))


def _pairs(chosen: dict[int, int], axis: int, value: int) -> set[Pair]:
    """The pairs that a value forms with what is chosen on other axes."""
    return {
        ((axis, other), (value, taken)) if axis < other else ((other, axis), (taken, value))
        for other, taken in chosen.items()
        if other != axis
    }
