"""Credentials are found as the kubelet's keyring finds them."""

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook.registry.auth.keychain import Keychain, MalformedKeychain, matches
from webhook.registry.auth.token import IDENTITY_TOKEN, Credential


class Secret(msgspec.Struct, frozen=True):
    """A Secret as the cluster would give it."""

    type: str
    data: dict[str, bytes]


def secret(auths: Any, *, legacy: bool = False) -> Secret:
    """A pull secret of either type."""
    if legacy:
        return Secret("kubernetes.io/dockercfg", {".dockercfg": json.dumps(auths).encode()})
    return Secret("kubernetes.io/dockerconfigjson", {".dockerconfigjson": json.dumps({"auths": auths}).encode()})


def keychain(*entries: str) -> Keychain:
    """A keychain in which every key has a user of its own name."""
    chain = Keychain()
    chain.add_secret(secret({key: {"username": key, "password": "p"} for key in entries}))
    return chain


def found(image: str, *entries: str) -> list[str]:
    """The keys whose credentials apply, in order."""
    return [credential.username for credential in keychain(*entries).find(image)]


@pytest.mark.parametrize(
    ("key", "image", "expected"),
    [
        ("*.kubernetes.io", "prefix.kubernetes.io/a", True),
        ("prefix.*.io", "prefix.kubernetes.io/a", True),
        ("prefix.kubernetes.*", "prefix.kubernetes.io/a", True),
        ("*-good.kubernetes.io", "prefix-good.kubernetes.io/a", True),
        ("*kubernetes.io", "kubernetes.io/a", True),
        ("*.io", "kubernetes.io/a", True),
        ("*", "localhost/a", True),
        ("*.*", "quay.io/a", True),
        ("*.k8s.io", "k8s.io/a", False),
        ("*.k8s.io", "a.b.k8s.io/a", False),
        ("*.kubernetes.io", "kubernetes.com/a", False),
        ("kubernetes.io", "sub.kubernetes.io/a", False),
        ("registry.example.com", "registry.example.com.evil.tld/a", False),
        ("kubernetes.io:80", "kubernetes.io:80/a", True),
        ("kubernetes.io:80", "kubernetes.io/a", False),
        ("kubernetes.io", "kubernetes.io:80/a", False),
        ("*.kubernetes.io:*", "a.kubernetes.io:80/a", False),
        ("quay.io/core", "quay.io/core/etcd", True),
        ("quay.io/core", "quay.io/coreos/etcd", True),
        ("quay.io/core/", "quay.io/coreos/etcd", False),
        ("quay.io/co*", "quay.io/coreos/etcd", False),
        ("registry[0-9].io", "registry7.io/a", True),
        ("registry[^0-9].io", "registry7.io/a", False),
        ("registry[0-9a-f].io", "registrye.io/a", True),
        ("registry[9-0].io", "registry7.io/a", False),
        ("registry[7-].io", "registry7.io/a", False),
        ("registry[-7].io", "registry7.io/a", False),
        ("registry[7--9].io", "registry7.io/a", False),
        ("registry[]7].io", "registry7.io/a", False),
        ("registry[&&7].io", "registry7.io/a", True),
        ("registry?.io", "registry7.io/a", True),
        ("registry[.io", "registry[.io/a", False),
        (r"a\*.io", "a*.io/a", True),
        ("[::1]:5000", "[::1]:5000/a", True),
        ("", "quay.io/a", False),
    ],
)
def test_a_key_matches(key: str, image: str, expected: bool) -> None:
    """Label by label, the port to the letter, the path as a raw prefix."""
    assert matches(key, image) is expected


@pytest.mark.parametrize(
    ("image", "entries", "expected"),
    [
        ("quay.io/a/b", ["quay.io", "quay.io/a", "quay.io/a/b", "gcr.io"], ["quay.io/a/b", "quay.io/a", "quay.io"]),
        ("quay.io/a", ["*.io", "quay.io"], ["quay.io", "*.io"]),
        (
            "quay.io/a",
            ["https://quay.io", "http://quay.io/v2/", "quay.io/v1/"],
            ["https://quay.io", "http://quay.io/v2/", "quay.io/v1/"],
        ),
        ("quay.io/v1/a", ["quay.io/v1"], ["quay.io/v1"]),
        ("docker.io/library/app", ["https://index.docker.io/v1/"], ["https://index.docker.io/v1/"]),
        ("docker.io/library/app", ["https://index.docker.io/v1"], []),
        ("docker.io/library/app", ["docker.io", "index.docker.io"], ["docker.io"]),
        ("docker.io/team/app", ["docker.io/team", "docker.io"], ["docker.io/team", "docker.io"]),
        ("docker.io/team/app", ["quay.io"], []),
        ("quay.io/a", ["https://index.docker.io/v1/"], []),
        ("localhost/a", ["https://index.docker.io/v1/"], []),
        ("quay.io/a", ["https://user@quay.io"], ["https://user@quay.io"]),
        ("quay.io/a", ["https://[quay.io"], []),
    ],
)
def test_every_match_is_found_the_longest_first(image: str, entries: list[str], expected: list[str]) -> None:
    """And Docker Hub has a name of its own to fall back to."""
    assert found(image, *entries) == expected


