"""The counts of former scans as a picture: columns as wide as their time, of parts as high as their counts."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from itertools import accumulate, pairwise

import msgspec

from webhook.evaluation.verdict import State
from webhook.scan.document import Sample

WIDTH, HEIGHT = 1000, 100


class Rect(msgspec.Struct, frozen=True):
    """One state's part of one column."""

    state: State
    x: float
    width: float
    y: float
    height: float


def rects(history: Sequence[Sample], until: datetime, states: Collection[State]) -> Iterator[Rect]:
    """The picture from the first sample until a moment, with `states` from the bottom up; nothing where no time has passed."""
    times = [at.timestamp() for at in (*(each.at for each in history), until)]
    span, most = times[-1] - times[0], max(sum(_counts(each, states)) for each in history)
    if span <= 0 or not most:
        return
    edges = [round(WIDTH * (time - times[0]) / span, 1) for time in times]
    for each, (start, end) in zip(history, pairwise(edges), strict=True):
        counts = _counts(each, states)
        for state, count, top in zip(states, counts, accumulate(counts), strict=True):
            if count and end > start:
                height = round(HEIGHT * count / most, 1)
                yield Rect(state, start, round(end - start, 1), round(HEIGHT * (1 - top / most), 1), height)


def _counts(sample: Sample, states: Collection[State]) -> list[int]:
    return [getattr(sample, state) for state in states]


def unchanged_since(history: Sequence[Sample], state: State) -> tuple[datetime, bool]:
    """Since when the last sample's count of a state is what it is, and whether it is known to have been another before."""
    last = getattr(history[-1], state)
    at = history[-1].at
    for each in reversed(history):
        if getattr(each, state) != last:
            return at, True
        at = each.at
    return at, False
