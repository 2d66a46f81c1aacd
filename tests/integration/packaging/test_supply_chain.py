"""What the image is made of: the lock, the SBOM, the imports and the declared dependencies say the same."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.utils import NormalizedName, canonicalize_name

from tests.support.locks import ROOT, Pin, pins

LOCK = ROOT / "requirements.txt"
SOURCES = sorted((ROOT / "webhook").rglob("*.py"))


def _declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = project["dependencies"] + [each for name in extras.keys() - {"dev"} for each in extras[name]]
    return {canonicalize_name(re.split(r"[\[<>=~; ]", each)[0]) for each in declared}


def _imported() -> set[str]:
    """Distributions that the package imports, wherever in a file the import stands."""
    tops: set[str] = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                tops |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                tops.add(node.module.partition(".")[0])
    known = metadata.packages_distributions()
    outside = tops - set(sys.stdlib_module_names) - {"webhook", "deploy", "tests"}
    return {canonicalize_name(name) for top in outside for name in known[top]}


def test_whatever_is_imported_is_declared_and_whatever_is_declared_is_used() -> None:
    assert _imported() == _declared()


def test_the_lock_of_the_command_line_is_the_part_of_the_whole_that_it_needs() -> None:
    whole = pins(LOCK)
    part = pins(ROOT / "requirements-cli.txt")
    assert part.items() <= whole.items()
    assert not part.keys() & {"uvloop", "kopf", "uvicorn", "cryptography"}


def test_everything_that_can_be_installed_is_pinned_with_hashes() -> None:
    """The declared and all that they bring; two hashes at least, a wheel for each architecture or a wheel and the source."""
    pinned = pins(LOCK)
    assert _declared() <= pinned.keys()
    assert [name for name, pin in pinned.items() if not pin.hashes] == []


@pytest.fixture(scope="module")
def sbom() -> dict[NormalizedName, Pin]:
    """Every package, by the file that a release publishes."""
    subprocess.run(["make", "--silent", "sbom"], cwd=ROOT, check=True, capture_output=True)
    document = json.loads((ROOT / "dist" / "sbom.cdx.json").read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["component"]["name"] == "nonroot-webhook"
    found = {}
    for each in document["components"]:
        assert each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}"
        hashes = {one["content"] for reference in each["externalReferences"] for one in reference["hashes"]}
        found[canonicalize_name(each["name"])] = Pin(each["version"], frozenset(hashes))
    return found


def test_the_sbom_is_the_lock(sbom: dict[NormalizedName, Pin]) -> None:
    """Made by cyclonedx-py, compared by our own reading of the same file: nothing is left out, nothing added."""
    assert sbom == pins(LOCK)


def test_the_environment_that_was_tested_has_these_versions(sbom: dict[NormalizedName, Pin]) -> None:
    assert {name: metadata.version(name) for name in sbom} == {name: pin.version for name, pin in sbom.items()}


@pytest.mark.index
@pytest.mark.timeout(600)
@pytest.mark.parametrize("platform", ["win_amd64", "macosx_11_0_arm64"])
def test_the_command_line_resolves_on_other_systems(platform: str) -> None:
    """By wheels alone, without what only a server needs."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"]
    command += ["--only-binary=:all:", "--python-version", "3.13", "--implementation", "cp", "--platform", platform]
    command += ["--target", "/nowhere", "--no-deps", "--require-hashes", "-r", str(ROOT / "requirements-cli.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.index
@pytest.mark.timeout(600)
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_there_is_a_wheel_of_every_pin_for_each_architecture(machine: str, tmp_path: Path) -> None:
    """As the Dockerfile asks for them: wheels only, by hash. test_release.py builds both images."""
    tags = [f"manylinux_2_{minor}_{machine}" for minor in (36, 35, 34, 31, 28, 26, 24, 17, 12, 5)]
    tags += [f"manylinux2014_{machine}", f"manylinux1_{machine}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--python-version", "3.13", "--implementation", "cp"]
    command += [word for tag in tags for word in ("--platform", tag)]
    done = subprocess.run(
        [*command, "--dest", str(tmp_path), "-r", str(LOCK)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    names = {canonicalize_name(path.name.partition("-")[0]) for path in tmp_path.glob("*.whl")}
    assert names == pins(LOCK).keys()
    assert any(path.name.endswith(f"_{machine}.whl") for path in tmp_path.glob("uvloop-*"))
