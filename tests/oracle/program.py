"""The Go program: built once into the cache, asked in batches."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
SOURCES = ("go.mod", "go.sum", "main.go")
BUILD_SECONDS = 900  # containerd's packages, on a machine that has never compiled them


class OracleError(Exception):
    """The program could not be built, or did not answer."""


def build() -> Path:
    """The program, compiled if these sources have not been before; `OracleError` with the compiler's words."""
    content = b"\0".join((FOLDER / name).read_bytes() for name in SOURCES)
    cache = Path(os.environ.get("NONROOT_CACHE") or Path.home() / ".cache" / "nonroot-webhook") / "oracle"
    program = cache / hashlib.sha256(content).hexdigest()[:16] / "oracle"
    if program.exists():
        return program
    go = shutil.which("go")
    if go is None:
        raise OracleError("Go is not on the PATH; install it to compare with the real libraries")
    program.parent.mkdir(parents=True, exist_ok=True)
    built = program.with_name(f"oracle.{os.getpid()}")
    command = [go, "build", "-mod=readonly", "-o", str(built), "."]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if done.returncode:
        raise OracleError(f"the oracle does not compile:\n{done.stderr}")
    built.rename(program)
    return program


def ask(program: Path, questions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers, in the questions' order."""
    lines = "".join(json.dumps(question) + "\n" for question in questions)
    done = subprocess.run([program], input=lines, capture_output=True, text=True, timeout=300, check=False)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or len(answers) != len(questions):
        raise OracleError(f"{len(answers)} answers to {len(questions)} questions: {done.stderr}")
    return answers
