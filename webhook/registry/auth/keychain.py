"""The keychain: the credentials that apply to an image, in the order in which the kubelet tries them.

Sources: kubernetes pkg/credentialprovider/config.go (what a docker config holds), keyring.go (BasicDockerKeyring: keys,
globs and the Hub's fallback) and secrets/secrets.go (which Secrets count).
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import urlsplit

from webhook.errors import NonrootError
from webhook.image.source import Unknown
from webhook.registry.auth.token import IDENTITY_TOKEN, Credential
from webhook.registry.settings import Limits

_HUB = "index.docker.io"
_CLASS = re.compile(
    r"(?:[^\]\\-](?:-[^\]\\-])?)+\Z"
)  # what may be in brackets: golang/go path/filepath/match.go (getEsc)
_SECRET_KEYS = {"kubernetes.io/dockerconfigjson": ".dockerconfigjson", "kubernetes.io/dockercfg": ".dockercfg"}


class MalformedKeychain(NonrootError):
    """A docker config that the kubelet would refuse, and with it every pull that it takes part in."""


class LargeKeychain(NonrootError):
    """A Secret that would make a Pod's credentials more than are kept for an answer, and is left out."""


class Credentials(Protocol):
    """A source of credentials that are the operator's own, for whoever's image it is."""

    async def find(self, image: str) -> tuple[list[Credential], Unknown | None]:
        """The credentials for `image` (HOST/NAME, normalised, without tag) in turn; and the reason, where something failed.

        Never raises for what a file, program or answer did.
        """
        ...

    async def aclose(self) -> None:
        """End what still runs."""
        ...


class PullSecret(Protocol):
    """A Secret, as far as it matters here: its type, and its data decoded."""

    @property
    def type(self) -> str:
        """`kubernetes.io/dockerconfigjson`, `kubernetes.io/dockercfg`, or a type that is ignored."""
        ...

    @property
    def data(self) -> Mapping[str, bytes]:
        """Key -> value, not in base64 any more."""
        ...


class PullSecrets(Protocol):
    """A source of Pods' pull secrets."""

    async def names(self, namespace: str, service_account: str) -> tuple[str, ...] | Unknown:
        """The pull secrets that the account gives to Pods without their own, or why that could not be read."""
        ...

    async def get(self, namespace: str, name: str) -> PullSecret | Unknown | None:
        """The Secret, None where there is none (which the kubelet passes over), or why it could not be read."""
        ...


class Keychain:
    """Credentials by what they are for: HOST[:PORT][/PATH], with globs in the host's labels."""

    def __init__(self) -> None:
        self._credentials: dict[str, list[Credential]] = {}
        self._bytes = self._registries = 0  # of Secrets

    def add_secret(self, secret: PullSecret, limits: Limits = Limits()) -> None:  # noqa: B008  # it is immutable
        """Take a Secret's credentials; another type or key holds none.

        `MalformedKeychain` where it is broken, `LargeKeychain` where all would be more than the limits allow.
        """
        key = _SECRET_KEYS.get(secret.type)
        raw = secret.data.get(key) if key else None
        if raw is None:
            return
        if self._bytes + len(raw) > limits.pull_secret_bytes:
            raise LargeKeychain(f"the Pod's pull secrets would have more than {limits.pull_secret_bytes >> 10} KiB")
        document = _decode(raw)
        entries = _field(document, "auths") if key == ".dockerconfigjson" else document
        number = len(entries) if isinstance(entries, dict) else 0
        if self._registries + number > limits.pull_secret_registries:
            raise LargeKeychain(
                f"the Pod's pull secrets would name more than {limits.pull_secret_registries} registries"
            )
        self._bytes += len(raw)
        self._registries += number
        self._add(entries)

    def add_config(self, raw: bytes) -> None:
        """Take the credentials of a docker config file, identity tokens of `docker login` among them."""
        document = _decode(raw)
        self._add(_field(document, "auths"), identity_tokens=True)

    def add(self, name: str, credential: Credential) -> None:
        """Take one credential under a docker config's key; one that is no key is passed over."""
        key = _key(name)
        if key is not None:
            self._credentials.setdefault(key, []).append(credential)

    def find(self, image: str) -> list[Credential]:
        """The credentials for `image` (HOST/NAME, normalised, without tag), the most specific keys first."""
        found = [
            credential
            for key in sorted(self._credentials, key=str.encode, reverse=True)
            if matches(key, image)
            for credential in self._credentials[key]
        ]
        if not found and image.partition("/")[0] in {"docker.io", _HUB}:
            return list(self._credentials.get(_HUB, ()))
        return found

    def _add(self, entries: Any, identity_tokens: bool = False) -> None:
        if entries is None:
            return
        if not isinstance(entries, dict):
            raise MalformedKeychain("the list of registries is not an object")
        for name, entry in entries.items():
            self.add(name, _credential(entry, identity_tokens))


def named_helpers(raw: bytes) -> tuple[dict[str, str], str]:
    """The credential helpers that a docker config names: by registry, and the one for every other or nothing."""
    document = _decode(raw)
    helpers, store = _field(document, "credhelpers") or {}, _field(document, "credsstore") or ""
    if not isinstance(helpers, dict) or any(not isinstance(each, str) for each in (store, *helpers.values())):
        raise MalformedKeychain("its credHelpers or credsStore are no names of programs")
    return helpers, store


