"""The documentation builds strictly, as `make docs` builds it."""

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.index

ROOT = Path(__file__).parents[3]


@pytest.mark.timeout(300)
def test_the_site_builds_without_a_warning() -> None:
    command = ["make", "--no-print-directory", "docs"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (ROOT / "dist/docs/reference/rules/named-user/index.html").is_file()
