"""The locks are complete, so they are installed without resolving, and what is published later changes nothing."""

import hashlib
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from tests.support.locks import ROOT, Pin, pins

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DEV = pins(ROOT / "requirements-dev.txt")
EXTRAS = PROJECT["project"]["optional-dependencies"]
CLI_ROOTS = PROJECT["project"]["dependencies"] + EXTRAS["cluster"]
RUNTIME_ROOTS = CLI_ROOTS + EXTRAS["server"] + EXTRAS["controller"]
ROOTS = {
    "requirements-cli.txt": CLI_ROOTS,
    "requirements.txt": RUNTIME_ROOTS,
    "requirements-dev.txt": RUNTIME_ROOTS + EXTRAS["dev"],
    "requirements-build.txt": PROJECT["build-system"]["requires"],
}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


@pytest.mark.parametrize("lock", ROOTS)
def test_the_environment_that_is_tested_is_the_locks(lock: str) -> None:
    assert {name: metadata.version(name) for name in pins(ROOT / lock)} == {
        name: pin.version for name, pin in pins(ROOT / lock).items()
    }


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", ROOTS)
def test_whatever_a_pinned_package_requires_is_pinned_at_a_version_that_it_takes(lock: str, python: str) -> None:
    """By the metadata of what is installed, and for the extras that somebody asks for, on each Python."""
    pinned = pins(ROOT / lock)
    for requirement in _required(ROOTS[lock], python, metadata.requires):
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{requirement} is not in {lock}: make lock"
        assert requirement.specifier.contains(pinned[name].version, prereleases=True), f"{requirement} in {lock}"


@pytest.mark.index
@pytest.mark.timeout(600)
@pytest.mark.parametrize("python", PYTHONS)
def test_the_documentations_lock_is_complete_too(python: str) -> None:
    """It has an environment of its own, which `make docs` makes."""
    subprocess.run(["make", "--no-print-directory", ".venv/.docs"], cwd=ROOT, check=True)
    (site,) = (ROOT / ".venv/docs/lib").glob("python*/site-packages")
    installed = {canonicalize_name(each.name): each for each in metadata.distributions(path=[str(site)])}
    pinned = pins(ROOT / "docs/requirements.txt")
    assert {name: installed[name].version for name in pinned} == {name: pin.version for name, pin in pinned.items()}
    roots = (ROOT / "docs/requirements.in").read_text().split()
    for requirement in _required(roots, python, lambda name: installed[canonicalize_name(name)].requires):
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{requirement} is not in docs/requirements.txt: make lock"
        assert requirement.specifier.contains(pinned[name].version, prereleases=True), f"{requirement} in docs"


def _required(roots: list[str], python: str, requires: Callable[[str], list[str] | None]) -> Iterator[Requirement]:
    """The roots and, for each package that they lead to, what it `requires` on Linux with that Python."""
    environment: dict[str, Any] = {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.0",
    }
    open_ = [(Requirement(root), "") for root in roots]
    seen = set()
    while open_:
        requirement, extra = open_.pop()
        if requirement.marker and not requirement.marker.evaluate({**environment, "extra": extra}):
            continue
        yield requirement
        for wanted in ("", *requirement.extras):
            if (key := (canonicalize_name(requirement.name), wanted)) not in seen:
                seen.add(key)
                open_ += [(Requirement(each), wanted) for each in requires(key[0]) or ()]


