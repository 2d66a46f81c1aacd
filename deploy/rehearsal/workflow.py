"""The steps of a workflow's job, run as GitHub's runner runs them: in a checkout, handing on what they write for one another.

What a runner does: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax (`defaults.run.shell`: bash
that is named runs with pipefail, bash that is not named runs without).
"""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from deploy.local.errors import ClusterError

ROOT = Path(__file__).resolve().parents[2]
RELEASE = ROOT / ".github" / "workflows" / "release.yml"
SHELLS = {"bash": ("--noprofile", "--norc", "-eo", "pipefail"), None: ("-e",)}

Step = Mapping[str, Any]


@dataclass
class Runner:
    """One run of the job `release`."""

    checkout: Path
    environment: dict[str, str]
    """Of every step; a step's GITHUB_ENV is added."""
    values: dict[str, str]
    """Of expressions such as `secrets.GITHUB_TOKEN`; what steps give out is added."""
    inside: Sequence[str] = ()
    """The command that runs another where the registry is found by its name."""
    workflow: Mapping[str, Any] = field(default_factory=lambda: yaml.safe_load(RELEASE.read_text()))

    @property
    def steps(self) -> Sequence[Step]:
        """All of the job, in their order."""
        steps: Sequence[Step] = self.workflow["jobs"]["release"]["steps"]
        return steps

    def step(self, name: str) -> Step:
        """The one whose name begins so."""
        (step,) = (each for each in self.steps if each.get("name", "").startswith(name))
        return step

    def expand(self, text: str) -> str:
        """The text with the values of its expressions; GitHub would take one that nothing has given as an empty text."""

        def value(found: re.Match[str]) -> str:
            if found[1] not in self.values:
                raise ClusterError(f"{RELEASE.name} reads {found[1]}, which nothing before it gives")
            return self.values[found[1]]

        return re.sub(r"\$\{\{ ([\w.]+) \}\}", value, text)

    def run(self, step: Step, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a step's own shell text; `more` are variables for it alone."""
        handed = {name: self.checkout.with_name(name) for name in ("GITHUB_ENV", "GITHUB_OUTPUT")}
        for file in handed.values():
            file.write_text("")
        shell = SHELLS[self.workflow.get("defaults", {}).get("run", {}).get("shell")]
        done = subprocess.run(
            [*self.inside, "bash", *shell, "-c", step["run"]],
            cwd=self.checkout,
            env={
                **self.environment,
                **{name: str(file) for name, file in handed.items()},
                **{name: self.expand(text) for name, text in step.get("env", {}).items()},
                **more,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        self.environment |= _read(handed["GITHUB_ENV"])
        self.values |= {f"env.{name}": value for name, value in self.environment.items()}
        if "id" in step:
            self.give(step, **_read(handed["GITHUB_OUTPUT"]))
        return done

    def give(self, step: Step, **outputs: str) -> None:
        """Let later steps read these as the outputs of that one."""
        self.values |= {f"steps.{step['id']}.outputs.{name}": value for name, value in outputs.items()}


def _read(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text().splitlines())
