"""How a registry is logged in to, without I/O: `authorised` is a generator that yields requests and receives responses.

1. The request goes out, with what worked last time if anything did.
2. A 401 brings challenges. Basic: the request goes out again with the password.
3. Bearer: a token is asked for where the challenge says, and the request goes out again with the token.
   The token service is asked by GET with Basic (distribution), or by an OAuth2 POST for identity tokens and for
   services that know no GET.

A registry that wants a token for one repository wants one for the next: there it is fetched first, which saves a round
trip, and so it is where that is `expected` of a registry from the start. Where that was a mistake, what follows is what would
have been without it.

Sources: distribution/distribution docs/content/spec/auth/token.md, oauth.md and scope.md; google/go-containerregistry
pkg/v1/remote/transport/bearer.go (where a challenge may point); containerd/containerd
core/remotes/docker/authorizer.go (a host's challenge is kept for its other repositories).
"""

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Generator, Mapping
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

from webhook.caching import LRUCache
from webhook.registry.transport.messages import RegistryError, Request, Response, refusal

Flow = Generator[Request, Response, Response]

IDENTITY_TOKEN = "<token>"  # noqa: S105 - the user name under which docker's tools keep an identity token as the password
_CLIENT = "nonroot-webhook"
_BASIC = "Basic"
_TOKEN_BODY = 64 * 1024
_DEFAULT_LIFE = 60.0  # distribution docs/content/spec/auth/token.md, expires_in
_LONGEST_LIFE = 3600.0
_MARGIN = 10.0
_NO_GET = frozenset({404, 405})
_REFUSED = frozenset({401, 403})
_SCHEME = re.compile(r"\s*,?\s*([A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~-]*)(?:\s+|\s*\Z|(?=\s*,))")
_PARAMETER = re.compile(r"\s*,?\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\",]*))")
_FINGERPRINT_KEY = secrets.token_bytes(32)  # fingerprints mean nothing outside this process


class Credential(msgspec.Struct, frozen=True):
    """A user name and password; `ANONYMOUS` is the one without either."""

    username: str = ""
    password: str = ""

    @property
    def basic(self) -> str:
        """The value of an Authorization header, or nothing for nobody."""
        if not self.username and not self.password:
            return ""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    @property
    def fingerprint(self) -> bytes:
        """Tells credentials apart in caches, without keeping them there."""
        return hashlib.blake2b(
            f"{self.username}\0{self.password}".encode(), key=_FINGERPRINT_KEY, digest_size=16
        ).digest()

    def __repr__(self) -> str:
        return "Credential(anonymous)" if not self.basic else "Credential(***)"


ANONYMOUS = Credential()


class Challenge(msgspec.Struct, frozen=True):
    """One way of logging in that a registry offers; `scheme` and the parameters' names are in lower case."""

    scheme: str
    parameters: dict[str, str]


