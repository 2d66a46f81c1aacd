"""The Go program: built once into the cache, asked in batches."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.oracle import OracleError, built

FOLDER = Path(__file__).parent / "runtime"


def build() -> Path:
    """The program of this folder; `OracleError` where it does not compile."""
    return built(FOLDER)


def ask(program: Path, questions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers, in the questions' order."""
    lines = "".join(json.dumps(question) + "\n" for question in questions)
    done = subprocess.run([program], input=lines, capture_output=True, text=True, timeout=300, check=False)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode or len(answers) != len(questions):
        raise OracleError(f"{len(answers)} answers to {len(questions)} questions: {done.stderr}")
    return answers
