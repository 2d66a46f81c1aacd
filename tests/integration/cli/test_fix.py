"""`nonroot fix` as people run it: a filter, a gate for CI, and one who keeps what is theirs."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.command import nonroot
from tests.unit.check.files import POD
from webhook.cli.output.diff import unified

OPEN = POD.replace("runAsNonRoot: true", "runAsUser: 7")
BUILD = "FROM debian AS prod\nARG uid=1500\nRUN useradd -u $uid app\nUSER app\nFROM debian\nUSER 7\n"


def test_fix_is_a_filter(tmp_path: Path) -> None:
    """Standard input is written to standard output, whole; a second time unchanged."""
    once = nonroot("fix", "--write", "--no-images", "-", stdin=OPEN)
    assert (once.returncode, once.stdout.startswith(OPEN)) == (0, True)
    assert "allowPrivilegeEscalation: false" in once.stdout
    assert once.stderr == "1 file, 1 container: 1 place in 1 file fixed; left: nothing\n"
    twice = nonroot("fix", "--write", "--no-images", "-", stdin=once.stdout)
    assert (twice.returncode, twice.stdout) == (0, once.stdout)
    assert twice.stderr == "1 file, 1 container: nothing to fix; left: nothing\n"


def test_fix_check_is_a_gate(tmp_path: Path) -> None:
    """1 where anything would change, and nothing is written."""
    pod = tmp_path / "pod.yaml"
    pod.write_text(OPEN)
    shown = nonroot("fix", "--check", "--no-images", "pod.yaml", cwd=tmp_path)
    assert (shown.returncode, shown.stdout[:14], pod.read_text()) == (1, "--- a/pod.yaml", OPEN)
    assert "1 place in 1 file to be fixed" in shown.stderr
    nonroot("fix", "--write", "--no-images", "pod.yaml", cwd=tmp_path)
    assert nonroot("fix", "--check", "--no-images", "pod.yaml", cwd=tmp_path).returncode == 0
    both = nonroot("fix", "--check", "--write", "pod.yaml", cwd=tmp_path)
    assert (both.returncode, both.stderr) == (2, "nonroot: --check writes nothing: give --write or --check\n")


def test_fix_takes_a_stage_and_arguments_as_docker_build_does(tmp_path: Path) -> None:
    """The stage that is built is the stage that is fixed."""
    (tmp_path / "Dockerfile").write_text(BUILD)
    last = nonroot("fix", "--no-images", "Dockerfile", cwd=tmp_path)
    assert (last.returncode, last.stdout) == (0, "")
    fixed = nonroot("fix", "--no-images", "--target", "prod", "--build-arg", "uid=9", "Dockerfile", cwd=tmp_path)
    assert "-USER app\n+USER $uid\n" in fixed.stdout


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_the_owner_stays_and_so_do_further_names(tmp_path: Path) -> None:
    """Whoever runs it, as root in a container of CI."""
    pod = tmp_path / "pod.yaml"
    pod.write_text(OPEN)
    os.chown(pod, 1234, 1235)
    pod.chmod(0o604)
    nonroot("fix", "--write", "--no-images", "pod.yaml", cwd=tmp_path)
    found = pod.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (1234, 1235, 0o604)
    pod.write_text(OPEN)
    os.link(pod, tmp_path / "other")
    nonroot("fix", "--write", "--no-images", "pod.yaml", cwd=tmp_path)
    assert (tmp_path / "other").read_text() == pod.read_text() != OPEN
    assert sorted(each.name for each in tmp_path.iterdir()) == ["other", "pod.yaml"]


def test_one_container_that_cannot_be_fixed_leaves_the_others_alone(tmp_path: Path) -> None:
    """It is named, and the rest is done in one go."""
    shared = OPEN.replace("securityContext:\n        runAsUser: 7", "securityContext: &s {runAsUser: 7}")
    assert shared != OPEN
    text = "---\n".join([OPEN, f"{shared}    - {{name: b, image: x, securityContext: *s}}\n", OPEN])
    fixed = nonroot("fix", "--write", "--no-images", "-", stdin=text)
    assert fixed.stdout.count("allowPrivilegeEscalation") == 2
    assert fixed.stderr.count("an anchor stands for it in several places") == 2
    assert fixed.returncode == 3


def test_an_empty_field_is_filled_as_admission_fills_it() -> None:
    """`capabilities: {}` drops nothing; a JSON Patch replaces it."""
    text = f"{OPEN}        capabilities: {{}}\n"
    fixed = nonroot("fix", "--write", "--no-images", "-", stdin=text)
    assert "        capabilities: {drop: [ALL]" in fixed.stdout
    assert "runAsNonRoot: true" in fixed.stdout


def test_a_diff_of_thousands_of_equal_objects_is_exact(tmp_path: Path) -> None:
    """`patch` makes the one text of the other."""
    before = "".join(f"a\nb\nc\n{index % 3}\n" for index in range(3000))
    after = before.replace("c\n1\n", "c\nnew\nlines\n1\n").replace("c\n2\n", "d\n2\n")
    (tmp_path / "x").write_text(before)
    patch = "".join(unified("x", before, after))
    subprocess.run(["patch", "-p1", "--quiet"], input=patch, text=True, check=True, cwd=tmp_path)
    assert (tmp_path / "x").read_text() == after
    assert "".join(unified("x", "a", "b\n")).splitlines()[2:] == [
        "@@ -1 +1 @@",
        "-a",
        "\\ No newline at end of file",
        "+b",
    ]
