"""The command as people run it: a process, its output, its exit code; and how fast it is there."""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from tests.support.command import nonroot
from tests.unit.check.files import POD
from webhook.cli import rule_docs
from webhook.cli.output import json_v1

ROOT = Path(__file__).parents[3]


def test_check_tells_its_findings_and_says_by_its_exit_code_what_they_come_to(tmp_path: Path) -> None:
    """2 wrong usage, 1 findings, 3 something could not be determined, 0 clean."""
    (tmp_path / "clean.yaml").write_text(POD.replace("runAsNonRoot: true", "runAsUser: 7"))
    (tmp_path / "root.yaml").write_text(POD.replace("runAsNonRoot: true", "runAsUser: 0"))
    (tmp_path / "template.yaml").write_text("{{ x }}\n---\na: [")
    run = {
        name: nonroot("check", "--no-images", f"{name}.yaml", cwd=tmp_path)
        for name in ("clean", "root", "template", "no")
    }
    assert {name: each.returncode for name, each in run.items()} == {"clean": 0, "root": 1, "template": 3, "no": 2}
    assert run["root"].stdout.startswith("root.yaml:11:9: error root-user  Pod shop/web, container app\n")
    assert run["clean"].stdout == "1 file, 1 container: nothing found\n"
    assert run["no"].stderr == ("nonroot: there is no 'no.yaml'; give files, folders, or - for standard input\n")
    assert all("Traceback" not in each.stderr for each in run.values())


def test_check_reads_standard_input_and_writes_its_contract() -> None:
    """As in a pipe behind helm or kustomize: JSON on standard output, nothing on standard error."""
    result = nonroot("check", "-", "-o", "json", "--no-images", stdin=POD.replace("runAsNonRoot: true", "runAsUser: 0"))
    document = json.loads(result.stdout)
    jsonschema.validate(document, json.loads(json_v1.schema()))
    assert (result.returncode, result.stderr) == (1, "")
    assert (document["findings"][0]["path"], document["findings"][0]["line"]) == ("-", 11)


POLICY = "{apiVersion: nonroot.dev/v1alpha1, kind: NonRootPolicy, metadata: {name: p}, spec: {%s}}"
EXCEPTION = (
    "{apiVersion: nonroot.dev/v1alpha1, kind: NonRootException, metadata: {name: e, namespace: shop}, "
    "spec: {reason: because}}"
)


@pytest.mark.parametrize(
    ("document", "code"), [(POLICY % "rootImages: Allow", 1), (EXCEPTION, 0), (POLICY % "mood: bad", 2), ("{", 2)]
)
def test_check_goes_by_policies_and_exceptions_from_files(tmp_path: Path, document: str, code: int) -> None:
    """The very documents that the cluster takes."""
    (tmp_path / "policy.yaml").write_text(document)
    (tmp_path / "pod.yaml").write_text(POD.replace("runAsNonRoot: true", "runAsUser: 0"))
    result = nonroot("check", "--no-images", "--policy", "policy.yaml", "pod.yaml", cwd=tmp_path)
    assert result.returncode == code
    assert "Traceback" not in result.stderr


def test_a_broken_docker_config_is_said_to_be_one(tmp_path: Path) -> None:
    """And none of its content is shown."""
    (tmp_path / "pod.yaml").write_text(POD)
    (tmp_path / "config.json").write_text('{"auths": {"x": {"auth": "c2VjcmV0"}')
    result = nonroot("check", "pod.yaml", cwd=tmp_path, DOCKER_CONFIG=str(tmp_path), XDG_CACHE_HOME=str(tmp_path))
    assert result.returncode == 2
    assert "docker config cannot be used" in result.stderr
    assert "c2VjcmV0" not in result.stderr


def test_explain_prints_a_rules_own_documentation() -> None:
    """All of them by name, one in full, and what to do about a typing error."""
    listed = nonroot("explain")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(rule_docs.names())
    result = nonroot("explain", "named-user")
    assert result.stdout.startswith(
        "named-user\n\nThe image's USER is a name, and the Pod demands runAsNonRoot.\n\nWhy: "
    )
    wrong = nonroot("explain", "named")
    assert wrong.returncode == 2
    assert "there is no rule 'named'; did you mean named-user?" in wrong.stderr


