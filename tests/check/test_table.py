"""nonroot check --table: which files are looked at together, and what comes out."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.check.files import POD
from webhook.cli import main

DOCKERFILE = "FROM debian:12.5.0-slim\nRUN useradd -u 1234 app\nUSER 1234\n"


def table(folder: Path, files: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Exit code and output for a folder with these files."""
    for name, text in files.items():
        (folder / name).write_text(text)
    told = CliRunner().invoke(main, ["check", "--table", str(folder), "--no-images", *arguments])
    assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
    return told.exit_code, told.output


def rows(folder: Path, files: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Title -> practice -> row, from the JSON."""
    _, text = table(folder, files, "-o", "json")
    document = json.loads(text)
    assert document["version"] == 1
    return {
        part["title"].removeprefix(f"{folder}/"): {row["practice"]: row for row in part["rows"]}
        for part in document["tables"]
    }


def test_each_file_and_each_workload_has_a_table_of_its_own(tmp_path: Path) -> None:
    """Dockerfile, workload, compose file, and the nginx.conf beside them."""
    found = rows(
        tmp_path,
        {
            "Dockerfile": DOCKERFILE,
            "pod.yaml": POD + "---\napiVersion: v1\nkind: ConfigMap\n",
            "compose.yaml": "services: {web: {image: x, user: '7'}}\n",
            "nginx.conf": "http { limit_req_zone $x zone=a:1m rate=1r/s; }\n",
        },
    )
    assert set(found) == {"Dockerfile", "pod.yaml: Pod web", "compose.yaml", "nginx.conf"}
    user = found["Dockerfile"]["Non-root numeric USER"]
    assert (user["status"], user["place"]) == ("Pass", "line 3")
    assert found["nginx.conf"]["Rate limits"]["status"] == "Fail"


@pytest.mark.parametrize(
    ("files", "status"),
    [
        ({}, "Fail"),
        ({".dockerignore": ".git\n.env\nnode_modules\n__pycache__\n"}, "Pass"),
        ({"Dockerfile.dockerignore": ".git\n.env\nnode_modules\n__pycache__\n", ".dockerignore": "x"}, "Pass"),
    ],
)
def test_the_dockerignore_of_a_dockerfile_is_found(tmp_path: Path, files: dict[str, str], status: str) -> None:
    """Its own before the folder's, as docker build has it."""
    assert rows(tmp_path, {"Dockerfile": DOCKERFILE, **files})["Dockerfile"][".dockerignore"]["status"] == status


def test_a_pull_request_gets_markdown_that_nothing_breaks_out_of(tmp_path: Path) -> None:
    """A table a file; what a stranger wrote is text."""
    code, text = table(tmp_path, {"Dockerfile": "FROM debian:12\nUSER a|<b>`x\n"}, "-o", "markdown")
    assert code == 1
    lines = text.splitlines()
    assert lines[0].startswith("### ")
    assert lines[2:4] == ["| Practice | Status | Comment |", "|---|---|---|"]
    assert "<b>" not in text
    assert all(line.replace("\\|", "").count("|") == 4 for line in lines[2:])


@pytest.mark.parametrize(
    ("files", "arguments", "code"),
    [
        ({"Dockerfile": "FROM\n"}, (), 3),
        ({"pod.yaml": "a: ["}, (), 3),
        ({"Dockerfile": "FROM debian:12\n"}, (), 1),
        ({"nothing.txt": ""}, (), 2),
        ({"Dockerfile": DOCKERFILE}, ("-o", "sarif"), 2),
    ],
)
def test_the_exit_code_says_what_it_comes_to(
    tmp_path: Path, files: dict[str, str], arguments: tuple[str, ...], code: int
) -> None:
    """2 wrong usage, 1 a practice is not kept, 3 a file could not be read."""
    assert table(tmp_path, files, *arguments)[0] == code


def test_markdown_is_for_tables(tmp_path: Path) -> None:
    """A check has other formats."""
    (tmp_path / "pod.yaml").write_text(POD)
    told = CliRunner().invoke(main, ["check", str(tmp_path), "-o", "markdown", "--no-images"])
    assert told.exit_code == 2
    assert "is for --table" in told.output
