"""The kubelet's exec credential providers, against stubs of the documented protocol, honest and hostile.

What is a cloud's provider on a node is a script here that answers as kubelet.config.k8s.io/v1 and
credentialprovider.kubelet.k8s.io/v1 say; no cloud was asked.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.clock import Clock
from tests.unit.registry import stubs
from tests.unit.registry.stubs import Stub
from webhook.errors import InvalidSetting
from webhook.registry.auth.credential_providers import Providers, parse_duration
from webhook.registry.auth.token import Credential

API = "credentialprovider.kubelet.k8s.io/v1"


def answer(cache: str = "Image", life: str | None = None, says: str = "p", key: str = "*.ecr.aws", **more: Any) -> str:
    """A CredentialProviderResponse."""
    document = {"apiVersion": API, "kind": "CredentialProviderResponse", "cacheKeyType": cache, **more}
    if life is not None:
        document["cacheDuration"] = life
    return json.dumps({"auth": {key: {"username": "AWS", "password": says}}, **document})


def provider(name: str = "ecr", **more: Any) -> dict[str, Any]:
    """An entry of the config."""
    return {"name": name, "matchImages": ["*.ecr.aws"], "defaultCacheDuration": "1m", "apiVersion": API, **more}


def providers(
    folder: Path, *entries: dict[str, Any], clock: Clock | None = None, seconds: float = 10.0, **more: Any
) -> Providers:
    """Made of a config file, as on nodes."""
    document = {"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig", "providers": [*entries]}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({**document, **more}))
    return Providers(path, folder, seconds, clock or Clock())


async def passwords(source: Providers, image: str) -> list[str]:
    """Of the credentials for an image."""
    found, unread = await source.find(image)
    assert unread is None, unread
    return [each.password for each in found]


async def test_it_is_asked_as_the_kubelet_asks(tmp_path: Path) -> None:
    """With arguments and variables of the config beside our own, and only about images that match."""
    stub = Stub(tmp_path / "ecr", answer=answer())
    entry = provider(args=["get"], env=[{"name": "SECRET", "value": "v"}])
    source = providers(tmp_path, entry)
    assert await source.find("a.ecr.aws/team/app") == ([Credential("AWS", "p")], None)
    question = {"apiVersion": API, "kind": "CredentialProviderRequest", "image": "a.ecr.aws/team/app"}
    assert json.loads(stub.question) == question
    assert stub.seen == "vget"
    for other in ("a.b.ecr.aws/x", "ecr.aws/x", "a.ecr.aws:443/x", "docker.io/library/x"):
        assert await source.find(other) == ([], None)
    assert stub.calls == 1


async def test_its_credentials_are_matched_like_any_others(tmp_path: Path) -> None:
    """An answer about something else gives nothing; several providers make one keyring."""
    Stub(tmp_path / "ecr", answer=answer(key="other.io"))
    source = providers(tmp_path, provider())
    assert await source.find("a.ecr.aws/x") == ([], None)
    Stub(tmp_path / "one", answer=answer(says="1", key="a.ecr.aws"))
    Stub(tmp_path / "two", answer=answer(says="2", key="a.ecr.aws/team"))
    assert await passwords(providers(tmp_path, provider("one"), provider("two")), "a.ecr.aws/team/x") == ["2", "1"]
    Stub(tmp_path / "none", answer=json.dumps({**json.loads(answer()), "auth": None}))
    assert await passwords(providers(tmp_path, provider("none")), "a.ecr.aws/x") == []


@pytest.mark.parametrize(("cache", "calls"), [("Image", 3), ("Registry", 2), ("Global", 1)])
async def test_an_answer_counts_for_an_image_a_registry_or_all(cache: str, calls: int, tmp_path: Path) -> None:
    """As it says itself."""
    stub = Stub(tmp_path / "ecr", answer=answer(cache))
    source = providers(tmp_path, provider())
    for image in ("a.ecr.aws/x", "a.ecr.aws/y", "b.ecr.aws/x", "a.ecr.aws/x"):
        assert await passwords(source, image) == ["p"]
    assert stub.calls == calls


@pytest.mark.parametrize(
    ("said", "default", "life"),
    [(None, "1m", 60.0), ("2h", "1m", 7200.0), ("0s", "1m", 0.0), (None, "0s", 0.0), ("-1m", "1m", 0.0)],
)
async def test_an_answer_counts_as_long_as_it_says(said: str | None, default: str, life: float, tmp_path: Path) -> None:
    """Else as long as the config says; nothing at all for 0."""
    clock, stub = Clock(), Stub(tmp_path / "ecr", answer=answer(life=said))
    source = providers(tmp_path, provider(defaultCacheDuration=default), clock=clock)
    await source.find("a.ecr.aws/x")
    clock.now += max(0.0, life - 0.1)
    await source.find("a.ecr.aws/x")
    assert stub.calls == (1 if life else 2)
    clock.now += 0.1
    await source.find("a.ecr.aws/x")
    assert stub.calls == (2 if life else 3)


async def test_many_pods_start_it_once(tmp_path: Path) -> None:
    """For one image."""
    stub = Stub(tmp_path / "ecr", f"{stubs.HONEST}; sleep 0.1", answer=answer())
    source = providers(tmp_path, provider())
    assert await asyncio.gather(*(passwords(source, "a.ecr.aws/x") for _ in range(20))) == [["p"]] * 20
    assert stub.calls == 1


WRONG = "something other than a CredentialProviderResponse"
STRANGE = {
    "another version": answer(apiVersion="credentialprovider.kubelet.k8s.io/v1beta1", says="hunter2"),
    "another kind": answer(kind="Secret", says="hunter2"),
    "no cache key type": answer(cache="hunter2"),
    "an unknown field": answer(hunter2="hunter2"),
    "no duration": answer(life="hunter2"),
    "no credentials": json.dumps({**json.loads(answer()), "auth": {"a.ecr.aws": "hunter2"}}),
}


@pytest.mark.parametrize(
    ("script", "said", "says"),
    [
        (stubs.HANGS, "", "did not answer within 0.3 s"),
        (stubs.LEAVES_A_CHILD, "", "did not answer within 0.3 s"),
        (stubs.FLOODS, "", "answers with more than 1 MiB"),
        (stubs.FAILS, "", "ended with exit code 1"),
        (stubs.GARBAGE, "", WRONG),
        (stubs.BINARY, "", WRONG),
        *((each, "", WRONG) for each in (stubs.EMPTY, stubs.DEEP, stubs.MISSPELT)),
        *((stubs.HONEST, each, WRONG) for each in STRANGE.values()),
    ],
)
async def test_one_that_fails_gives_nothing_and_the_others_go_on(
    script: str, said: str, says: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason is kept, and logged, without a word of what it printed."""
    Stub(tmp_path / "bad", script, said)
    Stub(tmp_path / "good", answer=answer())
    seconds = 0.3 if "0.3 s" in says else 10.0
    source = providers(tmp_path, provider("bad"), provider("good"), seconds=seconds)
    found, unread = await source.find("a.ecr.aws/x")
    assert found == [Credential("AWS", "p")]
    assert unread is not None
    assert unread.cause == "unauthorized"
    assert f"the credential provider bad failed: bad {says}" in unread.detail.replace("answers something", "something")
    assert says in caplog.text
    assert "hunter2" not in unread.detail + caplog.text
    await source.aclose()


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"name": "../ecr"}, "a name that is no file's"),
        ({"name": ".."}, "a name that is no file's"),
        ({"name": "gone"}, "gone, which is not there or not executable"),
        ({"matchImages": []}, r"providers\[0\].matchImages"),
        ({"defaultCacheDuration": "-1m"}, "defaultCacheDuration is no duration"),
        ({"defaultCacheDuration": "a while"}, "defaultCacheDuration is no duration"),
        ({"apiVersion": "credentialprovider.kubelet.k8s.io/v1alpha1"}, r"providers\[0\].apiVersion"),
        ({"tokenAttributes": {"requireServiceAccount": True}}, "it wants tokens of the Pods' ServiceAccounts"),
        ({"matchImage": ["x"]}, "there is no field 'matchImage'; did you mean matchImages"),
    ],
)
def test_a_config_that_is_wrong_is_refused_at_the_start(entry: dict[str, Any], says: str, tmp_path: Path) -> None:
    """The file and the field are named."""
    Stub(tmp_path / "ecr")
    with pytest.raises(InvalidSetting, match=rf"config\.yaml: .*{says}"):
        providers(tmp_path, provider(**entry))


def test_the_whole_config_is_checked(tmp_path: Path) -> None:
    """Its kind, and that no provider is there twice."""
    Stub(tmp_path / "ecr")
    with pytest.raises(InvalidSetting, match="'ecr' is there twice"):
        providers(tmp_path, provider(), provider())
    with pytest.raises(InvalidSetting, match="providers: must be a list of length >= 1"):
        providers(tmp_path)
    with pytest.raises(InvalidSetting, match=r"config\.yaml: apiVersion"):
        providers(tmp_path, provider(), apiVersion="v1")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("12h", 43200.0),
        ("1h30m", 5400.0),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("1.s", 1.0),
        ("+1m0s", 60.0),
        ("-2s", -2.0),
        ("100ms", 0.1),
        ("1µs", 1e-6),
        *((text, None) for text in ("", "5", "h", "1 h", "1d", ".s", "1h-1m", "--1s", "1H", "٣s")),
    ],
)
def test_durations_are_go_s(text: str, seconds: float | None) -> None:
    """As time.ParseDuration reads them."""
    assert parse_duration(text) == (None if seconds is None else pytest.approx(seconds))
