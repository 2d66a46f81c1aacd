"""The lock files, as pip reads them: `name==version`, hashes behind it."""

import re
from pathlib import Path

import msgspec
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).resolve().parents[2]


class Pin(msgspec.Struct, frozen=True):
    """One package of a lock."""

    version: str
    hashes: frozenset[str]
    """SHA-256 of each file that may be installed, in hexadecimal digits."""


def pins(lock: Path) -> dict[NormalizedName, Pin]:
    """Every package of a lock, by its name as indexes compare it."""
    found = {}
    for line in lock.read_text().replace("\\\n", " ").splitlines():
        if match := re.match(r"([\w.-]+)==(\S+)", line):
            hashes = frozenset(re.findall(r"sha256:([0-9a-f]{64})", line))
            found[canonicalize_name(match[1])] = Pin(match[2], hashes)
    return found
