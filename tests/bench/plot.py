"""Draw curves: {title: [[x, y], …]} on standard input, an SVG file out. Run by the bench's own Python (`venv.py`)."""

import json
import sys

import matplotlib as mpl  # type: ignore[import-not-found,unused-ignore]  # in an environment of its own

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "bench"
import matplotlib.pyplot as plt  # type: ignore[import-not-found,unused-ignore]  # noqa: E402  # after the backend

curves = json.load(sys.stdin)
figure, fields = plt.subplots(2, -(-len(curves) // 2), figsize=(10, 5.5), layout="constrained", squeeze=False)
for field, (title, points) in zip(fields.flat, curves.items(), strict=True):
    field.plot(*zip(*points, strict=True), marker="o", color="#3367d6")
    field.set(title=title, xscale="symlog" if points[-1][0] > 99 else "linear")
    field.set_ylim(0, 1.2 * max(y for _, y in points))
for row in fields:
    row[0].set_ylabel("µs of CPU a review")
figure.savefig(sys.argv[1], metadata={"Date": None})
