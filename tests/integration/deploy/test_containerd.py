"""One configuration for every version of containerd: each that is built here understands all of it."""

import subprocess
import tomllib
from pathlib import Path

import pytest

from deploy.local import build
from deploy.local.node import CONTAINERD_CONFIG

WORDS = {name: f"/its/{name}" for name in ("socket", "pause", "hosts", "plugins", "cni")}


@pytest.mark.parametrize("minor", build.CONTAINERD)
def test_containerd_reads_the_whole_configuration(minor: str, tmp_path: Path) -> None:
    """It prints what it would run with, in the form of its own version, and has nothing to say against it."""
    tool = build.containerd(minor)
    if not tool.built:
        pytest.skip(f"containerd {tool.version} is not built: CONTAINERD={minor} python -m deploy.local build")
    (path := tmp_path / "containerd.toml").write_text(CONTAINERD_CONFIG.format(**WORDS))
    program = tool.folder / "containerd"
    done = subprocess.run([program, f"--config={path}", "config", "dump"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    found = str(tomllib.loads(done.stdout))
    for each in (
        *map(repr, WORDS.values()),
        "'restrict_oom_score_adj': True",
        "'io.containerd.nri.v1.nri', 'io.containerd.internal.v1.opt'",
    ):
        assert found.count(each) == 1, each
