"""The manifest for krew: what its validation asks for, and the hashes of what it points to."""

import hashlib
import re
from pathlib import Path

import pytest

from deploy.krew.manifest import manifest

HOME = "https://git.example/nonroot"


def test_every_system_has_its_archive_and_hash(tmp_path: Path) -> None:
    """Two runs over the same files give the same bytes."""
    for name in ("linux-amd64", "darwin-arm64"):
        (tmp_path / f"nonroot-{name}.pyz").write_bytes(name.encode())
    plugin = manifest("v1.2.3", HOME, tmp_path)
    assert plugin == manifest("v1.2.3", HOME, tmp_path)
    platforms = {each["selector"]["matchLabels"]["os"]: each for each in plugin["spec"]["platforms"]}
    assert platforms.keys() == {"linux", "darwin"}
    for name, each in (("linux-amd64", platforms["linux"]), ("darwin-arm64", platforms["darwin"])):
        assert each["uri"] == f"{HOME}/releases/download/v1.2.3/kubectl-nonroot-{name}.tar.gz"
        content = (tmp_path / f"kubectl-nonroot-{name}.tar.gz").read_bytes()
        assert each["sha256"] == hashlib.sha256(content).hexdigest()


def test_krew_takes_it(tmp_path: Path) -> None:
    """Source: kubernetes-sigs/krew pkg/index/validation/validate.go (ValidatePlugin)."""
    (tmp_path / "nonroot-linux-amd64.pyz").write_bytes(b"x")
    plugin = manifest("v1.2.3", HOME, tmp_path)
    assert (plugin["apiVersion"], plugin["kind"]) == ("krew.googlecontainertools.github.com/v1alpha2", "Plugin")
    assert re.fullmatch(r"[\w-]+", plugin["metadata"]["name"])
    assert re.fullmatch(r"v\d+\.\d+\.\d+(-.+)?", plugin["spec"]["version"])
    assert "\n" not in plugin["spec"]["shortDescription"]
    assert plugin["spec"]["platforms"][0]["bin"] == "kubectl-nonroot"


def test_without_a_zipapp_it_says_how_one_is_made(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="make zipapp"):
        manifest("v1.2.3", HOME, tmp_path)
