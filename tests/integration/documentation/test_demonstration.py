"""`make run` prints what its page shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
DEMONSTRATION = (ROOT / "docs/quickstart/demonstration.md").read_text(encoding="utf-8")
WIDTH = 80  # characters of the cards shown


def test_the_cards_are_what_the_demonstration_prints() -> None:
    (cards,) = re.findall(r"```text\n(.*?)\n```", DEMONSTRATION, re.DOTALL)
    environment = {**os.environ, "COLUMNS": str(WIDTH)}
    command = [sys.executable, "-m", "deploy.demo"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "All 10 answers are the expected ones." in done.stdout
    for line in cards.splitlines():
        assert line in done.stdout
