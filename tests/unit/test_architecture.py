"""The layout is a contract: pyproject.toml says who may import whom, and what stays off the fast path."""

import logging.config
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
# What opens sockets and files, and what is made for that; everything else is the path.
EDGE = frozenset(
    {
        "__main__",
        "caching",
        "certificates",
        "check",
        "cli",
        "cluster",
        "controller",
        "json_output",
        "proxies",
        "metrics",
        "registry",
        "scan",
        "server",
    }
)


def test_the_contracts_are_kept(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers, rules that do not know each other, a path without network; what is broken is printed."""
    monkeypatch.setattr(logging.config, "dictConfig", lambda _config: None)  # it would silence every logger there is
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_every_module_is_on_the_path_or_at_the_edge() -> None:
    """A new module is placed by whoever adds it: no contract is silent about it."""
    graph = grimp.build_graph("webhook", cache_dir=None)
    path = next(each for each in SETTINGS["contracts"] if each["name"].startswith("The path itself"))
    modules = {name.removeprefix("webhook.") for name in graph.find_children("webhook")}
    placed = {name.removeprefix("webhook.") for name in path["source_modules"]}
    assert placed | EDGE == modules
    assert not placed & EDGE


@pytest.mark.parametrize("module", ["webhook.cli.main", "webhook.server.server"])
def test_the_fast_path_never_loads_what_is_slow(module: str) -> None:
    """Half a second and 60 MiB that neither the command line nor a standalone server needs."""
    program = f"import {module}, sys; print(*sorted({{'kopf', 'kubernetes'}} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT)
    assert loaded.stdout.split() == []
