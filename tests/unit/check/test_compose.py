"""Services of a compose file: `user` before the image's USER, names looked up as Docker looks them up."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.images import Table
from tests.unit.check.files import IMAGES, places, run
from webhook.check.run import Request, check
from webhook.image.source import NotExamined


def compose(service: str) -> dict[str, str]:
    """A compose file with one service."""
    return {"compose.yaml": f"services:\n  web:\n{service}"}


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("    image: named:1\n", []),
        ("    image: numeric:1\n", []),
        ("    image: root:1\n", [("root-image", "error", 3, 5)]),
        ("    image: nobody:1\n", [("unresolvable-user", "error", 3, 5)]),
        ("    image: down:1\n", [("unknown-image", "unknown", 3, 5)]),
        ("    image: ${REPO:-root}:${TAG-1}\n", [("root-image", "error", 3, 5)]),
        ("    image: root:1\n    user: '1000:1000'\n", []),
        ("    image: root:1\n    user: 1000\n", []),
        ("    image: root:1\n    user: app\n", []),
        ("    image: root:1\n    user: ghost\n", [("unresolvable-user", "error", 4, 5)]),
        ("    image: named:1\n    user: root\n", [("root-user", "error", 4, 5)]),
        ("    image: named:1\n    user: 0:5\n", [("root-user", "error", 4, 5)]),
        ("    image: named:1\n    user: -1\n", [("invalid-user", "error", 4, 5)]),
        ("    image: named:1\n    user: '99999999999999999999999'\n", [("invalid-user", "error", 4, 5)]),
        ("    build: {dockerfile_inline: 'USER 7'}\n    user: '7'\n", []),
        ('    build: {dockerfile_inline: "FROM scratch\\nUSER 7"}\n    image: root:1\n', []),
        ("    build: .\n    user: root\n", [("root-user", "error", 4, 5)]),
        ("    image: root:1 # nonroot: allow root-image it steps down\n", []),
        ("    # nonroot: allow root-image it steps down\n    image: root:1\n", []),
        ("    <<: {image: root:1}\n", [("root-image", "error", 2, 3)]),
    ],
)
async def test_a_service_is_who_docker_would_make_it(tmp_path: Path, service: str, expected: list[Any]) -> None:
    """Numbers as they stand, names in the image's own files, nothing about the kubelet."""
    report = await run(tmp_path, compose(service))
    assert places(report) == expected
    assert report.skipped == ()
    assert [each.kind for each in report.files] == ["compose"]


@pytest.mark.parametrize(
    ("files", "line", "reason"),
    [
        (compose("    image: ${IMAGE}\n"), 3, "a variable without a default"),
        ({"compose.yaml": "services:\n  web: [\n"}, 3, "no YAML"),
        ({"docker-compose.yml": "version: '3'\n"}, 1, "has services"),
        (compose("    image: root:1 # nonroot: allow no\n    user: '7'\n"), 3, "allow RULE reason"),
    ],
)
async def test_a_service_that_cannot_be_evaluated_is_skipped(
    tmp_path: Path, files: dict[str, str], line: int, reason: str
) -> None:
    """Never clean."""
    report = await run(tmp_path, files)
    assert [each.line for each in report.skipped] == [line]
    assert reason in report.skipped[0].reason
    assert report.exit_code() == 3


async def test_without_images_the_file_alone_is_evaluated(tmp_path: Path) -> None:
    """And what is left open is counted."""
    text = "services:\n  a: {image: root:1}\n  b: {image: root:1, user: '0'}\n  c:\n"
    report = await run(tmp_path, {"compose.yaml": text}, images=NotExamined())
    assert places(report) == [("root-user", "error", 3, 22)]
    assert (report.containers, report.not_examined) == (3, 1)


FILES = {
    "web/Dockerfile": "ARG UID=7\nFROM scratch AS a\nARG UID\nUSER $UID\nFROM scratch\nUSER root\n",
    ".env": "UID=0\nNAME=root:1\n",
    "other.yaml": 'services: {o: {image: x, user: "0"}}\ninclude: [compose.yaml]\n',
}


@pytest.mark.parametrize(
    ("text", "expected", "skipped"),
    [
        ("services:\n  a:\n    build: ./web\n", ["web/Dockerfile:6 root-final-stage"], []),
        ("services:\n  a:\n    build: ./web\n    user: '7'\n", [], []),
        ("services:\n  a:\n    build: {context: web, target: a}\n", [], []),
        ("services:\n  a:\n    build: {context: web, target: a, args: {UID: '0'}}\n", ["web/Dockerfile:4 root-final-stage"], []),
        ("services:\n  a:\n    build: {context: web, target: a, args: [UID=0]}\n", ["web/Dockerfile:4 root-final-stage"], []),
        ('services:\n  a:\n    build: {dockerfile_inline: "FROM scratch\\nUSER 0"}\n', ["compose.yaml:3 root-final-stage"], []),
        ("services:\n  a:\n    build: ./gone\n", [], ["compose.yaml:3"]),
        ("services:\n  a:\n    image: $NAME\n", ["compose.yaml:3 root-image"], []),
        ("services:\n  a:\n    image: x\n    user: ${A:-${UID}}\n", ["compose.yaml:4 root-user"], []),
        ("x: &x\n  image: ${NO}\nservices:\n  a:\n    <<: *x\n    restart: no\n", [], ["compose.yaml:4"]),
        ("x: &x {user: '0'}\nservices:\n  a:\n    user: '7'\n    image: x\n    <<: *x\n", [], []),
        ("services:\n  a:\n    restart: !reset null\n    user: '0'\n", ["compose.yaml:4 root-user"], []),
        ("include: [other.yaml]\n", ["other.yaml:1 root-user"], []),
        ("include:\n  - path: [other.yaml, gone.yaml]\n", ["other.yaml:1 root-user"], ["compose.yaml:1"]),
        ("# nothing yet\n", [], []),
    ],
)  # fmt: skip
async def test_a_compose_file_is_read_as_compose_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: list[str], skipped: list[str]
) -> None:
    """With what it builds, what it includes, and the variables beside it."""
    monkeypatch.chdir(tmp_path)
    for name, content in {**FILES, "compose.yaml": text}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    report = await check(Request(("compose.yaml",)), Table(IMAGES))
    assert [f"{each.path}:{each.line} {each.rule}" for each in report.findings] == expected
    assert [f"{each.path}:{each.line}" for each in report.skipped] == skipped
