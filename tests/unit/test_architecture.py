"""The layout is a contract: pyproject.toml says who may import whom, and what stays off the fast path."""

import logging.config
import re
import tomllib
from pathlib import Path

import grimp
import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

ROOT = Path(__file__).parents[2]
TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
SETTINGS = TOOLS["importlinter"]
# What opens sockets and files, and what is made for that; everything else is the path.
EDGE = frozenset(
    {
        "__main__",
        "caching",
        "check",
        "cli",
        "cluster",
        "controller",
        "http",
        "identity_api",
        "json_output",
        "metrics",
        "registry",
        "scan",
        "server",
    }
)

# Unit tests of a whole package, named after the property that they are about; all others are named after their module.
PROPERTIES = {
    "": {"architecture", "readme"},
    "admission": {"exemptions", "guarantee", "left_to_the_kubelet"},
    "check": {"corpus"},
    "check/practices": {"rows"},
    "cli/output": {"formats"},
    "dockerfile": {"bounds", "corpus", "rules"},
    "evaluation": {"exemptions", "observed_images"},
    "evaluation/rules": {"cases", "dispatch", "every_rule", "words"},
    "registry": {"chaos", "fairness", "fuzzing", "hostile", "memory", "official_images", "quirks"},
    "registry/transport": {"tls"},
    "server": {"memory"},
}


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


def test_the_folder_names_say_what_there_is() -> None:
    """At most six modules stand beside the packages; a seventh belongs into one of them."""
    loose = {file.stem for file in (ROOT / "webhook").glob("*.py")} - {"__init__", "__main__"}
    assert len(loose) <= 6, sorted(loose)


def test_a_process_has_one_connection_to_the_api_server() -> None:
    """The server makes one, the controller makes one, and each command that asks a cluster; all else is given it."""
    webhook = ROOT / "webhook"
    made = [
        file.relative_to(webhook).as_posix()
        for file in webhook.rglob("*.py")
        for _ in re.finditer(r"(?<!class )\bCluster\(", file.read_text())
    ]
    assert sorted(made) == ["cli/policy.py", "cli/scan.py", "cli/why.py", "controller/manager.py", "server/server.py"]


def test_unit_tests_mirror_the_layout() -> None:
    """Whoever moves a module moves its test: tests/unit/PACKAGE/test_MODULE.py. tests/unit/deploy is about deploy/."""
    units, webhook = ROOT / "tests/unit", ROOT / "webhook"
    unplaced = []
    for file in units.rglob("test_*.py"):
        package, name = file.parent.relative_to(units).as_posix().removeprefix("."), file.stem.removeprefix("test_")
        module = (webhook / package / f"{name}.py").exists()
        if package != "deploy" and not module and name not in PROPERTIES.get(package, ()):
            unplaced.append(f"{package}/{name}")
    assert unplaced == [], "name them after a module, or list them in PROPERTIES"
    named = [units / package / f"test_{name}.py" for package, names in PROPERTIES.items() for name in names]
    assert [file for file in named if not file.exists()] == []


def test_a_unit_test_needs_nothing_but_python() -> None:
    """So that `pytest tests/unit` needs no marker expression: what has a marker for a need stands in tests/integration."""
    markers = {each.partition(":")[0] for each in TOOLS["pytest"]["ini_options"]["markers"]} - {"thorough"}
    marked = re.compile(rf"pytest\.mark\.({'|'.join(markers)})\b")
    assert [file.name for file in (ROOT / "tests/unit").rglob("*.py") if marked.search(file.read_text())] == []


def test_a_unit_test_starts_no_process() -> None:
    """A second each: what is proven of a process stands in tests/integration."""
    starts = re.compile(r"^(import subprocess|from tests\.support\.command)\b", re.MULTILINE)
    assert [file.name for file in (ROOT / "tests/unit").rglob("*.py") if starts.search(file.read_text())] == []


def test_nothing_outside_of_the_tests_imports_them() -> None:
    """What a demonstration and a test share stands in deploy/dev/."""
    graph = grimp.build_graph("webhook", "deploy", "tests", cache_dir=None)
    tests = graph.find_descendants("tests") | {"tests"}
    importers = {name for test in tests for name in graph.find_modules_that_directly_import(test)}
    assert importers - tests == set()
