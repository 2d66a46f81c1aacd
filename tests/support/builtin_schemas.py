"""The published schemas of GitHub's, Dependabot's and compose's files, by check-jsonschema in this process."""

from collections.abc import Iterable
from pathlib import Path

from check_jsonschema import main  # type: ignore[import-untyped]  # it ships no types
from click.testing import CliRunner


def complaints(schema: str, files: Iterable[Path]) -> str:
    """What check-jsonschema says about files that do not fit its schema of that name; nothing if all fit."""
    done = CliRunner().invoke(main, ["--builtin-schema", f"vendor.{schema}", *map(str, files)])
    return "" if done.exit_code == 0 else done.output or repr(done.exception)
