"""What is known of an image: its config's USER and platform, as Go's JSON decoder and the CRI runtimes read them.

Sources: opencontainers/image-spec config.md; containerd/containerd internal/cri/server/images/image_status.go and
cri-o/cri-o server/image_status.go (the CRI's uid or user name); golang encoding/json (case-insensitive keys).
"""

import json
from typing import Any, Literal, Protocol

import msgspec

from webhook.accounts import Accounts, Numbers, overflows, parse_decimal
from webhook.errors import MalformedImage
from webhook.survey import Survey

_INT64_MAX = 2**63 - 1
UID_MAX = 2**31 - 1  # k8s.io/apimachinery pkg/util/validation/validation.go, IsValidUserID

Cause = Literal["unauthorized", "notFound", "unreachable", "rateLimited", "invalid", "tooLarge", "pending", "local"]


class Unknown(msgspec.Struct, frozen=True, gc=False):
    """Why an image could not be read: a value, not an exception. `detail` is one line for a person, without secrets."""

    cause: Cause
    detail: str


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
        """Nobody has read it: it may be this uid or a name for it."""
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


class PlatformImage(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """One platform's image. `accounts` is None where nobody needed them, Unknown where they could not be read.

    A USER name needs them wherever the query's `os` is linux, even where the config claims another platform; Numbers
    stand for them where somebody else has read them, or knows the answer. `size` is the bytes that pulling it
    transfers, 0 where nobody said; `survey` is None where nobody asked for it.
    """

    config: Config
    digest: str = ""
    accounts: Accounts | Numbers | Unknown | None = None
    size: int = 0
    survey: Survey | Unknown | None = None

    @property
    def platform(self) -> Platform:
        """What it is built for, as its own config says."""
        return self.config.platform


class Image(msgspec.Struct, frozen=True, cache_hash=True, weakref=True):
    """An image reference's answer: every platform that was asked for and exists.

    `digest` is what the reference resolves to; `age` is the seconds since the registry last confirmed that, or since it
    was last seen on a node, 0 when fresh; `source` says who told us, and `despite` why the registry itself does not now.
    `index` holds every platform that the digest's index offers for the query's os, in order; it is empty for a single
    manifest, and None where nobody says. `private` is an answer that took the Pod's own pull secrets.
    """

    digest: str
    platforms: tuple[PlatformImage, ...]
    source: Literal["registry", "observed", "known"] = "registry"
    age: float = 0.0
    despite: Unknown | None = None
    index: tuple[Platform, ...] | None = None
    private: bool = False


class Query(msgspec.Struct, frozen=True, gc=False):
    """What a judge asks of an image source.

    `os` and `architectures` narrow the platforms (empty architectures: every one); `accounts` asks for passwd and
    group even of images whose USER is a number, `survey` for a look at every layer, which reads the whole image.
    `budget` is how many seconds the caller waits before it takes Unknown("pending"); 0 asks what is already known and
    queues the rest. `service_account` is whose pull secrets apply because the spec has none: a template's, for a Pod
    was given them when it was made. Of what a `dry_run` learns nothing is written to the cluster.
    """

    reference: str
    os: str = "linux"
    architectures: frozenset[str] = frozenset()
    namespace: str = ""
    pull_secrets: tuple[str, ...] = ()
    service_account: str = ""
    always_pull: bool = False
    accounts: bool = False
    survey: bool = False
    dry_run: bool = False
    budget: float = 3.0


class Images(Protocol):
    """Whoever can tell what an image is: the registry client, the command line's archives, a test's table."""

    async def find(self, query: Query) -> Image | Unknown:
        """The image, or why it is not known; never raises for what an image, registry or network did."""
        ...


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


def decode_json(raw: bytes, what: str) -> Any:
    """JSON as only one reader could understand it: strict UTF-8, no NaN, no key twice, not even in another case.

    Go's decoder matches keys case-insensitively, Unicode folding included, and lets the last one win or merge; Python's
    does neither. A document on which the two disagree is refused.
    """
    try:
        document = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
        if b"\\ud" in raw.lower():
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedImage(f"the {what} has half of a surrogate pair, which Go would replace") from None
    except UnicodeDecodeError:
        raise MalformedImage(f"the {what} is not UTF-8") from None
    except RecursionError:
        raise MalformedImage(f"the {what} is nested too deeply") from None
    except ValueError as error:
        raise MalformedImage(f"the {what} is not JSON: {error}") from None
    return document


def read_object(value: Any, what: str, known: frozenset[str]) -> dict[str, Any]:
    """`value` as an object in which no key is a case variant of a `known` one; null is the empty object."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise MalformedImage(f"{what} is not an object")
    folded = {_fold(key): key for key in known}
    for key in value:
        meant = folded.get(_fold(key))
        if meant is not None and meant != key:
            raise MalformedImage(f"{what} has the key {key!a}, which Go would take for {meant!r}")
    return value


def _fold(key: str) -> str:
    """Go's simple folding for ASCII keys: U+017F is an s and U+212A a k (the latter is what lower() does)."""
    return key.replace("\u017f", "s").lower()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise MalformedImage(f"the key {key!a} stands there twice")
        seen[key] = value
    return seen


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


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