def test_every_lock_is_installed_by_its_hashes_without_resolving() -> None:
    """Wherever the repository has a command for it: a resolver may take what was published after the lock was made."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    others = ("tests/unit/", "tests/integration/", "deploy/dev/images/")
    names = [name for name in listed.split("\0") if name and not name.startswith(others) and not name.endswith(".md")]
    installs = {}
    for name in names:
        words = re.sub(r"[\s\"',\\]+", " ", (ROOT / name).read_text(errors="replace"))  # of a script or of a list
        if found := len(
            re.findall(r"\bpip\b(?:(?!\bpip\b).)* (?:-r|--requirement) [^&|;]{0,30}requirements", words, re.IGNORECASE)
        ):
            installs[name] = (found, words.count(" --no-deps --require-hashes "))
    assert {name for name, (found, _) in installs.items() if found} == {
        "Dockerfile",
        "Makefile",
        "deploy/action/action.yml",
        "tests/bench/venv.py",
    }
    assert {name: counts for name, counts in installs.items() if counts[0] != counts[1]} == {}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package index of empty packages that require what the real ones do, and the development lock for it.

    Beside each pinned release is a newer one that cannot be installed: its file is no wheel.
    """
    folder = tmp_path_factory.mktemp("index")
    lines = []
    for name, pin in DEV.items():
        page = folder / "simple" / name
        page.mkdir(parents=True)
        stem = name.replace("-", "_")
        wheel = _wheel(page / f"{stem}-{pin.version}-py3-none-any.whl", name, pin)
        newer = page / f"{stem}-{pin.version.partition('+')[0]}.post9999-py3-none-any.whl"
        newer.write_bytes(b"no wheel")
        (page / "index.html").write_text("".join(f'<a href="{path.name}">{path.name}</a>\n' for path in (wheel, newer)))
        lines.append(f"{name}=={pin.version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    (folder / "requirements.txt").write_text("".join(lines))
    return folder


def _wheel(path: Path, name: NormalizedName, pin: Pin) -> Path:
    headers = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {pin.version}"]
    real = metadata.metadata(name)
    headers += [f"Provides-Extra: {each}" for each in real.get_all("Provides-Extra", [])]
    headers += [f"Requires-Dist: {each}" for each in real.get_all("Requires-Dist", [])]
    info = f"{path.name.partition('-py3')[0]}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", "\n".join(headers) + "\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


PIPS = [
    pytest.param(
        "pip==22.3", marks=pytest.mark.skipif(sys.version_info >= (3, 12), reason="this pip needs Python 3.11")
    ),
    "pip==23.2.1",
    "pip",
]


@pytest.mark.index
@pytest.mark.timeout(600)
@pytest.mark.parametrize("pip", PIPS)
def test_the_lock_installs_with_any_pip_whatever_has_been_published_since(
    pip: str, index: Path, tmp_path: Path
) -> None:
    """With the oldest pip that comes with Python 3.11, with the one that took an extra apart from its pin, and the newest."""
    install = [*_pip(pip, tmp_path), "install", "--quiet", "--index-url", (index / "simple").as_uri(), "--no-compile"]
    install += ["--target", str(tmp_path / "target"), "--require-hashes", "-r", str(index / "requirements.txt")]
    done = _run([*install, "--no-deps"], tmp_path)
    assert done.returncode == 0, done.stderr
    installed = {
        canonicalize_name(each.name): each.version for each in metadata.distributions(path=[str(tmp_path / "target")])
    }
    assert installed == {name: pin.version for name, pin in DEV.items()}
    if pip == "pip==23.2.1":  # what the option is for
        resolved = _run([*install, "--upgrade"], tmp_path)
        assert resolved.returncode != 0
        assert "all requirements must have their versions pinned" in resolved.stderr


def _pip(requirement: str, folder: Path) -> list[str]:
    """A command that runs a release of pip out of its own wheel."""
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*download, "--only-binary=:all:", "--dest", folder, requirement], check=True)
    (wheel,) = folder.glob("pip-*.whl")
    return [sys.executable, f"{wheel}/pip"]


def _run(command: list[str], home: Path) -> subprocess.CompletedProcess[str]:
    """A command without this machine's settings of pip: it may name more places to find packages in."""
    env: Mapping[str, str] = {"PATH": "/usr/bin:/bin", "HOME": str(home), "PIP_CONFIG_FILE": "/dev/null"}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)
