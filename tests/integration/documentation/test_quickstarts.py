"""Every command of the quickstarts that need no cluster is run in a copy of the repository, after its own `pip install`."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.documentation import holds, program, rerun, shell

pytestmark = pytest.mark.index

ROOT = Path(__file__).parents[3]
QUICKSTART = ROOT / "docs" / "quickstart"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python environment in which nothing is installed yet."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    return folder


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", ["pod", "pull-requests"])
async def test_the_output_shown_is_what_the_commands_print(
    tmp_path: Path, registries: Path, environment: Path, page: str
) -> None:
    checkout = tmp_path / "nonroot-webhook"
    checkout.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    for name in ("webhook", "docs"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    programs = program(tmp_path / "programs", environment / "bin" / "python", registries)
    path = f"{programs}:{environment / 'bin'}:{os.environ['PATH']}"
    run = shell(checkout, PATH=path, XDG_CACHE_HOME=str(tmp_path / "cache"))
    runs = await asyncio.to_thread(rerun, QUICKSTART / f"{page}.md", run)
    assert len(runs) > 1
    for each in runs:
        assert holds(each), each