class TokenCache:
    """Authorization headers that worked: per registry, repository and credential, until they expire.

    `challenges` are the parameters by which a registry's last token was had, `expected` those by which its first one may
    be, until that has failed. `insecure` says of a registry (HOST or HOST:PORT) whether it is spoken to over plain HTTP.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        insecure: Callable[[str], bool],
        limit: int = 1 << 20,
        expected: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._clock = clock
        self._headers: LRUCache[tuple[str, str, bytes], tuple[str, float]] = LRUCache(limit)
        self.challenges: LRUCache[str, Mapping[str, str]] = LRUCache(limit)
        self.expected = dict(expected or {})
        self.insecure = insecure

    def header(self, authority: str, scope: str, credential: Credential) -> str:
        """The header that is still good, or nothing."""
        value, until = self._headers.get((authority, scope, credential.fingerprint)) or ("", 0.0)
        if self._clock() >= until:
            return ""
        return credential.basic if value == _BASIC else value

    def keep(self, authority: str, scope: str, credential: Credential, header: str, life: float) -> None:
        """Remember a header for `life` seconds; of a password only that it worked."""
        header = _BASIC if header == credential.basic else header
        key = (authority, scope, credential.fingerprint)
        self._headers.put(key, (header, self._clock() + life), len(header))


def authorised(request: Request, repository: str, credential: Credential, session: TokenCache) -> Flow:
    """Send `request` for that repository with that credential; returns the last response, which may be a 401."""
    scope = f"repository:{repository}:pull"
    known = session.header(request.authority, scope, credential)
    foreseen = "" if known else (yield from _foreseen(request, scope, credential, session))
    response = yield msgspec.structs.replace(request, authorization=known or foreseen)
    if foreseen and response.status in _REFUSED:
        response = yield msgspec.structs.replace(request, authorization="")
    if response.status != 401 or not response.own:  # whoever a redirect led to gets no credential, whatever it asks
        return response
    header = yield from _answer(request, response, scope, credential, session)
    if not header:
        return response
    return (yield msgspec.structs.replace(request, authorization=header))


def challenges(values: tuple[str, ...]) -> list[Challenge]:
    """The challenges of WWW-Authenticate headers, several to a header allowed (RFC 9110 section 11.6.1)."""
    found: list[Challenge] = []
    for value in values:
        position = 0
        while position < len(value):
            parameter = _PARAMETER.match(value, position) if found else None
            scheme = _SCHEME.match(value, position)
            if parameter is not None:
                quoted, plain = parameter[2], parameter[3]
                text = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
                found[-1].parameters.setdefault(parameter[1].lower(), text)
                position = parameter.end()
            elif scheme is not None and scheme.end() > position:
                found.append(Challenge(scheme[1].lower(), {}))
                position = scheme.end()
            else:
                comma = value.find(",", position + 1)
                position = len(value) if comma == -1 else comma
    return found


def _answer(
    request: Request, response: Response, scope: str, credential: Credential, session: TokenCache
) -> Generator[Request, Response, str]:
    """The Authorization header that answers the challenges; nothing where there is no answer."""
    offered = {each.scheme: each for each in reversed(challenges(response.headers.get("www-authenticate", ())))}
    if "bearer" in offered:
        return (yield from _bearer(request, offered["bearer"].parameters, scope, credential, session))
    if "basic" in offered and credential.basic and credential.username != IDENTITY_TOKEN:
        session.keep(request.authority, scope, credential, credential.basic, _LONGEST_LIFE)
        return credential.basic
    return ""


def _foreseen(
    request: Request, scope: str, credential: Credential, session: TokenCache
) -> Generator[Request, Response, str]:
    """The header for a token that nobody has asked for yet; nothing where none is expected to be, or none was had."""
    told = session.challenges.get(request.authority)
    parameters = session.expected.get(request.authority) if told is None else told
    if parameters is None:
        return ""
    header = ""
    asked = msgspec.structs.replace(request, tentative=told is None)
    try:
        header = yield from _bearer(asked, {**parameters, "scope": scope}, scope, credential, session)
    except RegistryError as error:
        if told is not None and error.cause not in {"unauthorized", "notFound"}:
            raise
    finally:  # however it has failed
        if not header:
            session.challenges.drop(request.authority)
            session.expected.pop(request.authority, None)
    return header


def _bearer(
    request: Request, parameters: Mapping[str, str], scope: str, credential: Credential, session: TokenCache
) -> Generator[Request, Response, str]:
    """The header for a new token, which is remembered, and so is how it was had."""
    token, life = yield from _token(request, parameters, scope, credential, session)
    header = f"Bearer {token}"
    session.keep(request.authority, scope, credential, header, life)
    session.challenges.put(request.authority, parameters, sum(map(len, parameters.values())))
    return header


def _token(
    request: Request, parameters: Mapping[str, str], scope: str, credential: Credential, session: TokenCache
) -> Generator[Request, Response, tuple[str, float]]:
    realm = _check_realm(parameters.get("realm", ""), request.authority, session)
    asked = {"service": parameters.get("service", ""), "scope": parameters.get("scope") or scope}
    asked = {key: value for key, value in asked.items() if value}
    by_grant = credential.username == IDENTITY_TOKEN
    if not by_grant:
        response = yield _get_token(request, realm, asked, credential)
        by_grant = response.status in _NO_GET and bool(credential.basic) and not request.tentative
    if by_grant:
        response = yield _post_token(request, realm, asked, credential)
    if response.status != 200:
        raise refusal(response, f"asking {request.authority}'s token service for {scope}")
    return _read_token(response, request.authority)


def _get_token(request: Request, realm: str, asked: dict[str, str], credential: Credential) -> Request:
    parts = urlsplit(realm)
    query = "&".join(filter(None, (parts.query, urlencode(asked))))
    return Request(
        "GET",
        urlunsplit(parts._replace(query=query, fragment="")),
        request.authority,
        _TOKEN_BODY,
        authorization=credential.basic,
        tentative=request.tentative,
    )


def _post_token(request: Request, realm: str, asked: dict[str, str], credential: Credential) -> Request:
    form = {**asked, "client_id": _CLIENT}
    if credential.username == IDENTITY_TOKEN:
        form |= {"grant_type": "refresh_token", "refresh_token": credential.password}
    else:
        form |= {"grant_type": "password", "username": credential.username, "password": credential.password}
    return Request("POST", realm, request.authority, _TOKEN_BODY, form=form, tentative=request.tentative)


def _check_realm(realm: str, authority: str, session: TokenCache) -> str:
    """A token service is asked over TLS, unless the registry itself is spoken to without."""
    parts = urlsplit(realm)
    if parts.scheme == "https" or (parts.scheme == "http" and session.insecure(authority)):
        return realm
    raise RegistryError(
        "unauthorized", f"{authority} wants a token from an address that is not https; none is asked for"
    )


def _read_token(response: Response, authority: str) -> tuple[str, float]:
    """The token, and for how many seconds it is used."""
    try:
        answer = json.loads(response.body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise RegistryError("unauthorized", f"{authority}'s token service answered something other than a token")
    token = answer.get("token") or answer.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise RegistryError("unauthorized", f"{authority}'s token service answered without a token")
    life = answer.get("expires_in")
    seconds = float(life) if isinstance(life, int | float) and life > 0 else _DEFAULT_LIFE
    return token, min(max(seconds - _MARGIN, seconds / 2), _LONGEST_LIFE)