def matches(key: str, image: str) -> bool:
    """The same port, the same number of labels, each label by its glob, and the path as a raw prefix."""
    wanted, given = _split(key), _split(image)
    if wanted is None or given is None:
        return False
    (labels, port, path), (own_labels, own_port, own_path) = wanted, given
    if port != own_port or len(labels) != len(own_labels) or not own_path.startswith(path):
        return False
    patterns = [_glob(label) for label in labels]
    return all(pattern and pattern.match(label) for pattern, label in zip(patterns, own_labels, strict=True))


def _split(text: str) -> tuple[list[str], str, str] | None:
    host, slash, path = text.partition("/")
    name, colon, port = host.rpartition(":")
    if not colon or "]" in port:
        name, port = host, ""
    elif name.startswith("["):
        name = name[1:-1]
    return (name.split("."), port, slash + path) if name else None


def _key(name: str) -> str | None:
    """A docker config's key without scheme, and without the `/v1/` or `/v2/` of old clients."""
    text = name if name.startswith(("https://", "http://")) else f"https://{name}"
    try:
        parts = urlsplit(text)
    except ValueError:
        return None
    host, path = parts.netloc.rpartition("@")[2], parts.path
    if path.startswith(("/v1/", "/v2/")):
        path = path[3:]
    return host + path if path not in {"", "/"} else host


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str] | None:
    """Go's filepath.Match over one label, as an expression; None for a malformed pattern, which matches nothing.

    What follows a star is looked for once, at its first place (atomic groups): that is where it may as well be, and trying
    every other would take for ever for `****…`, which anybody can write into a pull secret.
    """
    chunks: list[list[str]] = [[]]
    position = 0
    while position < len(pattern):
        letter = pattern[position]
        position += 1
        out = chunks[-1]
        if letter == "*":
            chunks.append([])
        elif letter == "?":
            out.append("[^/]")
        elif letter == "[":
            end = pattern.find("]", position + 1)
            inside = pattern[position:end] if end != -1 else ""
            negated = inside.startswith("^")
            if not _CLASS.match(inside.removeprefix("^")):
                return None
            body = re.sub(r"([\[^&~|])", r"\\\1", inside.removeprefix("^"))
            out.append(f"[{'^' if negated else ''}{body}]")
            position = end + 1
        elif letter == "\\":
            if position == len(pattern):
                return None
            out.append(re.escape(pattern[position]))
            position += 1
        else:
            out.append(re.escape(letter))
    try:
        first, *rest = ("".join(chunk) for chunk in chunks)
        if not rest:
            return re.compile(rf"{first}\Z")
        between = "".join(f"(?>[^/]*?{chunk})" for chunk in rest[:-1] if chunk)
        return re.compile(rf"{first}{between}[^/]*{rest[-1]}\Z")
    except re.error:
        return None


def _decode(raw: bytes) -> Any:
    try:
        document = json.loads(raw.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise MalformedKeychain("it is not JSON") from None
    if not isinstance(document, dict):
        raise MalformedKeychain("it is not a JSON object")
    if b"\\ud" in raw.lower():  # half a surrogate pair, which is no text: Go's decoder puts U+FFFD in its place
        text = json.dumps(document, ensure_ascii=False).encode("utf-16", "surrogatepass")
        document = json.loads(text.decode("utf-16", "replace"))
    return document


def _field(holder: dict[str, Any], name: str) -> Any:
    """A field as Go's decoder finds it: in any case, the last one counts."""
    found = None
    for key, value in holder.items():
        if key.lower() == name:
            found = value
    return found


def _credential(entry: Any, identity_tokens: bool) -> Credential:
    if entry is None:
        return Credential()
    if not isinstance(entry, dict):
        raise MalformedKeychain("the entry of a registry is not an object")
    values = {name: _field(entry, name) for name in ("username", "password", "auth", "identitytoken")}
    if any(value is not None and not isinstance(value, str) for value in values.values()):
        raise MalformedKeychain("the entry of a registry holds something other than strings")
    if identity_tokens and values["identitytoken"]:
        return Credential(IDENTITY_TOKEN, values["identitytoken"])
    if values["auth"]:
        return _decode_auth(values["auth"])
    return Credential(values["username"] or "", values["password"] or "")


def _decode_auth(text: str) -> Credential:
    """Base64 of `user:password`, padded or not; Go's decoder passes over line ends and nothing else."""
    text = text.replace("\r", "").replace("\n", "")
    if not text.strip().endswith("="):
        text += "=" * (-len(text) % 4)
    if len(text) % 4:
        raise MalformedKeychain("an auth field is not base64")
    try:
        user, colon, password = base64.b64decode(text, validate=True).decode("utf-8", "replace").partition(":")
    except (binascii.Error, ValueError):
        raise MalformedKeychain("an auth field is not base64") from None
    if not colon:
        raise MalformedKeychain("an auth field is not base64 of user:password")
    return Credential(user, password)
