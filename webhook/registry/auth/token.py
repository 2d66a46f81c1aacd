"""The log-in to a registry, without I/O: `authorised` is a generator that yields requests and receives responses.

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
import re
import secrets
from collections.abc import Callable, Generator, Mapping
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

from webhook.caching import LRUCache
from webhook.registry.settings import RegistrySettings, match_authority
from webhook.registry.transport.messages import RegistryError, Request, Response, parse_url, refusal

# Where the tokens of public registries are had that want one for every image, public ones too, and say so in public: a first
# look need not ask for it. quay.io serves public images without (quay/quay endpoints/v2/__init__.py, require_repo_read): there
# a token asked for in advance would be one request more.
REALMS: Mapping[str, Mapping[str, str]] = {
    # moby/moby contrib/download-frozen-image-v2.sh
    "registry-1.docker.io": {"realm": "https://auth.docker.io/token", "service": "registry.docker.io"},
    # renovatebot/renovate lib/modules/datasource/docker/common.ts; richlander/container-registry-api ghcr.md
    "ghcr.io": {"realm": "https://ghcr.io/token", "service": "ghcr.io"},
    # gitlab-org/container-registry docs/auth-request-flow.md
    "registry.gitlab.com": {"realm": "https://gitlab.com/jwt/auth", "service": "container_registry"},
}


def expected_challenges(settings: RegistrySettings) -> dict[str, Mapping[str, str]]:
    """The parameters of the challenge that each of the hosts of `REALMS` would send, for a `TokenCache`.

    Where the settings have something to say about such a host, somebody else may answer under its name, and passwords
    may be that other's: then nothing is expected.
    """
    special = (settings.insecure, settings.allowed, settings.authorities, settings.client_certificates)
    return {
        authority: parameters
        for authority, parameters in REALMS.items()
        if all(match_authority(authority, entries) is None for entries in special)
    }


Flow = Generator[Request, Response, Response]

IDENTITY_TOKEN = "<token>"  # noqa: S105 - the user name under which docker's tools keep an identity token as the password
_CLIENT = "nonroot-webhook"
_BASIC = "Basic"
_BEARER = "Bearer "
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
        """A text that differs between credentials in caches, without keeping them there."""
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


class Asked(msgspec.Struct, frozen=True, gc=False):
    """The challenge parameters by which a token was had, and for which repository."""

    parameters: Mapping[str, str]
    repository: str


class TokenCache:
    """Authorization headers that worked: per registry, repository and credential, until they expire.

    `challenges` are how a registry's last token was had, `expected` those by which its first one may
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
        self.challenges: LRUCache[str, Asked] = LRUCache(limit)
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
    login = _Login(request.authority, repository, credential, session)
    sent = login.known or (yield from _proactive(request, login))
    response = yield msgspec.structs.replace(request, authorization=sent)
    if not response.own:
        return (yield from _elsewhere(request, response, repository, session))
    offered = _offered(response)
    if sent.startswith(_BEARER) and response.status in _REFUSED and "bearer" not in offered:
        # A void token: Harbor asks for a password then (its server/middleware/v2auth/auth.go), others forbid.
        response = yield msgspec.structs.replace(request, authorization="")
        offered = _offered(response)
    if response.status != 401 or not response.own:
        return response
    header = yield from _answer(request, offered, login)
    if not header:
        return response
    return (yield msgspec.structs.replace(request, authorization=header))


def challenges(values: tuple[str, ...]) -> list[Challenge]:
    """The challenges of WWW-Authenticate headers, several to a header allowed (RFC 9110 section 11.6.1)."""
    found: list[Challenge] = []
    for raw in values:
        value = raw.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # what is no text cannot be sent on
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


class _Login(msgspec.Struct, frozen=True):
    """As whom which registry is asked for a repository, and what has worked there before."""

    authority: str
    repository: str
    credential: Credential
    session: TokenCache

    @property
    def scope(self) -> str:
        """The scope of a token request where the registry does not say."""
        return f"repository:{self.repository}:pull"

    @property
    def known(self) -> str:
        """The Authorization header that is still good, or nothing."""
        return self.session.header(self.authority, self.scope, self.credential)


def _offered(response: Response) -> dict[str, Challenge]:
    """The first challenge of each scheme; none where the answer is no 401."""
    if response.status != 401:
        return {}
    return {each.scheme: each for each in reversed(challenges(response.headers.get("www-authenticate", ())))}


def _answer(request: Request, offered: Mapping[str, Challenge], login: _Login) -> Generator[Request, Response, str]:
    """The Authorization header that answers the challenges; nothing where there is no answer."""
    credential = login.credential
    if "bearer" in offered:
        return (yield from _bearer(request, offered["bearer"].parameters, login))
    if "basic" in offered and credential.basic and credential.username != IDENTITY_TOKEN:
        login.session.keep(login.authority, login.scope, credential, credential.basic, _LONGEST_LIFE)
        return credential.basic
    return ""


def _elsewhere(request: Request, response: Response, repository: str, session: TokenCache) -> Flow:
    """Whoever a redirect led to gets no credential, whatever it asks; a token for anybody is asked for as nobody.

    Source: containerd/containerd core/remotes/docker/resolver.go (request.do, which authorizes redirects by their host).
    """
    if response.status != 401:
        return response
    login = _Login(parse_url(response.url, request.authority).authority, repository, ANONYMOUS, session)
    there = msgspec.structs.replace(request, url=response.url)
    if login.known:
        response = yield msgspec.structs.replace(there, authorization=login.known)
    offered = _offered(response)
    if "bearer" not in offered:
        return response
    header = yield from _bearer(request, offered["bearer"].parameters, login)
    return (yield msgspec.structs.replace(there, authorization=header))


