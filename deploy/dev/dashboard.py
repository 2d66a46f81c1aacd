"""The chart's dashboard as a picture: its own panels and queries, answered by a real Prometheus, drawn as SVG.

Grafana itself is not needed: a panel is where the dashboard's file places it, and shows what its queries give.
"""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import msgspec

from deploy import release
from deploy.local.prometheus import Prometheus, filled_in

SOURCE = release.CHART / "files" / "dashboards" / "nonroot-webhook.json"
COLUMN, ROW, GAP = 52, 32, 8  # pixels of a cell of the dashboard's grid, and between panels
POINTS = 200  # of a line
LINES = 6  # of a panel that are drawn and named; the rest are counted
SCHEMES = {
    "light": {"paper": "#f4f5f7", "panel": "#ffffff", "line": "#d0d7de", "ink": "#1c2127", "quiet": "#57606a"},
    "dark": {"paper": "#0d1117", "panel": "#161b22", "line": "#30363d", "ink": "#e6edf3", "quiet": "#9aa5b1"},
}
COLORS = ("#3b82c4", "#2f9e5f", "#c98a12", "#d1495b", "#8b6cc9", "#2a9da8")
FONT = "system-ui, sans-serif"


class Line(msgspec.Struct, frozen=True):
    """One series: its name, and its points as seconds and values."""

    name: str
    points: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float:
        """The last value."""
        return self.points[-1][1]


class Panel(msgspec.Struct, frozen=True):
    """A panel with the answers to its queries."""

    kind: str
    title: str
    unit: str
    x: int
    y: int
    width: int
    height: int
    lines: tuple[Line, ...]


def read(prometheus: Prometheus, start: float, end: float) -> tuple[Panel, ...]:
    """Every panel of the dashboard, as it is between two moments."""
    return tuple(_panel(each, prometheus, start, end) for each in json.loads(SOURCE.read_text())["panels"])


def _panel(source: dict[str, Any], prometheus: Prometheus, start: float, end: float) -> Panel:
    place = source["gridPos"]
    unit = source.get("fieldConfig", {}).get("defaults", {}).get("unit", "short")
    asked = (_lines(each, prometheus, start, end) for each in source.get("targets", ()))
    lines = tuple(line for found in asked for line in found)
    return Panel(source["type"], source["title"], unit, place["x"], place["y"], place["w"], place["h"], lines)


def _lines(target: dict[str, str], prometheus: Prometheus, start: float, end: float) -> Iterator[Line]:
    step = max(1, round((end - start) / POINTS))
    span = {"start": f"{start:.0f}", "end": f"{end:.0f}", "step": str(step)}
    for each in prometheus.ask("query_range", query=filled_in(target["expr"]), **span)["result"]:
        points = tuple((float(at), float(value)) for at, value in each["values"] if math.isfinite(float(value)))
        if points:
            yield Line(_legend(target["legendFormat"], each["metric"]), points)


def _legend(pattern: str, labels: dict[str, str]) -> str:
    for key, value in labels.items():
        pattern = pattern.replace(f"{{{{{key}}}}}", value)
    return pattern


def draw(panels: Sequence[Panel], start: float, end: float, scheme: str) -> str:
    """The picture in one of the `SCHEMES`."""
    color = SCHEMES[scheme]
    width, height = 24 * COLUMN + GAP, max(each.y + each.height for each in panels) * ROW + GAP
    body = "\n".join(_drawn(each, start, end, color) for each in panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="{FONT}" role="img">\n'
        f"<title>The Grafana dashboard of nonroot-webhook</title>\n"
        f'<rect width="{width}" height="{height}" fill="{color["paper"]}"/>\n{body}\n</svg>\n'
    )