def test_a_terminal_shows_the_progress_of_a_long_check(tmp_path: Path) -> None:
    """On standard error, gone at the end; a pipe gets the answer and nothing else, as does whoever waits for little."""
    for number in range(20):
        (tmp_path / f"{number}.yaml").write_text(POD)
    for command, path, shown in (("check", ".", True), ("fix", ".", True), ("check", "1.yaml", False)):
        terminal, stderr = pty.openpty()
        result = subprocess.run(
            [sys.executable, "-m", "webhook", command, path, "--offline"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=tmp_path,
            env={**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)},
            check=False,
        )
        os.write(stderr, b".")  # or there may be nothing to read
        written = b""
        while not written.endswith(b"."):
            written += os.read(terminal, 10_000)
        os.close(stderr)
        os.close(terminal)
        assert result.returncode == 3
        assert b"evaluated" not in result.stdout
        assert (b"20/20" in written) is shown
        if command == "check":
            assert written.endswith(b"\x1b[2K.") if shown else written == b"."


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_rules(shell: str) -> None:
    """By click's own protocol; the script is printed by the variable that its documentation names."""
    script = nonroot(_NONROOT_COMPLETE=f"{shell}_source")
    assert "_NONROOT_COMPLETE" in script.stdout
    if shell == "bash":
        result = nonroot(_NONROOT_COMPLETE="bash_complete", COMP_WORDS="nonroot explain named", COMP_CWORD="2")
        assert result.stdout == "plain,named-user\n"
        result = nonroot(_NONROOT_COMPLETE="bash_complete", COMP_WORDS="nonroot ch", COMP_CWORD="1")
        assert result.stdout == "plain,check\n"


@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
def test_bash_completes_after_the_line_that_the_documentation_gives(tmp_path: Path) -> None:
    """In a shell of its own, by the function that the line defines for the command."""
    (line,) = (
        each for each in (ROOT / "docs/quickstart/pull-requests.md").read_text().splitlines() if "bash_source" in each
    )
    (tmp_path / "nonroot").write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m webhook "$@"\n')
    (tmp_path / "nonroot").chmod(0o755)
    script = f"""{line}
        complete -p nonroot
        COMP_WORDS=(nonroot inspect --off) COMP_CWORD=2
        _nonroot_completion nonroot
        echo "${{COMPREPLY[@]}}" """
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=path)
    assert result.stdout.splitlines()[-1] == "--offline", result.stderr
    assert "_nonroot_completion" in result.stdout


def test_fix_shows_a_diff_and_writes_only_when_asked(tmp_path: Path) -> None:
    """What the diff shows is what is written; the file's mode stays; a second run has nothing to say."""
    pod = tmp_path / "pod.yaml"
    text = POD.replace("runAsNonRoot: true", "runAsUser: 7 # ours")
    pod.write_text(text)
    pod.chmod(0o640)
    shown = nonroot("fix", "pod.yaml", "--no-images", cwd=tmp_path)
    assert pod.read_text() == text
    assert shown.stdout.startswith("--- a/pod.yaml\n+++ b/pod.yaml\n@@ -9,3 +9,10 @@\n")
    assert "+        runAsNonRoot: true\n" in shown.stdout
    written = nonroot("fix", "pod.yaml", "--no-images", "--write", cwd=tmp_path)
    assert (written.returncode, written.stdout) == (0, "")
    assert written.stderr == "fixed pod.yaml\n1 file, 1 container: 1 place in 1 file fixed; left: nothing\n"
    assert pod.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["pod.yaml"]
    fixed = pod.read_text()
    assert fixed.startswith(text)
    again = nonroot("fix", "pod.yaml", "--no-images", "--write", cwd=tmp_path)
    assert (again.returncode, again.stdout, pod.read_text()) == (0, "", fixed)


def test_the_diff_is_one_that_patch_takes(tmp_path: Path) -> None:
    """Also of a file without an end of its last line."""
    text = POD.replace("runAsNonRoot: true\n", "runAsUser: 7")
    (tmp_path / "pod.yaml").write_text(text)
    shown = nonroot("fix", "pod.yaml", "--no-images", cwd=tmp_path)
    subprocess.run(["patch", "-p1", "--quiet"], input=shown.stdout, text=True, check=True, cwd=tmp_path)
    by_patch = (tmp_path / "pod.yaml").read_text()
    (tmp_path / "pod.yaml").write_text(text)
    nonroot("fix", "pod.yaml", "--no-images", "--write", cwd=tmp_path)
    assert (tmp_path / "pod.yaml").read_text() == by_patch != text


def test_fix_tells_what_is_left_for_people(tmp_path: Path) -> None:
    """Root is nobody's to guess."""
    (tmp_path / "pod.yaml").write_text(POD.replace("runAsNonRoot: true", "runAsUser: 0"))
    result = nonroot("fix", ".", "--no-images", "--write", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert "error root-user" in result.stderr


def test_what_a_newcomer_types_wrong_is_answered_with_what_was_meant(tmp_path: Path) -> None:
    """A command, an empty path, an empty input, a compressed one."""
    (tmp_path / "pod.yaml.gz").write_bytes(b"\x1f\x8b\x08\x00")
    for arguments, code, said in (
        (["chek", "x"], 2, "Did you mean check?"),
        (["check", ""], 2, "there is no ''; give files"),
        (["check", "-"], 2, "there is nothing to check in standard input"),
        (["check", "pod.yaml.gz"], 3, "compressed by gzip: unpack it first"),
    ):
        result = nonroot(*arguments, cwd=tmp_path)
        assert (result.returncode, said in result.stdout + result.stderr) == (code, True), result.stderr
