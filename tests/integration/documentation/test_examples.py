"""Every command of the worked examples is run, on the files beside the page, and prints what the page shows."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.documentation import holds, program, rerun, shell

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "docs" / "examples"
PAGES = sorted(path for path in EXAMPLES.glob("*.md") if path.name != "index.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
async def test_the_output_shown_is_what_the_commands_print(tmp_path: Path, registries: Path, page: Path) -> None:
    files = tmp_path / "files"
    shutil.copytree(page.with_suffix(""), files)
    programs = program(tmp_path / "programs", Path(sys.executable), registries)
    run = shell(
        files, PATH=f"{programs}:{os.environ['PATH']}", PYTHONPATH=str(ROOT), XDG_CACHE_HOME=str(tmp_path / "cache")
    )
    runs = await asyncio.to_thread(rerun, page, run)
    assert runs
    for each in runs:
        assert holds(each), each


def test_every_example_is_in_the_list() -> None:
    listed = (EXAMPLES / "index.md").read_text(encoding="utf-8")
    for page in PAGES:
        assert f"({page.name})" in listed
        for file in page.with_suffix("").iterdir():
            assert f"({page.stem}/{file.name})" in listed
