"""The picture of the dashboard: every panel is in it, with what its queries gave, as text that cannot be markup."""

import json
from typing import Any, cast
from xml.etree import ElementTree as ET

import pytest

from deploy.dev.dashboard import LINES, SCHEMES, SOURCE, draw, read
from deploy.local.prometheus import Prometheus

START, END = 1_000.0, 1_300.0


class Answers:
    """A Prometheus that gives the same series to every query."""

    def __init__(self, *values: float | str) -> None:
        self.values = values
        self.asked: list[dict[str, str]] = []

    def ask(self, _path: str, **query: str) -> Any:
        self.asked.append(query)
        series = [
            {
                "metric": {"door": f"<{number}>", "verdict": str(number)},
                "values": [[START, str(value)], [END, str(value)]],
            }
            for number, value in enumerate(self.values)
        ]
        return {"result": series}


def picture(*values: float | str, scheme: str = "light") -> str:
    return draw(read(cast(Prometheus, Answers(*values)), START, END), START, END, scheme)


def texts(svg: str) -> list[str]:
    root = ET.fromstring(svg)  # noqa: S314 - ours
    return [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("values", [(), (0.0,), (1.5, 2e9), tuple(float(each) for each in range(LINES + 3))])
def test_every_panel_is_in_the_picture(values: tuple[float, ...], scheme: str) -> None:
    shown = texts(picture(*values, scheme=scheme))
    assert {each["title"] for each in json.loads(SOURCE.read_text())["panels"]} <= set(shown)
    assert ("No data" in shown) == (not values)
    assert any(each.startswith("and ") for each in shown) == (len(values) > LINES)


def test_what_is_no_number_is_not_drawn() -> None:
    """As a quantile over nothing is."""
    svg = picture("NaN", "+Inf")
    assert "nan" not in svg
    assert "inf" not in svg
    assert "No data" in texts(svg)


def test_labels_are_text_and_the_variables_are_filled_in() -> None:
    answers = Answers(1.0)
    shown = texts(draw(read(cast(Prometheus, answers), START, END), START, END, "dark"))
    assert "<0> p50" in shown
    assert not [each for each in answers.asked if "$" in each["query"]]
