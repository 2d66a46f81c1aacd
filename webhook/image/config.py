"""An image's config: its USER and platform, as Go's JSON decoder and the CRI runtimes read them.

Sources: opencontainers/image-spec config.md; containerd/containerd internal/cri/server/images/image_status.go and
cri-o/cri-o server/image_status.go (the CRI's uid or user name); golang encoding/json (case-insensitive keys).
"""

from typing import Any

import msgspec

from webhook.errors import MalformedImage
from webhook.image.golang import decode_json, overflows, parse_decimal, read_object

_INT64_MAX = 2**63 - 1
UID_MAX = 2**31 - 1  # k8s.io/apimachinery pkg/util/validation/validation.go, IsValidUserID


class User(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """`config.User` as the CRI reports it: a uid, or a name, or neither, which the kubelet takes for uid 0.

    `text` is the whole of what the image says, and empty with a `uid` where only a node has said whom it stands for;
    `uid` is any int64; `name` is verbatim, spaces included.
    """

    text: str
    uid: int | None = None
    name: str = ""

    @property
    def unread(self) -> bool:
        """Whether the image config was not read, so that USER may be this uid or a name for it."""
        return self.uid is not None and not self.text

    @property
    def looks_numeric(self) -> bool:
        """A signed decimal, however large: never to be looked up as a name (CVE-2024-40635, CVE-2026-46680)."""
        left = self.text.partition(":")[0]
        return parse_decimal(left) is not None or overflows(left)


def parse_user(text: str) -> User:
    """Split `config.User` as both CRI runtimes do: what is before the first colon, a base-10 int64 or else a name."""
    left = text.partition(":")[0]
    number = parse_decimal(left)
    if number is not None and -_INT64_MAX - 1 <= number <= _INT64_MAX:
        return User(text, uid=number)
    return User(text, name=left)


class Platform(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """An OCI platform, normalised as containerd/platforms does (`x86_64` is `amd64`, `aarch64` is `arm64`, …)."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


class Config(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """The part of an image config that says how its container starts."""

    user: User
    platform: Platform
    diff_ids: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    on_build: tuple[str, ...] = ()


_DOCUMENT = frozenset({"config", "os", "architecture", "variant", "rootfs"})
_SETTINGS = frozenset({"User", "WorkingDir", "Env", "Entrypoint", "Cmd", "Volumes", "ExposedPorts", "OnBuild"})


def parse_config(raw: bytes) -> Config:
    """Decode an image config; `MalformedImage` where Go would refuse it or could read it differently from us."""
    document = read_object(decode_json(raw, "image config"), "the image config", _DOCUMENT)
    settings = read_object(document.get("config"), "config", _SETTINGS)
    rootfs = read_object(document.get("rootfs"), "rootfs", frozenset({"type", "diff_ids"}))
    _text(rootfs, "type")
    return Config(
        user=parse_user(_text(settings, "User")),
        platform=normalise_platform(_text(document, "os"), _text(document, "architecture"), _text(document, "variant")),
        diff_ids=_texts(rootfs, "diff_ids"),
        working_dir=_text(settings, "WorkingDir"),
        env=_texts(settings, "Env"),
        entrypoint=_texts(settings, "Entrypoint"),
        command=_texts(settings, "Cmd"),
        volumes=_set(settings, "Volumes"),
        exposed_ports=_set(settings, "ExposedPorts"),
        on_build=_texts(settings, "OnBuild"),
    )


def _text(holder: dict[str, Any], key: str) -> str:
    value = holder.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedImage(f"{key} is not a string")
    return value


def _set(holder: dict[str, Any], key: str) -> tuple[str, ...]:
    """A set as Go writes one: an object with an empty object, or anything else that is an object, for each member."""
    members = read_object(holder.get(key), key, frozenset())
    for member, value in members.items():
        read_object(value, f"{key} {member[:80]!a}", frozenset())
    return tuple(sorted(members))


def _texts(holder: dict[str, Any], key: str) -> tuple[str, ...]:
    value = holder.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise MalformedImage(f"{key} is not a list of strings")
    return tuple(value)


_ARCHITECTURES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "i386": "386",
    "aarch64": "arm64",
    "armhf": "arm",
    "armel": "arm",
}
_IMPLIED = {"i386": "", "armhf": "v7", "armel": "v6"}  # whatever variant stands beside them
_VARIANTS = {
    "amd64": {"v1": ""},
    "arm64": {"8": "", "v8": "", "v8.0": "", "9": "v9", "9.0": "v9", "v9.0": "v9"},
    "arm": {"": "v7", "5": "v5", "6": "v6", "7": "v7", "8": "v8"},
}


def normalise_platform(os: str, architecture: str, variant: str = "") -> Platform:
    """Fold case and aliases as containerd/platforms does (database.go, normalizeArch and normalizeOS).

    An empty `os` stays empty: a runtime takes its own for it.
    """
    os, architecture, variant = os.lower(), architecture.lower(), variant.lower()
    alias = _ARCHITECTURES.get(architecture, architecture)
    variant = _IMPLIED.get(architecture, variant)
    return Platform("darwin" if os == "macos" else os, alias, _VARIANTS.get(alias, {}).get(variant, variant))
