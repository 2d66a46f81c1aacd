"""nonroot check --table: which files are looked at together, and what comes out."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import msgspec
import pytest
from click.testing import CliRunner

from deploy.dev.oci import accounts_layer, index
from deploy.dev.oci import image as oci_image
from tests.support.images import Table as Images
from tests.support.images import image, multi, unknown
from tests.support.layouts import folder as written
from tests.support.layouts import oci_files
from tests.unit.check.files import POD
from webhook.check.practices.table import table as table_of
from webhook.check.run import Request
from webhook.cli.main import main
from webhook.cli.output import table as output
from webhook.image.source import Image, NotExamined, Unknown

DOCKERFILE = "FROM debian:12.5.0-slim\nRUN useradd -u 1234 app\nUSER 1234\n"


def table(folder: Path, files: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Exit code and output for a folder with these files."""
    for name, text in files.items():
        (folder / name).write_text(text)
    result = CliRunner().invoke(main, ["check", "--table", str(folder), "--no-images", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def rows(folder: Path, files: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Title -> practice -> row, from the JSON."""
    _, text = table(folder, files, "-o", "json")
    document = json.loads(text)
    jsonschema.validate(document, json.loads(output.SCHEMA.read_bytes()))
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


async def test_the_dockerignore_of_the_context_is_found_above_a_dockerfile(tmp_path: Path) -> None:
    """As far up as the repository goes, and no farther."""
    place = tmp_path / "repository" / "docker" / "Dockerfile"
    place.parent.mkdir(parents=True)
    place.write_text("FROM debian:12.1-slim\nCOPY . .\n")

    async def status() -> str:
        result = await table_of(Request((str(place),)), NotExamined())
        return next(row.status for row in result.sheets[0].rows if row.practice == ".dockerignore")

    (tmp_path / ".dockerignore").write_text("*\n")
    (tmp_path / "repository" / ".git").mkdir()
    assert await status() == "Fail"
    (tmp_path / "repository" / ".dockerignore").write_text("*\n")
    assert await status() == "Pass"


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
        ({"pod.yaml": "apiVersion: ["}, (), 3),
        ({"pod.yaml": "apiVersion: v1\nkind: Pod\nmetadata: x\n"}, (), 3),
        ({"pod.yaml": f"{POD}---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nspec: 5\n"}, (), 1),
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
    result = CliRunner().invoke(main, ["check", str(tmp_path), "-o", "markdown", "--no-images"])
    assert result.exit_code == 2
    assert "is for --table" in result.output


def test_the_published_schema_is_that_of_the_types() -> None:
    """Whoever changes the types publishes it anew."""
    assert output.SCHEMA.read_bytes() == output.schema(), "run: make generate"


def sized(*sizes: int) -> Image:
    """An image whose platforms have these sizes."""
    (found,) = image("1000").platforms
    return multi(*(msgspec.structs.replace(found, size=size) for size in sizes))


IMAGES: dict[str, Image | Unknown] = {
    "debian:12.5.0-slim": sized(30_000_000),
    "fat:1": sized(9, 200_000_000),
    "tiny:1": sized(999_999),
    "down:1": unknown("unreachable"),
}


@pytest.mark.parametrize(
    ("base", "built", "limit", "status", "comment"),
    [
        (
            "debian:12.5.0-slim",
            None,
            120,
            "Not applicable",
            "The base alone has 30 MB; what is built on it was not given",
        ),
        ("debian:12.5.0-slim", None, 29, "Fail", "The base alone has 30 MB. Too fat."),
        ("fat:1", None, 120, "Fail", "The base alone has 200 MB. Too fat."),
        ("debian:12.5.0-slim", "fat:1", 120, "Fail", "200 MB. Too fat."),
        ("fat:1", "debian:12.5.0-slim", 30, "Pass", "30 MB."),
        ("fat:1", "tiny:1", 30, "Pass", "less than 1 MB."),
        ("down:1", None, 120, "Not applicable", "Neither"),
        ("scratch", None, 120, "Not applicable", "Neither"),
        ("scratch", "down:1", 120, "Not applicable", "Neither"),
    ],
)
async def test_the_size_is_the_built_images_or_at_least_its_bases(
    tmp_path: Path, base: str, built: str | None, limit: int, status: str, comment: str
) -> None:
    """The largest platform counts; what could not be read is told."""
    (tmp_path / "Dockerfile").write_text(f"FROM {base}\nUSER 1234\n")
    result = await table_of(Request((str(tmp_path),)), Images(IMAGES), built, limit * 1_000_000)
    (sheet,) = result.sheets
    (row,) = [each for each in sheet.rows if each.practice == f"Image under {limit} MB"]
    assert (row.status, row.comment.startswith(comment)) == (status, True)
    assert ["unreachable" in each.reason for each in result.skipped] == [True] * ("down:1" in (base, built))


async def test_without_images_no_base_is_missed(tmp_path: Path) -> None:
    """It was not to be looked at."""
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    assert (await table_of(Request((str(tmp_path),)), NotExamined())).skipped == ()


def test_the_built_image_may_lie_in_a_file(tmp_path: Path) -> None:
    """As CI has it before it pushes; and the limit is set in megabytes."""
    built = index(oci_image(accounts_layer("a:x:1:1:::")))
    reference = f"oci:{written(tmp_path / 'image', oci_files({'': built}))}"
    (tmp_path / "src").mkdir()
    _, text = table(tmp_path / "src", {"Dockerfile": DOCKERFILE}, "--image", reference, "--image-limit", "7")
    assert re.search(r"Image under 7 MB +Pass", text)
    result = CliRunner().invoke(main, ["check", str(tmp_path / "src"), "--image", reference, "--no-images"])
    assert result.exit_code == 2
    assert "--image is for --table" in result.output


APT = "RUN apt-get update && apt-get -o Acquire::Retries=3 install -y curl wget && rm -rf /var/lib/apt/lists/*\n"
SCALED = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec: {template: {spec: {containers: [{name: a, image: "x:1"}]}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: a}
spec: {minReplicas: 3, maxReplicas: 9, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: a}}
"""
SERVICES = "services: {a: {user: '${U:-7}', image: x, healthcheck: {test: 'x'}}, b: {image: y}}\n"
WINDOWS = "FROM mcr.microsoft.com/windows/servercore:1\nUSER ContainerUser\n"


@pytest.mark.parametrize(
    ("name", "text", "practice", "status"),
    [
        ("Dockerfile", WINDOWS, "Slim or distroless base", "Not applicable"),
        ("Dockerfile", WINDOWS, "Non-root numeric USER", "Not applicable"),
        ("Dockerfile", f"FROM debian\n{APT}", "Package lists cleaned in the same layer", "Pass"),
        ("Dockerfile", f"FROM debian\n{APT}", "Combined RUN steps", "Pass"),
        ("Dockerfile", f"FROM debian\n{APT}", "Sorted package arguments", "Pass"),
        ("Dockerfile", "FROM cgr.dev/chainguard/static:latest\nUSER 7\n", "SUID bits removed", "Not applicable"),
        ("Dockerfile", "FROM ubuntu:24.04\n", "Slim or distroless base", "Not applicable"),
        ("Dockerfile", "FROM debian\nADD git@github.com:a/b.git#main /src\n", "COPY over ADD", "Pass"),
        ("compose.yaml", SERVICES, "Non-root numeric user", "Pass"),
        ("compose.yaml", SERVICES, "Health checks", "Fail"),
        ("app.yaml", SCALED, "Replicas and a rolling update", "Pass"),
        ("app.yaml", SCALED.replace("minReplicas: 3, ", ""), "Replicas and a rolling update", "Fail"),
    ],
)  # fmt: skip
def test_a_row_says_what_is_so(tmp_path: Path, name: str, text: str, practice: str, status: str) -> None:
    """Of files that people have."""
    found = json.loads(table(tmp_path, {name: text}, "-o", "json")[1])
    assert [row["status"] for each in found["tables"] for row in each["rows"] if row["practice"] == practice] == [
        status
    ]


def test_compose_variables_have_the_values_of_the_file_beside_it(tmp_path: Path) -> None:
    """As when the services are evaluated."""
    found = rows(tmp_path, {"compose.yaml": "services: {web: {image: x, user: '${UID}'}}\n", ".env": "UID=0\n"})
    assert found["compose.yaml"]["Non-root numeric user"]["status"] == "Fail"
