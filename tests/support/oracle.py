"""Go programs that link the real libraries: each built once into the cache, and again where its source has changed."""

import hashlib
import os
import subprocess
from pathlib import Path

from deploy.local.paths import cache

SOURCES = ("go.mod", "go.sum", "main.go")
BUILD_SECONDS = 900  # containerd's packages, on a machine that has never compiled them


class OracleError(Exception):
    """The program could not be built, or did not answer."""


def built(source: Path) -> Path:
    """The program of a folder; `OracleError` with the compiler's words."""
    version = hashlib.sha256(b"\0".join((source / name).read_bytes() for name in SOURCES)).hexdigest()[:12]
    program = cache() / "oracle" / f"{source.name}-{version}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        fresh = program.with_suffix(f".{os.getpid()}")
        command = ["go", "build", "-p", "1", "-mod=readonly", "-trimpath", "-o", str(fresh), "."]
        done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
        if done.returncode:
            raise OracleError(f"{source.name} does not compile:\n{done.stderr}")
        fresh.rename(program)
    return program