def _proactive(request: Request, login: _Login) -> Generator[Request, Response, str]:
    """The header for a token that nobody has asked for yet; nothing where none is expected to be, or none was had.

    No failure of it is an error: the registry will say itself what it wants.
    """
    session, authority = login.session, login.authority
    challenge = session.challenges.get(authority)
    parameters = session.expected.get(authority) if challenge is None else challenge.parameters
    if parameters is None:
        return ""
    if challenge is not None and "scope" in parameters:
        parameters = {**parameters, "scope": _carried_over(parameters["scope"], challenge.repository, login.repository)}
    header = ""
    try:
        fields = msgspec.structs.replace(request, tentative=True)
        header = yield from _bearer(fields, parameters, login, posts=challenge is not None)
    except RegistryError:
        pass
    finally:  # however it has failed
        if not header:
            session.challenges.drop(authority)
            session.expected.pop(authority, None)
    return header


def _carried_over(scope: str, repository: str, other: str) -> str:
    """The scope of a challenge about one repository as it would be about another, in the registry's own form.

    A mirror may put a path of its own before the name, Artifactory leaves out its first part, and some registries have one
    scope for all. Source: distribution/distribution docs/content/spec/auth/scope.md.
    """
    parts = []
    for part in scope.split(" "):
        kind, _, rest = part.partition(":")
        name, colon, actions = rest.rpartition(":")
        above = repository.removesuffix(name)
        if colon and f"/{name}".endswith(f"/{repository}"):
            parts.append(f"{kind}:{name.removesuffix(repository)}{other}:{actions}")
        elif colon and name and above.endswith("/") and other.startswith(above):
            parts.append(f"{kind}:{other.removeprefix(above)}:{actions}")
        else:
            parts.append(part)
    return " ".join(parts)


def _bearer(
    request: Request, parameters: Mapping[str, str], login: _Login, *, posts: bool = True
) -> Generator[Request, Response, str]:
    """The header for a new token, which is remembered, and so is how it was had; `posts` where GET is not understood."""
    token, life = yield from _token(request, parameters, login, posts=posts)
    header = f"{_BEARER}{token}"
    login.session.keep(login.authority, login.scope, login.credential, header, life)
    weight = len(login.repository) + sum(map(len, parameters.values()))
    login.session.challenges.put(login.authority, Asked(parameters, login.repository), weight)
    return header


def _token(
    request: Request, parameters: Mapping[str, str], login: _Login, *, posts: bool
) -> Generator[Request, Response, tuple[str, float]]:
    credential = login.credential
    realm = _check_realm(parameters.get("realm", ""), login)
    fields = {"service": parameters.get("service", ""), "scope": parameters.get("scope") or login.scope}
    fields = {key: value for key, value in fields.items() if value}
    by_grant = credential.username == IDENTITY_TOKEN
    if not by_grant:
        response = yield _get_token(request, realm, fields, credential)
        by_grant = response.status in _NO_GET and bool(credential.basic) and posts
    if by_grant:
        response = yield _post_token(request, realm, fields, credential)
    if response.status != 200:
        raise refusal(response, f"asking {login.authority}'s token service for {login.scope}")
    return _read_token(response.body, login.authority)


def _get_token(request: Request, realm: str, fields: dict[str, str], credential: Credential) -> Request:
    parts = urlsplit(realm)
    query = "&".join(filter(None, (parts.query, urlencode(fields))))
    return Request(
        "GET",
        urlunsplit(parts._replace(query=query, fragment="")),
        request.authority,
        _TOKEN_BODY,
        authorization=credential.basic,
        tentative=request.tentative,
    )


def _post_token(request: Request, realm: str, fields: dict[str, str], credential: Credential) -> Request:
    form = {**fields, "client_id": _CLIENT}
    if credential.username == IDENTITY_TOKEN:
        form |= {"grant_type": "refresh_token", "refresh_token": credential.password}
    else:
        form |= {"grant_type": "password", "username": credential.username, "password": credential.password}
    return Request("POST", realm, request.authority, _TOKEN_BODY, form=form, tentative=request.tentative)


def _check_realm(text: str, login: _Login) -> str:
    """A token service is asked over TLS, unless the registry itself is spoken to without."""
    try:
        realm = parse_url(text, login.authority)
        usable = realm.scheme == "https" or login.session.insecure(login.authority)
    except RegistryError:
        usable = False
    if not usable:
        detail = f"{login.authority} wants a token from an address that is not https, or none at all; it is not asked"
        raise RegistryError("unauthorized", detail)
    return realm.text


class _TokenResponse(msgspec.Struct, frozen=True):
    """The response of a token service. Some write `expires_in` as text, or with a fraction."""

    token: str | None = None
    access_token: str | None = None
    expires_in: float | str | None = None


def _read_token(body: bytes, authority: str) -> tuple[str, float]:
    """The token, and for how many seconds it is used."""
    try:
        answer = msgspec.json.decode(body, type=_TokenResponse)
    except (ValueError, RecursionError):  # UnicodeDecodeError among them
        detail = f"{authority}'s token service answered something other than a token"
        raise RegistryError("unauthorized", detail) from None
    token = answer.token or answer.access_token
    if not token or not token.isascii() or not token.isprintable():
        raise RegistryError("unauthorized", f"{authority}'s token service answered without a token")
    life = answer.expires_in
    seconds = life if isinstance(life, float) and life > 0 else _DEFAULT_LIFE
    return token, min(max(seconds - _MARGIN, seconds / 2), _LONGEST_LIFE)
