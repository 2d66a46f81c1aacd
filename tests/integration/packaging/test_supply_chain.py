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

ROOT = Path(__file__).resolve().parents[3]
LOCK = ROOT / "requirements.txt"
SOURCES = sorted((ROOT / "webhook").rglob("*.py"))


def _canonical(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _pinned() -> dict[str, tuple[str, set[str]]]:
    """Name to version and hashes, of every line of the lock."""
    found = {}
    for line in LOCK.read_text().replace("\\\n", " ").splitlines():
        if match := re.match(r"([\w.-]+)==(\S+)", line):
            found[_canonical(match[1])] = (match[2], set(re.findall(r"sha256:([0-9a-f]{64})", line)))
    return found


def _declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {_canonical(re.split(r"[\[<>=~; ]", each)[0]) for each in project["dependencies"]}


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
    return {_canonical(name) for top in outside for name in known[top]}


def test_whatever_is_imported_is_declared_and_whatever_is_declared_is_used() -> None:
    assert _imported() == _declared()


def test_everything_that_can_be_installed_is_pinned_with_hashes() -> None:
    """The declared and all that they bring; two hashes at least, a wheel for each architecture or a wheel and the source."""
    pinned = _pinned()
    assert _declared() <= pinned.keys()
    assert [name for name, (_, hashes) in pinned.items() if not hashes] == []


@pytest.fixture(scope="module")
def sbom() -> dict[str, tuple[str, set[str]]]:
    """Name to version and hashes, by the file that a release publishes."""
    subprocess.run(["make", "--silent", "sbom"], cwd=ROOT, check=True, capture_output=True)
    document = json.loads((ROOT / "dist" / "sbom.cdx.json").read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["component"]["name"] == "nonroot-webhook"
    found = {}
    for each in document["components"]:
        assert each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}"
        hashes = {one["content"] for reference in each["externalReferences"] for one in reference["hashes"]}
        found[_canonical(each["name"])] = (each["version"], hashes)
    return found


def test_the_sbom_is_the_lock(sbom: dict[str, tuple[str, set[str]]]) -> None:
    """Made by cyclonedx-py, compared by our own reading of the same file: nothing is left out, nothing added."""
    assert sbom == _pinned()


def test_the_environment_that_was_tested_has_these_versions(sbom: dict[str, tuple[str, set[str]]]) -> None:
    assert {name: metadata.version(name) for name in sbom} == {name: version for name, (version, _) in sbom.items()}


@pytest.mark.index
@pytest.mark.timeout(600)
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_there_is_a_wheel_of_every_pin_for_each_architecture(machine: str, tmp_path: Path) -> None:
    """As the Dockerfile asks for them: wheels only, by hash. The arm64 image is built by a release and was not run here."""
    tags = [f"manylinux_2_{minor}_{machine}" for minor in (36, 35, 34, 31, 28, 26, 24, 17, 12, 5)]
    tags += [f"manylinux2014_{machine}", f"manylinux1_{machine}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--python-version", "3.11", "--implementation", "cp"]
    command += [word for tag in tags for word in ("--platform", tag)]
    done = subprocess.run(
        [*command, "--dest", str(tmp_path), "-r", str(LOCK)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    names = {_canonical(path.name.partition("-")[0]) for path in tmp_path.glob("*.whl")}
    assert names == _pinned().keys()
    assert any(path.name.endswith(f"_{machine}.whl") for path in tmp_path.glob("uvloop-*"))
