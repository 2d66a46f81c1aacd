"""The registry that the pages call registry.example.com."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.demo.images import EXAMPLES
from deploy.dev.oci import accounts_layer, image
from deploy.dev.registry import Registry

MODELS = {"useradd": "python-slim", "multi-stage": "multi-stage", "alpine": "alpine", "system-user": "system-user"}


@pytest.fixture
async def registries(tmp_path: Path) -> AsyncIterator[Path]:
    """The registry configuration that leads the pages' images to a registry on loopback."""
    contents = {example.name: example.content for example in EXAMPLES}
    async with Registry() as registry:
        for name, model in MODELS.items():
            registry.push(f"examples/{name}:1", contents[model])
        for tag in ("latest", "22.12.0-slim"):
            registry.push(f"library/node:{tag}", image(accounts_layer("root:x:0:0:root:/root:/bin/bash")))
        mirrors = {name: [registry.host] for name in ("registry.example.com", "docker.io")}
        config = tmp_path / "registries.yaml"
        config.write_text(json.dumps({"mirrors": mirrors, "insecure": [registry.host]}))
        yield config
