"""The registry that the pages call registry.example.com."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from deploy.demo.images import EXAMPLES
from deploy.dev.oci import Blob, Layer, accounts_layer, image, sha256
from deploy.dev.registry import Registry

MODELS = {"useradd": "python-slim", "multi-stage": "multi-stage", "alpine": "alpine", "system-user": "system-user"}


def _of_size(size: int) -> Layer:
    """A layer that a manifest says is so large. Nobody reads it."""
    return Layer(_Claimed(b"", "application/vnd.oci.image.layer.v1.tar", size), sha256(b""))


class _Claimed(Blob, frozen=True):
    size: int

    def descriptor(self, **more: Any) -> dict[str, Any]:
        return {**super().descriptor(**more), "size": self.size}


@pytest.fixture
async def registries(tmp_path: Path) -> AsyncIterator[Path]:
    """The registry configuration that leads the pages' images to a registry on loopback."""
    contents = {example.name: example.content for example in EXAMPLES}
    async with Registry() as registry:
        for name, model in MODELS.items():
            registry.push(f"examples/{name}:1", contents[model])
        for tag in ("latest", "22.12.0-slim"):
            registry.push(f"library/node:{tag}", image(accounts_layer("root:x:0:0:root:/root:/bin/bash")))
        for number, size in ((1, 412_000_000), (2, 84_000_000)):
            registry.push(f"examples/review:{number}", image(_of_size(size)))
        mirrors = {name: [registry.host] for name in ("registry.example.com", "docker.io")}
        config = tmp_path / "registries.yaml"
        config.write_text(json.dumps({"mirrors": mirrors, "insecure": [registry.host]}))
        yield config
