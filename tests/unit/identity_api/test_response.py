"""What is said of an image: who it is on each platform, and the numbers that may be written for it."""

from typing import Any

from tests.support.images import DIGEST, PASSWD, image, multi, platform_image, unknown
from tests.support.tables import table
from webhook.identity_api import response
from webhook.image.capabilities import FileCapabilities
from webhook.image.config import Config, Platform, User
from webhook.image.filesystem import Capable, Directory, Special, Suggestion, Survey
from webhook.image.passwd import ResolvedIds
from webhook.image.source import Image, PlatformImage, Unknown

WINDOWS = multi(platform_image("ContainerUser", platform="windows/amd64"))
ADMINISTRATOR = multi(platform_image("ContainerAdministrator", platform="windows/amd64"))
DRIFT = PASSWD + "alias:x:1000:50::/:/bin/sh\n"
OBSERVED = Image(
    DIGEST,
    (PlatformImage(Config(User("", uid=1500), Platform("linux", "amd64")), accounts=ResolvedIds(1500, 7, (7,))),),
    "observed",
    60.0,
)


def said(found: Image | Unknown, os: str = "linux") -> dict[str, Any]:
    """The answer as JSON has it."""
    return response.of("app:1", found, os).model_dump(mode="json", by_alias=True)


@table(
    ("found", "expected"),
    {
        "a name": (
            image("app"),
            {"root": False, "uid": 1000, "verifiable": False, "runAsUser": 1000, "runAsGroup": None, "problem": ""},
        ),
        "a number": (image("7"), {"root": False, "uid": 7, "verifiable": True, "runAsUser": 7}),
        "root": (image("root"), {"root": True, "uid": 0, "verifiable": False, "runAsUser": None}),
        "no USER": (image(), {"root": True, "uid": 0, "verifiable": False, "runAsUser": None}),
        "nobody": (image("gone"), {"root": None, "uid": None, "verifiable": False, "runAsUser": None}),
        "root on one platform": (
            multi(platform_image("app"), platform_image("0", platform="linux/arm64")),
            {"root": True, "uid": None, "verifiable": False, "runAsUser": None},
        ),
        "nobody on one platform": (
            multi(platform_image("app"), platform_image("gone", platform="linux/arm64")),
            {"root": None, "uid": None, "runAsUser": None},
        ),
        "two numbers": (
            multi(platform_image("7"), platform_image("8", platform="linux/arm64")),
            {"root": False, "uid": None, "verifiable": True, "runAsUser": None},
        ),
        "a node's word": (
            OBSERVED,
            {"source": "observed", "age": 60.0, "root": False, "uid": 1500, "verifiable": False, "runAsGroup": 7},
        ),
        "nothing for the platform": (multi(), {"root": None, "uid": None, "verifiable": False, "platforms": []}),
    },
)
def test_who_it_is(found: Image, expected: dict[str, Any]) -> None:
    answered = said(found)
    assert {name: answered[name] for name in expected} == expected
    assert (answered["version"], answered["image"], answered["digest"]) == (1, "app:1", DIGEST)
    assert answered["unknown"] is None


def test_a_name_whose_number_is_anothers_first_has_no_number() -> None:
    """With the reason: its groups would be lost."""
    answered = said(image("alias", DRIFT, "wheel:x:7:alias\n"))
    assert (answered["root"], answered["uid"], answered["runAsUser"]) == (False, 1000, None)
    assert "belongs to 'app' first" in answered["problem"]


def test_the_answer_has_each_platform() -> None:
    answered = said(multi(platform_image("app"), platform_image("gone", platform="linux/arm64")))
    first, second = answered["platforms"]
    assert first == {
        "platform": "linux/amd64",
        "user": "app",
        "uid": 1000,
        "gid": 1000,
        "groups": [1000],
        "home": "/home/app",
        "root": False,
        "problem": "",
        "facts": None,
    }
    assert (second["platform"], second["uid"], second["root"]) == ("linux/arm64", None, None)
    assert "has no user 'gone'" in second["problem"]


def test_a_name_without_its_accounts_is_not_known() -> None:
    answered = said(multi(platform_image("app", unknown="pending")))
    assert (answered["root"], answered["uid"], answered["runAsUser"]) == (None, None, None)
    assert answered["platforms"][0]["problem"] == "a test says so"


def test_an_image_that_could_not_be_read_says_why() -> None:
    answered = said(unknown("unauthorized"))
    assert answered["unknown"] == {"cause": "unauthorized", "detail": "a test says so"}
    assert (answered["root"], answered["uid"], answered["source"], answered["platforms"]) == (None, None, None, [])


@table(("found", "root"), {"a user": (WINDOWS, False), "the administrator": (ADMINISTRATOR, True)})
def test_on_windows_nobody_has_a_uid(found: Image, root: bool) -> None:
    answered = said(found, "windows")
    assert (answered["root"], answered["uid"], answered["runAsUser"]) == (root, None, None)
    assert answered["verifiable"] is not root


def test_the_answer_has_facts_where_the_layers_have_been_read() -> None:
    survey = Survey(
        None,
        (Directory("/srv", "workingDirectory", present=True, uid=0, gid=5, mode=0o750),),
        (Special("/bin/su", 0, 0, 0o4755), Special("/bin/wall", 0, 5, 0o2755)),
        (Capable("/bin/ping", FileCapabilities(("NET_RAW",), effective=True)),),
        suggestion=Suggestion(999, 998, None, "high", ("it says so",)),
    )
    made = PlatformImage(Config(User(""), Platform("linux", "amd64")), DIGEST, survey=survey)
    assert said(multi(made))["platforms"][0]["facts"] == {
        "fileCapabilities": [{"path": "/bin/ping", "permitted": ["NET_RAW"], "effective": True}],
        "setuidPrograms": ["/bin/su"],
        "workingDirectory": {"path": "/srv", "uid": 0, "gid": 5, "mode": "0750"},
        "suggestion": {"uid": 999, "gid": 998, "fsGroup": None, "confidence": "high", "evidence": ["it says so"]},
    }
