"""Image references are normalised as the runtimes normalise them, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.tables import table
from webhook.errors import InvalidReference
from webhook.image import reference
from webhook.image.reference import Reference, parse

HEX = "0123456789abcdef" * 4


@table(
    ("text", "normalised"),
    {
        "one word is a library image on Docker Hub": ("nginx", "docker.io/library/nginx:latest"),
        "two words without a dot are on Docker Hub": ("bitnami/nginx:1", "docker.io/bitnami/nginx:1"),
        "a dot makes the first part a host": ("ghcr.io/a/b", "ghcr.io/a/b:latest"),
        "a port makes the first part a host": ("registry:5000/app", "registry:5000/app:latest"),
        "localhost is a host": ("localhost/app:1", "localhost/app:1"),
        "localhost alone is a name": ("localhost", "docker.io/library/localhost:latest"),
        "a host alone is a name": ("example.com", "docker.io/library/example.com:latest"),
        "a capital makes the first part a host": ("Registry/app", "Registry/app:latest"),
        "index.docker.io is docker.io": ("index.docker.io/library/a", "docker.io/library/a:latest"),
        "docker.io without library gets it": ("docker.io/a:2", "docker.io/library/a:2"),
        "a word and a number are a name and a tag": ("app:5000", "docker.io/library/app:5000"),
        "an IPv6 host": ("[fd00::1]:5000/app", "[fd00::1]:5000/app:latest"),
        "a digest": (f"app@sha256:{HEX}", f"docker.io/library/app@sha256:{HEX}"),
        "a tag beside a digest says nothing": (f"app:1@sha256:{HEX}", f"docker.io/library/app@sha256:{HEX}"),
        "sha512 in full": (f"a/b@sha512:{HEX}{HEX}", f"docker.io/a/b@sha512:{HEX}{HEX}"),
        "the longest tag": (f"a:{'x' * 128}", f"docker.io/library/a:{'x' * 128}"),
        "separators inside a name": ("a__b/c--d.e_f", "docker.io/a__b/c--d.e_f:latest"),
    },
)
def test_a_reference_is_normalised(text: str, normalised: str) -> None:
    """Host, library and tag are filled in as containerd does."""
    assert str(parse(text)) == normalised


@table(
    "text",
    {
        "nothing": "",
        "64 hexadecimal digits, an image id": HEX,
        "capitals in the repository": "ghcr.io/App",
        "a capital word alone": "App",
        "a space": "a b",
        "a leading space": " app",
        "a line break at the end": "app\n",
        "a scheme": "https://ghcr.io/app",
        "an empty tag": "app:",
        "a tag of 129 characters": f"a:{'x' * 129}",
        "a tag that begins with a dot": "a:.b",
        "an empty digest": "app@",
        "a digest without its hash": "app@sha256:",
        "a digest too short": f"app@sha256:{HEX[:-1]}",
        "a digest too long": f"app@sha256:{HEX}0",
        "a digest in capitals": f"app@sha256:{HEX.upper()}",
        "an unknown digest algorithm": f"app@md5:{HEX[:32]}",
        "an algorithm that Python spells otherwise": f"app@SHA256:{HEX}",
        "two digests": f"app@sha256:{HEX}@sha256:{HEX}",
        "a trailing slash": "ghcr.io/app/",
        "a double slash": "ghcr.io//app",
        "a host with an underscore": "my_host.io/app",
        "a host that begins with a hyphen": "-a.io/app",
        "a port that is no number": "a.io:x/app",
        "three underscores": "a___b",
        "digits of another script": "app:١",
        "a repository of 256 characters": f"a.io/{'x' * 256}",
        "of which the library is a part": "x" * 248,
    },
)
def test_what_no_runtime_takes_is_refused(text: str) -> None:
    """The message names the text, in ASCII, and ends in what is wrong."""
    with pytest.raises(InvalidReference, match="is no image reference: ") as caught:
        parse(text)
    assert str(caught.value).isascii() or "…" in str(caught.value)
    assert str(caught.value).startswith(ascii(text)[:40])


HOW = "it must look like HOST/NAME:TAG or HOST/NAME@sha256:…"


@table(
    ("text", "reason"),
    {
        "an image id": (HEX, "64 hexadecimal digits are an image id, which is ambiguous as a name"),
        "a digest": ("app@md5:1", "the digest must be sha256, sha384 or sha512 in full, in lower case"),
        "capitals": ("ghcr.io/App", "the repository name must be lower case"),
        "a host": ("-a.io/app", HOW),
        "a path": ("ghcr.io//app", HOW),
        "a tag": ("a:.b", "the tag may hold letters, digits, '_', '.' and '-', 128 at most"),
        "a length": (f"a.io/{'x' * 256}", "the repository name is longer than 255 characters"),
    },
)
def test_what_is_wrong_is_said(text: str, reason: str) -> None:
    with pytest.raises(InvalidReference) as caught:
        parse(text)
    shown = text if len(text) <= 255 else f"{text[:255]}\\u2026"
    assert str(caught.value) == f"'{shown}' is no image reference: {reason}"


def test_a_text_is_shown_whole_as_long_as_a_name_may_be() -> None:
    for length, shown in ((255, "A" * 255), (256, "A" * 255 + "\\u2026")):
        with pytest.raises(InvalidReference) as caught:
            parse("A" * length)
        assert str(caught.value) == f"'{shown}' is no image reference: the repository name must be lower case"


def test_a_repository_of_255_characters_is_the_longest() -> None:
    """Host, tag and digest do not count."""
    assert parse(f"a.io/{'x' * 255}:{'t' * 128}").repository == "x" * 255


def test_the_name_is_what_credentials_are_matched_against() -> None:
    """Registry and repository, no more."""
    assert parse("a.io/b/c:1").name == "a.io/b/c"


WORD = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
NAME = st.lists(WORD, min_size=1, max_size=3).flatmap(
    lambda words: st.lists(
        st.sampled_from([".", "_", "__", "-", "---"]), min_size=len(words) - 1, max_size=len(words) - 1
    ).map(lambda between: words[0] + "".join(a + b for a, b in zip(between, words[1:], strict=True)))
)
HOST = st.one_of(
    st.sampled_from(["docker.io", "localhost", "localhost:5000", "ghcr.io", "[::1]:80", "Upper"]),
    st.tuples(WORD, WORD).map(".".join),
)
REFERENCES = st.one_of(
    st.builds(
        Reference,
        HOST,
        st.lists(NAME, min_size=2, max_size=3).map("/".join),
        st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    ),
    st.builds(
        Reference,
        HOST,
        st.lists(NAME, min_size=2, max_size=3).map("/".join),
        digest=st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:".__add__),
    ),
)


@given(REFERENCES)
def test_what_is_printed_parses_to_the_same(reference: Reference) -> None:
    """Printing loses nothing, so that a normalised reference may be passed on as text."""
    assert parse(str(reference)) == reference


@given(st.text())
def test_any_text_is_normalised_once_or_refused(text: str) -> None:
    """Normalising is idempotent, and nothing but InvalidReference is raised."""
    try:
        found = parse(text)
    except InvalidReference:
        return
    assert parse(str(found)) == found


@table(
    ("glob", "normal"),
    {
        "a name on Docker Hub": ("nginx*", "docker.io/library/nginx*"),
        "a tag": ("nginx:1.2?", "docker.io/library/nginx:1.2?"),
        "a tag with a dot": ("nginx:1.27*", "docker.io/library/nginx:1.27*"),
        "a user's": ("bitnami/*", "docker.io/bitnami/*"),
        "the registry's other name": ("index.docker.io/library/nginx:*", "docker.io/library/nginx:*"),
        "no glob at all": ("nginx:1.27", "docker.io/library/nginx:1.27"),
        "no tag is the default one": ("nginx", "docker.io/library/nginx:latest"),
        "a registry": ("registry.example/*", "registry.example/*"),
        "a registry with a port": ("registry:5000/*", "registry:5000/*"),
        "localhost": ("localhost/*", "localhost/*"),
        "any registry": ("*/nginx:*", "*/nginx:*"),
        "everything": ("*", "*"),
        "part of a registry": ("registry*/app:1", "registry*/app:1"),
        "a registry's beginning": ("registry.example*", "registry.example*"),
        "no reference": ("two words", "two words"),
    },
)
def test_globs_are_normalised_as_references_are(glob: str, normal: str) -> None:
    """What people write of Docker Hub is what they see there; what leaves the registry open stays open."""
    assert reference.normalised_glob(glob) == normal
