"""The GitHub workflows, as actionlint reads them."""

import subprocess

from deploy.local import build
from tests.unit.deploy.test_github import ROOT, WORKFLOWS


def test_actionlint_has_nothing_to_say() -> None:
    """Expressions, events, permissions, runners; and each script by shellcheck, where that is installed."""
    build.ensure(["actionlint"])
    done = subprocess.run(
        [build.program("actionlint", "actionlint"), *WORKFLOWS], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