def test_both_types_of_secret_are_read() -> None:
    """Several Secrets make one keychain; within a key they stay in order."""
    chain = Keychain()
    chain.add_secret(secret({"quay.io": {"username": "a", "password": "1"}}))
    chain.add_secret(secret({"quay.io": {"auth": base64.b64encode(b"b:2:3").decode()}}, legacy=True))
    assert chain.find("quay.io/x") == [Credential("a", "1"), Credential("b", "2:3")]


@pytest.mark.parametrize(
    "ignored",
    [
        Secret("Opaque", {".dockerconfigjson": b"{"}),
        Secret("kubernetes.io/dockerconfigjson", {".dockercfg": b"{"}),
        Secret("kubernetes.io/dockercfg", {".dockerconfigjson": b"{"}),
        Secret("kubernetes.io/dockerconfigjson", {".dockerconfigjson": b"{}"}),
    ],
)
def test_a_secret_of_another_type_or_key_is_passed_over(ignored: Secret) -> None:
    """Even if it is broken."""
    chain = Keychain()
    chain.add_secret(ignored)
    assert chain.find("quay.io/x") == []


@pytest.mark.parametrize(
    "auths",
    [
        [],
        {"quay.io": []},
        {"quay.io": {"username": 1}},
        {"quay.io": {"auth": "no base64!"}},
        {"quay.io": {"auth": base64.b64encode(b"nocolon").decode()}},
        {"quay.io": {"auth": "YTpi="}},
    ],
)
def test_what_the_kubelet_refuses_is_refused(auths: Any) -> None:
    """With no secret in the message."""
    with pytest.raises(MalformedKeychain) as caught:
        Keychain().add_secret(secret(auths))
    assert "nocolon" not in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff"])
def test_a_broken_document_is_refused(raw: bytes) -> None:
    """As a whole."""
    with pytest.raises(MalformedKeychain):
        Keychain().add_secret(Secret("kubernetes.io/dockerconfigjson", {".dockerconfigjson": raw}))


def test_an_entry_reads_as_go_reads_it() -> None:
    """Names in any case, unpadded base64, `auth` over the rest; null is nobody."""
    chain = Keychain()
    unpadded = base64.b64encode(b"user:passw").decode().rstrip("=")
    assert unpadded != base64.b64encode(b"user:passw").decode()
    document = {
        "Auths": {"a.io": {"Auth": f"{unpadded}\n", "username": "other"}, "b.io": {"USERNAME": "u"}, "c.io": None}
    }
    chain.add_config(json.dumps(document).encode())
    assert chain.find("a.io/x") == [Credential("user", "passw")]
    assert chain.find("b.io/x") == [Credential("u", "")]
    assert chain.find("c.io/x") == [Credential()]


def test_identity_tokens_count_in_the_operators_config_only() -> None:
    """The kubelet does not read them."""
    auths = {"a.io": {"username": "u", "password": "p", "identitytoken": "t"}}
    pod, operator = Keychain(), Keychain()
    pod.add_secret(secret(auths))
    operator.add_config(json.dumps({"auths": auths}).encode())
    assert pod.find("a.io/x") == [Credential("u", "p")]
    assert operator.find("a.io/x") == [Credential(IDENTITY_TOKEN, "t")]


def globbed(pattern: str, text: str) -> bool:
    """Stars, question marks and letters, the slow way."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return globbed(pattern[1:], text) or (text != "" and globbed(pattern, text[1:]))
    return text != "" and pattern[0] in {"?", text[0]} and globbed(pattern[1:], text[1:])


@given(st.text("ab*?", min_size=1, max_size=7), st.text("ab", min_size=1, max_size=8))
def test_a_star_matches_whatever_is_needed(pattern: str, text: str) -> None:
    """Though what follows it is looked for once."""
    assert matches(pattern, f"{text}/x") is globbed(pattern, text)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "key", ["a." + "*" * 200 + "example", "a." + "*e" * 100 + "x", "*" * 5000 + ".y", "[*]" * 2000]
)
def test_a_key_of_many_stars_is_matched_at_once(key: str) -> None:
    """It may stand in anybody's pull secret."""
    assert not matches(key, "a." + "e" * 60 + ".example/x")
    assert not matches(key, "a." + "e" * 250 + "/x")
