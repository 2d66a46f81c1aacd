"""Docker's credential helpers, against stubs of their documented protocol, honest and hostile."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.support.clock import Clock
from tests.unit.registry import stubs
from tests.unit.registry.stubs import Stub
from webhook.errors import InvalidSetting
from webhook.registry.auth.docker_config import LIFE, DockerConfig
from webhook.registry.auth.token import IDENTITY_TOKEN, Credential

ANSWER = json.dumps({"ServerURL": "a.io", "Username": "u", "Secret": "p"})
AUTHS = {"auths": {"a.io": {"username": "file", "password": "f"}}}


def config(document: dict[str, Any], folder: Path, clock: Clock | None = None, seconds: float = 10.0) -> DockerConfig:
    """A docker config whose helpers are in `folder`."""
    return DockerConfig(lambda: json.dumps(document).encode(), folder, seconds, clock or Clock())


async def test_a_helper_goes_before_what_the_file_holds(tmp_path: Path) -> None:
    """It is asked by the registry's name; others are not asked of it."""
    stub = Stub(tmp_path / "docker-credential-ecr-login", answer=ANSWER)
    source = config({**AUTHS, "credHelpers": {"a.io": "ecr-login"}}, tmp_path)
    assert await source.find("a.io/x") == ([Credential("u", "p"), Credential("file", "f")], None)
    assert (stub.question, stub.seen) == ("a.io", "get")
    assert await source.find("b.io/x") == ([], None)
    assert stub.calls == 1


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "index.docker.io", "docker.io"])
async def test_docker_hub_goes_by_its_old_name(key: str, tmp_path: Path) -> None:
    """However the file calls it."""
    stub = Stub(tmp_path / "docker-credential-h", answer=json.dumps({"Username": "<token>", "Secret": "t"}))
    source = config({"credHelpers": {key: "h"}}, tmp_path)
    assert await source.find("docker.io/library/x") == ([Credential(IDENTITY_TOKEN, "t")], None)
    assert stub.question == "https://index.docker.io/v1/"


async def test_the_store_is_for_every_other_registry(tmp_path: Path) -> None:
    """Which it may know nothing of: that is an answer."""
    unknown = 'cat > /dev/null; echo asked >> "$0.calls"; echo "credentials not found in native keychain"; exit 1'
    store = Stub(tmp_path / "docker-credential-desktop", unknown)
    own = Stub(tmp_path / "docker-credential-own", answer=ANSWER)
    source = config({**AUTHS, "credsStore": "desktop", "credHelpers": {"b.io:5000": "own"}}, tmp_path)
    assert await source.find("a.io/x") == ([Credential("file", "f")], None)
    assert await source.find("b.io:5000/x") == ([Credential("u", "p")], None)
    assert (store.calls, own.calls) == (1, 1)


async def test_an_answer_counts_for_a_minute(tmp_path: Path) -> None:
    """Also one that there is nothing."""
    clock = Clock()
    stub = Stub(tmp_path / "docker-credential-h", answer=ANSWER)
    source = config({"credsStore": "h"}, tmp_path, clock)
    for _ in range(3):
        await source.find("a.io/x")
    assert stub.calls == 1
    clock.now += LIFE
    stub.says(ANSWER.replace('"p"', '"new"'))
    assert await source.find("a.io/y") == ([Credential("u", "new")], None)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (stubs.HANGS, "did not answer within 0.3 s"),
        (stubs.FLOODS, "answers with more than 1 MiB"),
        (stubs.FAILS, "ended with exit code 1"),
        (stubs.GARBAGE, "something other than a credential"),
        (stubs.BINARY, "something other than a credential"),
        *((each, "something other than a credential") for each in (stubs.EMPTY, stubs.DEEP, stubs.MISSPELT)),
        ('echo \'{"Username": 7, "Secret": "hunter2"}\'', "something other than a credential"),
    ],
)
async def test_one_that_fails_leaves_what_the_file_holds(
    script: str, says: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason is kept, and logged, without a word of what it printed."""
    Stub(tmp_path / "docker-credential-h", script)
    seconds = 0.3 if script == stubs.HANGS else 10.0
    found, unread = await config({**AUTHS, "credsStore": "h"}, tmp_path, seconds=seconds).find("a.io/x")
    assert found == [Credential("file", "f")]
    assert unread is not None
    assert unread.cause == "unauthorized"
    assert says in unread.detail
    assert says in caplog.text
    assert "hunter2" not in unread.detail + caplog.text


async def test_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    """When it is asked for: most images may need none."""
    _, unread = await config({"credsStore": "no-such-helper"}, tmp_path).find("a.io/x")
    assert unread is not None
    assert "docker-credential-no-such-helper cannot be started" in unread.detail


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"credsStore": "../evil"}, "names a credential helper '../evil'"),
        ({"credHelpers": {"a.io": "a b"}}, "names a credential helper 'a b'"),
        ({"credHelpers": ["a"]}, "no names of programs"),
        ({"credHelpers": {"a.io": 7}}, "no names of programs"),
        ({"credsStore": {"a": 1}}, "no names of programs"),
        ({"auths": []}, "is not an object"),
    ],
)
def test_a_config_that_is_wrong_is_refused_at_the_start(document: dict[str, Any], says: str, tmp_path: Path) -> None:
    """With the reason."""
    with pytest.raises(InvalidSetting, match=says):
        config(document, tmp_path)


async def test_the_file_is_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """For passwords that are rotated under us; one that is broken meanwhile changes nothing."""
    clock = Clock()
    document = json.dumps(AUTHS).encode()
    source = DockerConfig(lambda: document, clock=clock)
    document = document.replace(b'"f"', b'"g"')
    assert (await source.find("a.io/x"))[0] == [Credential("file", "f")]
    clock.now += LIFE
    assert (await source.find("a.io/x"))[0] == [Credential("file", "g")]
    document = b"{"
    clock.now += LIFE
    with caplog.at_level(logging.WARNING):
        assert (await source.find("a.io/x"))[0] == [Credential("file", "g")]
    assert "goes on" in caplog.text
    await source.aclose()
