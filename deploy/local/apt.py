"""The parts that Debian packages already: listed in apt.txt, installed only when missing."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .commands import run
from .errors import ClusterError

PACKAGES = Path(__file__).with_name("apt.txt")
POLICY = Path("/usr/sbin/policy-rc.d")
APT = ("apt-get", "-o", "DPkg::Lock::Timeout=300", "-q", "-y")


def wanted() -> list[str]:
    """The names in apt.txt, without its comments."""
    lines = (line.partition("#")[0].strip() for line in PACKAGES.read_text().splitlines())
    return [line for line in lines if line]


def missing(names: Iterable[str]) -> list[str]:
    """Those of some packages that are not installed."""
    listed = run("dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n")
    installed = {line.split()[0] for line in listed.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in installed]


def install(*packages: str) -> list[str]:
    """Install what is missing, of all in apt.txt where none is named, and return its names.

    `ClusterError` says what to install by hand where there is no apt.
    """
    packages = packages or tuple(wanted())
    if shutil.which("apt-get") is None:
        raise ClusterError(f"this needs Debian or Ubuntu; elsewhere, install by hand: {' '.join(packages)}")
    names = missing(packages)
    if not names:
        return []
    if os.geteuid() != 0:
        raise ClusterError(f"as root: apt-get install {' '.join(names)}")
    with _no_service_starts():
        run(*APT, "update")
        run(
            *APT, "install", "--no-install-recommends", *names,
            env={"DEBIAN_FRONTEND": "noninteractive"},
        )  # fmt: skip
    return names


def unpack(folder: Path, *packages: str) -> None:
    """Lay the files of some packages into a folder, without what they depend on; the machine does not have them installed."""
    with tempfile.TemporaryDirectory() as downloads:
        run(*APT, "update")
        run(*APT, "-o", "APT::Sandbox::User=root", "download", *packages, cwd=Path(downloads))
        for package in Path(downloads).glob("*.deb"):
            run("dpkg-deb", "--extract", package, folder)


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Keep Debian from starting what it installs.

    The package docker-registry would otherwise open port 5000 on every interface.
    The file is Debian's own way to say so; one that is there already is the owner's choice.
    """
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()
