"""Every command of the worked examples is run, on the files beside the page, and prints what the page shows."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from deploy.demo.images import EXAMPLES
from deploy.dev.oci import accounts_layer, image
from deploy.dev.registry import Registry
from tests.support.documentation import Shell, rerun

DOCS = Path(__file__).parents[3] / "docs"
MODELS = {"useradd": "python-slim", "multi-stage": "multi-stage", "alpine": "alpine", "system-user": "system-user"}
PAGES = sorted(path for path in (DOCS / "examples").glob("*.md") if path.name != "index.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
async def test_the_output_shown_is_what_the_commands_print(tmp_path: Path, page: Path) -> None:
    files = tmp_path / "files"
    shutil.copytree(page.with_suffix(""), files)
    contents = {example.name: example.content for example in EXAMPLES}
    async with Registry() as registry:
        for name, model in MODELS.items():
            registry.push(f"examples/{name}:1", contents[model])
        for tag in ("latest", "22.12.0-slim"):
            registry.push(f"library/node:{tag}", image(accounts_layer("root:x:0:0:root:/root:/bin/bash")))
        config = tmp_path / "registries.yaml"
        mirrors = dict.fromkeys(("registry.example.com", "docker.io"), [registry.host])
        config.write_text(json.dumps({"mirrors": mirrors, "insecure": [registry.host]}))
        blocks = await asyncio.to_thread(rerun, page, Shell(files, config, tmp_path / "programs"))
    assert blocks
    for commands, shown, printed in blocks:
        assert printed == shown, commands


def test_every_example_is_in_the_list() -> None:
    listed = (DOCS / "examples" / "index.md").read_text(encoding="utf-8")
    for page in PAGES:
        assert f"({page.name})" in listed
        for file in page.with_suffix("").iterdir():
            assert f"({page.stem}/{file.name})" in listed
