"""What the demonstration prints fits the terminal: cards where it is narrow, a table where there is room."""

import io
from typing import Any

import pytest
from rich.console import Console

from deploy.demo.reviews import Admitted, pod
from deploy.demo.rows import Row, shown

IDENTITIES = 'app: uid 1000 (USER "appuser" in the image\'s /etc/passwd)'
PATCH = [
    {"path": "/spec/containers/0/securityContext", "value": {"runAsUser": 1000, "capabilities": {"drop": ["ALL"]}}},
    {"path": "/metadata/annotations", "value": {}},
]


def row(name: str, *, allowed: bool = True, expected: bool | None = True) -> Row:
    validated: dict[str, Any] = {"allowed": allowed, "auditAnnotations": {"identities": IDENTITIES}}
    document = pod(name, "registry.example/app:1")
    return Row(document, Admitted(PATCH if allowed else [], {}, validated, document), "USER appuser", expected)


def printed(rows: list[Row], width: int, *, terminal: bool = False) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, color_system="standard" if terminal else None)
    console.print(shown(rows, width))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [40, 80, 119])
def test_a_narrow_terminal_has_a_card_of_four_lines_for_each_pod(width: int) -> None:
    lines = printed([row("web"), row("db" * 60, allowed=False, expected=False)], width)
    assert len(lines) == 8
    assert max(map(len, lines)) <= width
    assert lines[0].startswith("allowed ✓  Pod web  USER appuser"[:width])
    assert lines[4].startswith("denied ✗ not what was expected")


def test_a_card_says_who_and_what_the_kubelet_and_we_do() -> None:
    assert printed([row("web")], 100)[1:] == [
        f"  who      {IDENTITIES}",
        "  kubelet  container has runAsNonRoot and image has non-numeric user (appuser), cannot verify user …",
        "  patch    runAsUser: 1000, capabilities: drop ALL",
    ]


def test_a_wide_terminal_has_a_table() -> None:
    lines = printed([row("web")], 120)
    assert lines[0].startswith("┌")
    assert max(map(len, lines)) <= 120


def test_the_answer_is_in_colour_on_a_terminal() -> None:
    assert "\x1b[1;32mallowed\x1b[0m" in printed([row("web")], 80, terminal=True)[0]
    assert "\x1b[1;31mdenied\x1b[0m" in printed([row("web", allowed=False)], 80, terminal=True)[0]
