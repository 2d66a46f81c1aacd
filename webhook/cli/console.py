"""Lines for a person: with colours where standard output is a terminal that wants them, and never wrapped."""

import io
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text


def printed(lines: Iterable[str | Text]) -> str:
    """The lines as one text, each with its end."""
    out = io.StringIO()
    terminal = sys.stdout.isatty()
    console = Console(file=out, force_terminal=terminal, soft_wrap=True, highlight=False, markup=False, emoji=False)
    for each in lines:
        console.print(each)
    return out.getvalue()
