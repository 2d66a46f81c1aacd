"""Image references, normalised as the container runtimes normalise them.

Source: github.com/distribution/reference, normalize.go, reference.go and regexp.go (ParseDockerRef).
"""

import re
from functools import lru_cache

import msgspec

from webhook.errors import InvalidReference

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
NAME_LIMIT = 255  # of the repository without its host, since v0.6.0

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z", re.ASCII)
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?\Z", re.ASCII)
_TAG = re.compile(r"[\w][\w.-]{0,127}\Z", re.ASCII)
DIGEST = re.compile(r"(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})\Z", re.ASCII)
_WILDCARD = re.compile(r"[*?\[]")
_IDENTIFIER = re.compile(r"[a-f0-9]{64}\Z")


class Reference(msgspec.Struct, frozen=True):
    """One image: `registry/repository[:tag][@digest]`; with a digest the tag says nothing and is dropped."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest: what credentials are matched against."""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"


def parse(text: str) -> Reference:
    """Normalise `text`; `InvalidReference` names it and what is wrong with it."""
    if _IDENTIFIER.match(text):
        raise _invalid(text, "64 hexadecimal digits are an image id, which is ambiguous as a name")
    rest, at, digest = text.partition("@")
    if at and DIGEST.match(digest) is None:
        raise _invalid(text, "the digest must be sha256, sha384 or sha512 in full, in lower case")
    host, slash, path = rest.partition("/")
    if not slash or not _is_host(host):
        host, path = DEFAULT_REGISTRY, rest
    elif host == "index.docker.io":
        host = DEFAULT_REGISTRY
    path, colon, tag = path.partition(":")
    if host == DEFAULT_REGISTRY and path and "/" not in path:
        path = f"library/{path}"
    if path.lower() != path:
        raise _invalid(text, "the repository name must be lower case")
    if not _HOST.match(host) or not _PATH.match(path):
        raise _invalid(text, "it must look like HOST/NAME:TAG or HOST/NAME@sha256:…")
    if colon and not _TAG.match(tag):
        raise _invalid(text, "the tag may hold letters, digits, '_', '.' and '-', 128 at most")
    if len(path) > NAME_LIMIT:
        raise _invalid(text, f"the repository name is longer than {NAME_LIMIT} characters")
    if at:
        return Reference(host, path, digest=digest)
    return Reference(host, path, tag=tag or DEFAULT_TAG)


@lru_cache(maxsize=4096)  # of a review's images, which are 1024 characters at most: 8 MiB
def normalised(text: str) -> str:
    """The reference as globs are matched against it; where it is none, the text as it stands."""
    try:
        return str(parse(text))
    except InvalidReference:
        return text


@lru_cache(maxsize=4096)
def normalised_glob(glob: str) -> str:
    """A glob as people write it, in the form that `normalised` gives to references: `nginx*` is `docker.io/library/nginx*`.

    One that leaves the registry open, such as `*/app:1` or `registry*/app`, stays as it is.
    """
    head = _WILDCARD.split(glob, maxsplit=1)[0]
    if head == glob:
        return normalised(glob)
    host, slash, path = glob.partition("/")
    if not slash:
        return f"{DEFAULT_REGISTRY}/library/{glob}" if head and "." not in head.partition(":")[0] else glob
    if host == "index.docker.io":
        return f"{DEFAULT_REGISTRY}/{path}"
    return glob if _WILDCARD.search(host) or _is_host(host) else f"{DEFAULT_REGISTRY}/{glob}"


def _is_host(text: str) -> bool:
    """Whether what stands before the first slash is a registry, and not the first part of a name on Docker Hub."""
    return text == "localhost" or "." in text or ":" in text or text.lower() != text


def _invalid(text: str, reason: str) -> InvalidReference:
    shown = ascii(
        text if len(text) <= NAME_LIMIT else text[:NAME_LIMIT] + "…"
    )  # a digit of another script looks like ours
    return InvalidReference(f"{shown} is no image reference: {reason}")
