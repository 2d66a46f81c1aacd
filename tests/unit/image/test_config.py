"""An image's config is read exactly as Go reads it, or refused."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tables import table
from webhook.errors import MalformedImage
from webhook.image.config import Config, Platform, User, normalise_platform, parse_config, parse_user


def config(**settings: Any) -> bytes:
    """A config with these settings of a process."""
    return json.dumps({"os": "linux", "architecture": "amd64", "config": settings}).encode()


def test_a_whole_config_is_read() -> None:
    """What says how the container starts; unknown fields are ignored."""
    found = parse_config(
        json.dumps(
            {
                "os": "Linux",
                "architecture": "aarch64",
                "variant": "v8",
                "rootfs": {"type": "layers", "diff_ids": ["sha256:a", "sha256:b"]},
                "history": [{"empty_layer": True}],
                "config": {
                    "User": "app:grp",
                    "WorkingDir": "/srv",
                    "Env": ["A=1"],
                    "Entrypoint": ["/app"],
                    "Cmd": ["serve"],
                    "Volumes": {"/data": {}, "/cache": {}},
                    "ExposedPorts": {"80/tcp": {}},
                    "OnBuild": ["USER 5"],
                    "Labels": {"user": "0"},
                },
            }
        ).encode()
    )
    assert found == Config(
        User("app:grp", name="app"),
        Platform("linux", "arm64"),
        ("sha256:a", "sha256:b"),
        "/srv",
        ("A=1",),
        ("/app",),
        ("serve",),
        ("/cache", "/data"),
        ("80/tcp",),
        ("USER 5",),
    )


@table(
    "raw",
    {
        "no config": b'{"os":"linux"}',
        "a config that is null": b'{"config":null}',
        "an empty config": b'{"config":{}}',
        "a USER that is null": b'{"config":{"User":null}}',
        "a USER that is empty": b'{"config":{"User":""}}',
        "everything null": b'{"config":{"User":null,"Env":null,"Volumes":null},"rootfs":null,"os":null}',
        "null alone": b"null",
    },
)
def test_absent_and_null_are_no_user(raw: bytes) -> None:
    """Which the kubelet takes for uid 0."""
    assert parse_config(raw).user == User("")


@table(
    ("raw", "says"),
    {
        "a USER in lower case beside it": (b'{"config":{"User":"1000","user":"0"}}', "'user'"),
        "a USER in lower case alone": (b'{"config":{"user":"0"}}', "'user'"),
        "a long s in the key": ('{"config":{"U\u017fer":"0"}}'.encode(), "U\\u017fer"),
        "a long s, escaped": (b'{"config":{"U\\u017fer":"0"}}', "U\\u017fer"),
        "a Kelvin sign in the key": ('{"config":{"Wor\u212aingDir":"/"}}'.encode(), "WorkingDir"),
        "a Config with a capital": (b'{"Config":{"User":"5"}}', "'Config'"),
        "two configs": (b'{"config":{"User":"1000"},"config":{"User":"0"}}', "twice"),
        "two configs in two cases": (b'{"config":{"User":"1000"},"CONFIG":{"User":"0"}}', "'CONFIG'"),
        "a USER twice": (b'{"config":{"User":"1000","User":"0"}}', "twice"),
        "a USER twice, once null": (b'{"config":{"User":"1000","User":null}}', "twice"),
        "a USER that is a number": (b'{"config":{"User":1000}}', "User is not a string"),
        "a config that is a list": (b'{"config":[]}', "config is not an object"),
        "an environment that is text": (b'{"config":{"Env":"A=1"}}', "Env is not a list of strings"),
        "an environment with a number": (b'{"config":{"Env":[1]}}', "Env is not a list of strings"),
        "volumes in a list": (b'{"config":{"Volumes":["/data"]}}', "Volumes is not an object"),
        "layers without a list": (b'{"rootfs":{"diff_ids":"sha256:a"}}', "diff_ids"),
        "a list alone": (b"[]", "is not an object"),
        "nothing": (b"", "not JSON"),
        "NaN": (b'{"x":NaN}', "NaN"),
        "infinity": (b'{"x":-Infinity}', "Infinity"),
        "text after the end": (b"{} {}", "not JSON"),
        "a comment": (b"{} // x", "not JSON"),
        "bytes that are no UTF-8": (b'{"config":{"User":"\xff"}}', "not UTF-8"),
        "UTF-16": ('{"config":{"User":"5"}}'.encode("utf-16"), "not UTF-8"),
        "a byte order mark": (b"\xef\xbb\xbf{}", "not JSON"),
        "half a surrogate pair in USER": (b'{"config":{"User":"\\udc80"}}', "surrogate"),
        "half a surrogate pair elsewhere": (b'{"x":["\\uD800"]}', "surrogate"),
        "a line break inside text": (b'{"config":{"User":"a\nb"}}', "not JSON"),
        "deep nesting": (b'{"x":' + b"[" * 100_000, "nested too deeply"),
        "a number of 5,000 digits": (b'{"x":' + b"9" * 5000 + b"}", "not JSON"),
    },
)
def test_what_go_reads_otherwise_or_not_at_all_is_refused(raw: bytes, says: str) -> None:
    """A document on which two readers could disagree is never guessed."""
    with pytest.raises(MalformedImage) as caught:
        parse_config(raw)
    assert says in str(caught.value)


@table(
    ("raw", "message"),
    {
        "the whole is text": (b'"x"', "the image config is not an object"),
        "the whole is no JSON": (b"", "the image config is not JSON: "),
        "the root file system": (b'{"rootfs":[]}', "rootfs is not an object"),
        "its type": (b'{"rootfs":{"type":1}}', "type is not a string"),
        "its type in capitals": (
            b'{"rootfs":{"TYPE":"layers"}}',
            "rootfs has the key 'TYPE', which Go would take for 'type'",
        ),
        "its layers in capitals": (
            b'{"rootfs":{"DIFF_IDS":[]}}',
            "rootfs has the key 'DIFF_IDS', which Go would take for 'diff_ids'",
        ),
        "the system in capitals": (
            b'{"OS":"linux"}',
            "the image config has the key 'OS', which Go would take for 'os'",
        ),
        "the variant in capitals": (
            b'{"VARIANT":"v8"}',
            "the image config has the key 'VARIANT', which Go would take for 'variant'",
        ),
        "a setting in lower case": (
            b'{"config":{"env":[]}}',
            "config has the key 'env', which Go would take for 'Env'",
        ),
        "a member of a set": (
            b'{"config":{"Volumes":{"' + b"a" * 100 + b'":1}}}',
            f"Volumes '{'a' * 80}' is not an object",
        ),
    },
)
def test_what_is_wrong_is_said_with_its_place(raw: bytes, message: str) -> None:
    with pytest.raises(MalformedImage) as caught:
        parse_config(raw)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "key", ["User", "WorkingDir", "Env", "Entrypoint", "Cmd", "Volumes", "ExposedPorts", "OnBuild"]
)
def test_a_setting_of_another_type_is_refused_by_its_name(key: str) -> None:
    with pytest.raises(MalformedImage, match=rf"^{key} is not (a string|a list of strings|an object)$"):
        parse_config(config(**{key: 1}))


def test_the_variant_is_of_the_platform() -> None:
    assert parse_config(b'{"os":"linux","architecture":"arm","variant":"v6"}').platform == Platform(
        "linux", "arm", "v6"
    )
    assert normalise_platform("linux", "amd64") == Platform("linux", "amd64", "")


def test_a_whole_surrogate_pair_is_a_character() -> None:
    """Both readers make the same of it."""
    assert parse_config(b'{"config":{"User":"\\ud83d\\ude00"}}').user.name == "\U0001f600"


def test_a_key_that_only_looks_like_user_is_ignored() -> None:
    """Python folds a dotted I to something else than Go does; neither makes a known key of it."""
    assert parse_config('{"conf\u0130g":{"User":"5"},"config":{"User":"6"}}'.encode()).user.uid == 6


@table(
    ("text", "uid", "name", "numeric"),
    {
        "nothing": ("", None, "", False),
        "a group alone": (":1000", None, "", False),
        "a number": ("1000", 1000, "", True),
        "a number and a group": ("1000:grp", 1000, "", True),
        "three parts": ("1:2:3", 1, "", True),
        "a plus": ("+5", 5, "", True),
        "minus nothing": ("-0", 0, "", True),
        "the largest of 64 bits": ("9223372036854775807", 2**63 - 1, "", True),
        "the smallest of 64 bits": ("-9223372036854775808", -(2**63), "", True),
        "one beyond 64 bits": ("9223372036854775808", None, "9223372036854775808", True),
        "one below 64 bits": ("-9223372036854775809:1", None, "-9223372036854775809", True),
        "out of range before it is a name": ("18446744073709551616x", None, "18446744073709551616x", True),
        "a name before it is out of range": ("1844674407370955161x", None, "1844674407370955161x", False),
        "a name": ("app", None, "app", False),
        "a name and a group": ("app:grp", None, "app", False),
        "a space is part of a name": (" 0", None, " 0", False),
        "digits of another script": ("١٠", None, "١٠", False),
    },
)
def test_user_is_split_as_the_cri_splits_it(text: str, uid: int | None, name: str, numeric: bool) -> None:
    """What looks numeric is never looked up as a name, however large (CVE-2026-46680)."""
    user = parse_user(text)
    assert (user.text, user.uid, user.name, user.looks_numeric) == (text, uid, name, numeric)


USERS = st.one_of(
    st.text(max_size=30),
    st.text("+-0123456789: ax_", max_size=24),
    st.integers(-(2**70), 2**70).map(str),
)


@given(USERS)
def test_user_agrees_with_an_independent_model(text: str) -> None:
    """The grammar, walked character by character."""
    left = ""
    for character in text:
        if character == ":":
            break
        left += character
    digits = left[1:] if left[:1] in ("+", "-") else left
    is_number = digits != "" and not set(digits) - set("0123456789")
    value = (
        sum("0123456789".index(digit) * 10**place for place, digit in enumerate(reversed(digits))) if is_number else 0
    )
    value = -value if left[:1] == "-" else value
    fits = is_number and -(2**63) <= value < 2**63
    user = parse_user(text)
    assert user.uid == (value if fits else None)
    assert user.name == ("" if fits else left)
    assert user.looks_numeric or not is_number


@table(
    ("given", "expected"),
    {
        "x86_64": (("linux", "x86_64", ""), "linux/amd64"),
        "x86-64": (("linux", "X86-64", ""), "linux/amd64"),
        "amd64 v1": (("linux", "amd64", "v1"), "linux/amd64"),
        "amd64 v3": (("linux", "amd64", "v3"), "linux/amd64/v3"),
        "i386 loses its variant": (("linux", "i386", "v2"), "linux/386"),
        "386 keeps it": (("linux", "386", "v2"), "linux/386/v2"),
        "aarch64": (("linux", "aarch64", "8"), "linux/arm64"),
        "arm64 v8": (("linux", "arm64", "V8"), "linux/arm64"),
        "arm64 v8.0": (("linux", "arm64", "v8.0"), "linux/arm64"),
        "arm64 9": (("linux", "arm64", "9"), "linux/arm64/v9"),
        "arm without a variant": (("linux", "arm", ""), "linux/arm/v7"),
        "arm 6": (("linux", "arm", "6"), "linux/arm/v6"),
        "arm v5": (("linux", "arm", "v5"), "linux/arm/v5"),
        "armhf": (("linux", "armhf", "v6"), "linux/arm/v7"),
        "armel": (("linux", "armel", ""), "linux/arm/v6"),
        "macos": (("MacOS", "arm64", ""), "darwin/arm64"),
        "an empty os stays empty": (("", "amd64", ""), "amd64"),
        "an unknown one": (("plan9", "mips", "x"), "plan9/mips/x"),
    },
)
def test_platforms_are_folded(given: tuple[str, str, str], expected: str) -> None:
    """containerd/platforms database.go."""
    assert str(normalise_platform(*given)) == expected


@given(st.binary())
def test_arbitrary_bytes_are_a_config_or_malformed(raw: bytes) -> None:
    """Whatever a registry sends as a config."""
    _read(raw)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["User", "user", "Env", "Cmd", "Volumes", "os", "config", "rootfs", "diff_ids", "variant"])


@given(st.dictionaries(KEYS, VALUES | st.dictionaries(KEYS, VALUES)))
def test_arbitrary_documents_are_a_config_or_malformed(document: dict[str, Any]) -> None:
    """The right keys with anything in them."""
    _read(json.dumps(document).encode())


def _read(raw: bytes) -> None:
    try:
        found = parse_config(raw)
    except MalformedImage as error:
        assert str(error)
        return
    assert isinstance(found, Config)
    found.user.text.encode()