def _drawn(panel: Panel, start: float, end: float, color: dict[str, str]) -> str:
    x, y = panel.x * COLUMN + GAP, panel.y * ROW + GAP
    width, height = panel.width * COLUMN - GAP, panel.height * ROW - GAP
    if panel.kind == "row":
        return _text(x, y + 18, panel.title, color["ink"], 16, bold=True)
    box = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" fill="{color["panel"]}" stroke="{color["line"]}"/>'
    title = _text(x + 10, y + 20, panel.title, color["ink"], 13, bold=True)
    content = _stat if panel.kind == "stat" else _series
    return "\n".join((box, title, *content(panel, x, y, width, height, (start, end), color)))


def _stat(
    panel: Panel, x: int, y: int, width: int, height: int, _: tuple[float, float], color: dict[str, str]
) -> Iterator[str]:
    shown = panel.lines[:LINES]
    if not shown:
        yield _text(x + width / 2, y + height / 2 + 18, "No data", color["quiet"], 14, anchor="middle")
    for index, each in enumerate(shown):
        middle = x + width * (2 * index + 1) / (2 * len(shown))
        yield _text(middle, y + height / 2 + 24, _number(each.last, panel.unit), color["ink"], 32, anchor="middle")
        if each.name:
            yield _text(middle, y + height / 2 + 42, each.name, color["quiet"], 11, anchor="middle")


def _series(
    panel: Panel, x: int, y: int, width: int, height: int, span: tuple[float, float], color: dict[str, str]
) -> Iterator[str]:
    shown = sorted(panel.lines, key=lambda each: -max(value for _, value in each.points))
    left, top, right, bottom = (
        x + 62,
        y + 34,
        x + width - 12,
        y + height - 20 - 14 * -(-min(len(shown), LINES + 1) // 2),
    )
    if not shown:
        yield _text((left + right) / 2, (top + bottom) / 2, "No data", color["quiet"], 14, anchor="middle")
        return
    most = max(value for _, value in shown[0].points) or 1.0
    for part in (0, 0.5, 1):
        level = round(bottom - part * (bottom - top), 1)
        yield f'<path d="M{left} {level}H{right}" stroke="{color["line"]}"/>'
        yield _text(left - 6, level + 4, _number(part * most, panel.unit), color["quiet"], 11, anchor="end")
    start, end = span
    for index, each in enumerate(shown[:LINES]):
        path = " ".join(
            f"{left + (at - start) / (end - start) * (right - left):.1f},{bottom - value / most * (bottom - top):.1f}"
            for at, value in each.points
        )
        stroke = COLORS[index]
        yield f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="1.5"/>'
        column, line = index % 2, index // 2
        at, below = x + 12 + column * (width / 2 - 6), bottom + 20 + 14 * line
        yield f'<rect x="{at}" y="{below - 7}" width="8" height="3" fill="{stroke}"/>'
        yield _text(at + 13, below, each.name, color["quiet"], 11)
    if len(shown) > LINES:
        yield _text(x + 12, bottom + 20 + 14 * (LINES // 2), f"and {len(shown) - LINES} more", color["quiet"], 11)


def _text(x: float, y: float, text: str, color: str, size: int, *, bold: bool = False, anchor: str = "start") -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}"{weight} text-anchor="{anchor}" fill="{color}">{escape(text)}</text>'


def _number(value: float, unit: str) -> str:
    """A value as people read it, in the panel's unit."""
    if unit == "s" and abs(value) >= 2 * 86_400:
        return f"{value / 86_400:.0f} d"
    if unit == "s" and abs(value) < 1:
        return f"{1000 * value:.3g} ms"
    if unit == "percentunit":
        return f"{value:.0%}"
    for size, prefix in ((1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")):
        if unit in {"bytes", "Bps"} and abs(value) >= size:
            return f"{value / size:.3g} {prefix}B{'/s' * (unit == 'Bps')}"
    return f"{value:.3g}{ {'s': ' s', 'reqps': '/s', 'cps': '/s', 'bytes': ' B', 'Bps': ' B/s'}.get(unit, '') }"


def save(panels: Sequence[Panel], start: float, end: float, folder: Path) -> None:
    """Both pictures."""
    for scheme in SCHEMES:
        (folder / f"dashboard-{scheme}.svg").write_text(draw(panels, start, end, scheme), encoding="utf-8")
