"""Which of the images that deploy/kind makes a new one supersedes; Docker is a list."""

from pathlib import Path

import pytest

from deploy.kind import engine, node
from deploy.local.errors import ClusterError

NEW, OLD = "nonroot/kind-node:v1.36.3-0123456789ab", "nonroot/kind-node:v1.36.3-ba9876543210"
IN_USE = "nonroot/kind-node:v1.36.3-aaaaaaaaaaaa"
OTHER_VERSION = "nonroot/kind-node:v1.35.4-ba9876543210"


def test_only_those_of_the_same_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that a container uses cannot be removed, which is no failure."""
    asked: list[tuple[str | Path, ...]] = []

    def docker(*words: str | Path) -> str:
        asked.append(words)
        if words == ("rmi", IN_USE):
            raise ClusterError("image is being used by running container")
        return f"{NEW}\n{IN_USE}\n{OLD}\n{OTHER_VERSION}"

    monkeypatch.setattr(engine, "docker", docker)
    node._remove_superseded(NEW)
    assert asked[0][-1] == "nonroot/kind-node"
    assert set(asked[1:]) == {("rmi", OLD), ("rmi", IN_USE), ("image", "prune", "--force")}
