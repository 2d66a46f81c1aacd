"""Completion behind `kubectl nonroot`: kubectl asks the program `kubectl_complete-nonroot` what may come next.

Source: kubernetes staging/src/k8s.io/kubectl/pkg/cmd/plugin/plugin_completion.go; spf13/cobra completions.go (the directives).
"""

import sys

import click
from click.shell_completion import ShellComplete

from webhook.cli.main import main

_FILES, _NOTHING_ELSE = ":0", ":4"


def kubectl() -> None:
    """Print what may stand in place of the last argument, one a line, and a directive: whether files may, too."""
    *words, begun = sys.argv[1:] or [""]
    found = ShellComplete(main, {}, "nonroot", "").get_completions(words, begun)
    named = [each.value for each in found if each.type == "plain"]
    click.echo("\n".join([*named, _FILES if len(named) < len(found) else _NOTHING_ELSE]))
