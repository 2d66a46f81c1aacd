"""dist/nonroot-OS-ARCH.pyz: the command line and all that it needs in one file, for any Python 3.11 or later.

    python -m deploy.krew.zipapp                           # for this machine and its Python
    python -m deploy.krew.zipapp linux-amd64 darwin-arm64  # for these systems and every supported Python

What is in it is locked by hashes. pex unpacks it once, into its cache, and starts from there.
"""

import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "dist"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
TAGS = {  # the oldest systems that there are wheels for
    "linux-amd64": "manylinux2014_x86_64",
    "linux-arm64": "manylinux2014_aarch64",
    "darwin-amd64": "macosx_13_0_x86_64",
    "darwin-arm64": "macosx_13_0_arm64",
}
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def build(name: str | None = None) -> Path:
    """The file for a system of `TAGS`, or for this machine alone."""
    target = []
    if name is None:
        name = f"{sys.platform}-{_MACHINES.get(platform.machine(), platform.machine())}"
    else:
        for each in PYTHONS:
            target += ["--platform", f"{TAGS[name]}-cp-{each}.0-cp{each.replace('.', '')}"]
    DIST.mkdir(exist_ok=True)
    out = DIST / f"nonroot-{name}.pyz"
    command = [sys.executable, "-m", "pex", "--requirement", str(ROOT / "requirements-cli.txt"), *target]
    command += ["--package", f"webhook@{ROOT}", "--entry-point", "webhook", "--venv", "--sh-boot"]
    command += ["--python-shebang", "/usr/bin/env python3", "--output-file", str(out)]
    subprocess.run(command, check=True)
    return out


if __name__ == "__main__":
    names = sys.argv[1:]
    unknown = [each for each in names if each not in TAGS]
    if unknown:
        raise SystemExit(f"{unknown[0]!a} is none of {', '.join(TAGS)}")
    for path in [build(each) for each in names] or [build()]:
        print(path.relative_to(ROOT), path.stat().st_size // 1_000_000, "MB")
