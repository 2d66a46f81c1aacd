"""Dockerfiles in a check: the USER of what they build, from the base image where only that can tell."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.images import PASSWD, Table, image, multi, platform_image, unknown
from tests.unit.check.files import places, run
from webhook.check.fix import fix
from webhook.check.run import Request, check
from webhook.cli.output import render
from webhook.image.source import Image, NotExamined, Unknown


def triggering(*onbuild: str) -> Image:
    """A base whose USER is 1000, with these ONBUILD instructions."""
    (found,) = image("1000").platforms
    config = msgspec.structs.replace(found.config, on_build=onbuild)
    return multi(msgspec.structs.replace(found, config=config))


BASES: dict[str, Image | Unknown] = {
    "root-base:1": image(""),
    "app-base:1": image("1000"),
    "mixed-base:1": multi(platform_image("1000"), platform_image("", PASSWD, platform="linux/arm64")),
    "down-base:1": unknown("unreachable"),
    "php:8.2-alpine": image("", "root:x:0:0::/:/bin/sh\nwww-data:x:82:82::/:/bin/sh\n", "www-data:x:82:\n"),
    "nginx:1.10": image("", "nginx:x:104:107::/:/bin/sh\n"),
    "nginx:1.27": image("", "nginx:x:109:107::/:/bin/sh\n"),
    "unread-accounts:1": multi(platform_image("", unknown="tooLarge")),
    "root-account:1": image("", "www-data:x:0:0::/:/bin/sh\n"),
}
BASES |= {
    "trigger-base:1": triggering("ENV UID=4321", "USER $UID"),
    "named-trigger-base:1": triggering("USER root", "RUN useradd -u 77 worker", "USER worker"),
    "root-trigger-base:1": triggering("USER root"),
    "mixed-trigger-base:1": multi(*triggering("USER 5").platforms, *triggering("USER 6").platforms),
    "broken-base:1": triggering("FROM x"),
}
NAMED = "FROM root-base:1\nRUN useradd -u 1234 app\nUSER app\n"


async def checked(folder: Path, text: str, **asked: Any) -> Any:
    """The report of one Dockerfile."""
    (folder / "Dockerfile").write_text(text)
    return await check(Request((str(folder / "Dockerfile"),), **asked), Table(BASES))


@pytest.mark.parametrize(
    ("text", "expected", "user", "code"),
    [
        ("FROM root-base:1\nUSER 1000\n", [], "1000", 0),
        (NAMED, [("name-in-user", "warning", 3, 1)], "app", 0),
        ("FROM root-base:1\n", [("root-final-stage", "error", 1, 1)], None, 1),
        ("FROM app-base:1\n", [], None, 0),
        ("FROM mixed-base:1\n", [("inherited-user", "error", 1, 1)], None, 1),
        ("FROM down-base:1\n", [("inherited-user", "error", 1, 1)], None, 1),
        ("FROM trigger-base:1\n", [], None, 0),
        ("FROM named-trigger-base:1\n", [("name-in-user", "warning", 1, 1)], None, 0),
        ("FROM root-trigger-base:1\n", [("root-final-stage", "error", 1, 1)], None, 1),
        ("FROM root-trigger-base:1\nUSER 5\n", [], "5", 0),
        ("FROM mixed-trigger-base:1\n", [("inherited-user", "error", 1, 1)], None, 1),
        ("FROM mixed-base:1\nUSER $APP_UID\n", [("inherited-user", "warning", 2, 1)], None, 0),
        ("ARG BASE\nFROM ${BASE}\nUSER root\n", [("root-final-stage", "error", 3, 1)], "root", 1),
        ("ARG BASE\nFROM ${BASE}\nUSER 7\n", [], "7", 0),
        ("ARG BASE\nFROM ${BASE}\n", [("inherited-user", "error", 2, 1)], None, 1),
        ("FROM scratch\n", [("root-final-stage", "error", 1, 1)], "", 1),
        ("FROM root-base:1\n# nonroot: allow root-final-stage a builder\n", [("root-final-stage", "error", 1, 1)], None, 1),
        ("# nonroot: allow root-final-stage a builder\nFROM root-base:1\n", [], None, 0),
    ],
)  # fmt: skip
async def test_the_user_is_the_files_or_the_bases(
    tmp_path: Path, text: str, expected: list[Any], user: str | None, code: int
) -> None:
    """The JSON says null where the file alone does not tell, whatever the base said."""
    report = await checked(tmp_path, text)
    assert places(report) == expected
    assert report.exit_code() == code
    result = json.loads(render("json", report))["files"][0]
    assert (result["kind"], result["user"]) == ("dockerfile", user)
    assert result["base"] == (None if "scratch" in text or "BASE" in text else text.partition("FROM ")[2].split()[0])


@pytest.mark.parametrize(
    "text",
    [
        "FROM named-trigger-base:1 AS build\nFROM scratch\nCOPY --from=build /etc/passwd /etc/\nUSER worker\n",
        "FROM named-trigger-base:1\nUSER root\nRUN true\nUSER worker\n",
    ],
)
async def test_the_triggers_of_every_base_may_make_the_user(tmp_path: Path, text: str) -> None:
    """Also of a stage from which only files are copied; without them the name is as good as any."""
    (finding,) = (await checked(tmp_path, text)).findings
    assert (finding.rule, "USER 77" in finding.fix) == ("name-in-user", True)
    (finding,) = (await run(tmp_path, {"Dockerfile": text}, images=NotExamined())).findings
    assert "77" not in finding.fix


async def test_a_base_whose_triggers_fail_every_build_is_reported(tmp_path: Path) -> None:
    """BuildKit refuses ONBUILD FROM wherever it meets it."""
    report = await checked(tmp_path, "FROM broken-base:1\n")
    assert (report.findings, [each.line for each in report.skipped]) == ((), [1])
    assert "no Dockerfile that BuildKit builds" in report.skipped[0].reason


async def test_an_unread_base_is_said_to_be_one(tmp_path: Path) -> None:
    """And without images it is counted."""
    report = await checked(tmp_path, "FROM down-base:1\n")
    assert [each.line for each in report.skipped] == [1]
    assert "unreachable" in report.skipped[0].reason
    report = await run(tmp_path, {}, images=NotExamined())
    assert (report.not_examined, report.exit_code()) == (1, 1)


async def test_what_is_no_dockerfile_is_skipped(tmp_path: Path) -> None:
    """With the line at which BuildKit would stop."""
    report = await checked(tmp_path, "FROM app-base:1\nNONSENSE x\n")
    assert [each.line for each in report.skipped] == [2]
    assert report.exit_code() == 3


async def test_target_and_build_arguments_are_those_of_docker_build(tmp_path: Path) -> None:
    """Another stage, another answer."""
    text = "FROM app-base:1 AS one\nARG ID=0\nUSER $ID\nFROM one AS two\nUSER 0\n"
    assert (await checked(tmp_path, text)).files[0].user == "0"
    assert (await checked(tmp_path, text, target="one")).files[0].user == "0"
    assert (await checked(tmp_path, text, target="one", build_args={"ID": "7"})).files[0].user == "7"


@pytest.mark.parametrize(
    ("text", "after"),
    [
        (NAMED, NAMED.replace("USER app", "USER 1234")),
        (NAMED.replace("USER app\n", "user  app:app  \r\n"), NAMED.replace("USER app\n", "USER 1234:app  \r\n")),
        (NAMED.replace("USER app\n", "USER \\\n  app\n"), None),
        (
            "FROM a\nARG uid=1000\nRUN useradd -u ${uid} app\nUSER app\n",
            "FROM a\nARG uid=1000\nRUN useradd -u ${uid} app\nUSER ${uid}\n",
        ),
        (
            "FROM a\nARG uid=5\nARG gid=6\nRUN groupadd -g $gid g && U=$uid; adduser -u $U app\nUSER app:g\n",
            "FROM a\nARG uid=5\nARG gid=6\nRUN groupadd -g $gid g && U=$uid; adduser -u $U app\nUSER $uid:$gid\n",
        ),
        ("FROM a\nRUN U=7; useradd -u $U app\nUSER app\n", "FROM a\nRUN U=7; useradd -u $U app\nUSER 7\n"),
        ("FROM a\nARG u='-u 7'\nRUN useradd $u app\nUSER app\n", None),
        ("FROM a AS b\nARG u=7\nRUN useradd -u $u app\nFROM b\nUSER app\n", None),
        ("FROM a\nARG u=7\nRUN echo app:x:$u:$u::/:/bin/sh >> /etc/passwd\nUSER app\n", None),
        ("FROM a\nARG u=7\nCOPY <<E /etc/passwd\napp:x:$u:7::/:/bin/sh\nE\nUSER app\n", None),
        (
            "FROM a\nCOPY <<E /etc/passwd\napp:x:7:7::/:/bin/sh\nE\nUSER app\n",
            "FROM a\nCOPY <<E /etc/passwd\napp:x:7:7::/:/bin/sh\nE\nUSER 7\n",
        ),
        ("FROM php:8.2-alpine\nUSER www-data:www-data\n", "FROM php:8.2-alpine\nUSER 82:82\n"),
        ("FROM nginx:1.10\nUSER nginx\n", "FROM nginx:1.10\nUSER 104\n"),
        ("FROM nginx:1.27\nUSER nginx\n", "FROM nginx:1.27\nUSER 109\n"),
        ("FROM nginx:1.26\nUSER nginx\n", "FROM nginx:1.26\nUSER 101\n"),
        ("FROM unread-accounts:1\nUSER www-data\n", None),
        ("FROM php:8.2-alpine\nUSER nginx\n", None),
        (NAMED.replace("USER app", "# nonroot: allow name-in-user why\nUSER app"), None),
        ("FROM root-base:1\nRUN useradd app\nUSER app\n", None),
        ("FROM root-base:1\nUSER 7\n", None),
        ("FROM\n", None),
    ],
)
async def test_fix_writes_the_number_where_the_file_makes_it_evident(
    tmp_path: Path, text: str, after: str | None
) -> None:
    """And leaves everything else, and a second run changes nothing."""
    path = tmp_path / "Dockerfile"
    path.write_bytes(text.encode())
    fixes = await fix(Request((str(path),)), Table(BASES))
    assert [each.after for each in fixes.changes] == ([] if after is None else [after])
    if after is not None:
        assert not [each for each in fixes.rest.findings if each.rule == "name-in-user"]
        path.write_bytes(after.encode())
        assert (await fix(Request((str(path),)), Table(BASES))).changes == ()


async def test_the_accounts_of_the_base_image_are_its_own_files(tmp_path: Path) -> None:
    """A name that is root's is root, and a name that is not there is said not to be there."""
    (finding,) = (await checked(tmp_path, "FROM root-account:1\nUSER www-data\n")).findings
    assert (finding.rule, finding.line) == ("root-final-stage", 2)
    (finding,) = (await checked(tmp_path, "FROM php:8.2-alpine\nUSER nginx\n")).findings
    assert "no step creates it, and php:8.2-alpine has no such account" in finding.message
