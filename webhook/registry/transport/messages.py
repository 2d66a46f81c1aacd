"""One HTTP exchange with a registry, as data: the URL, request and response, what they cost, and the error they end in.

`parse_url` is the only reader of URLs that a registry has written (a redirect's Location, a challenge's realm), so that what
is checked is what is connected to. Sources: RFC 3986; golang net/url url.go (control characters are refused, other bytes are
escaped).
"""

import re
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from ipaddress import IPv6Address
from typing import Literal, Protocol
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from webhook.errors import NonrootError
from webhook.image.source import Cause


class RegistryError(NonrootError):
    """The registry gave no answer that can be used; becomes `Unknown(cause, detail)` in the client.

    `retry_after` is how many seconds the registry asked to be left alone; `passing` says whether the same request may
    do better in a moment, which one that our own rules forbid will not; `connected` whether anybody was there to ask.
    """

    def __init__(
        self,
        cause: Cause,
        detail: str,
        retry_after: float | None = None,
        *,
        passing: bool = True,
        connected: bool = True,
    ) -> None:
        super().__init__(detail)
        self.cause: Cause = cause
        self.retry_after = retry_after
        self.passing = passing and cause == "unreachable"
        self.connected = connected

    @property
    def is_refusal(self) -> bool:
        """Whether the registry is there and answers so to whoever asked: another credential may do better."""
        return self.cause in {"unauthorized", "notFound", "rateLimited"}


class Cost(msgspec.Struct):
    """The cost of reading an image so far. `bytes_image` is what pulling its platforms would transfer."""

    requests: int = 0
    bytes_read: int = 0
    bytes_image: int = 0


class Sink(Protocol):
    """A receiver of a blob's body, piece by piece."""

    async def feed(self, piece: bytes) -> None:
        """Take the next bytes; returns when more may come, raises to stop the transfer."""
        ...


class Request(msgspec.Struct, frozen=True):
    """A request to `authority` (HOST or HOST:PORT), the image reference's own registry, or to where that points.

    `authorization` belongs to the URL's own origin. A 200's body is taken up to `limit` bytes: by a fresh `sink` per
    attempt where one is given, else into the response. A `tentative` request is made once and, whatever comes of it, says
    nothing about the authority.
    """

    method: Literal["GET", "HEAD", "POST"]
    url: str
    authority: str
    limit: int
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    authorization: str = ""
    form: Mapping[str, str] | None = None
    sink: Callable[[], Sink] | None = None
    tentative: bool = False

    def __repr__(self) -> str:
        return f"<{self.method} {self.authority}>"  # headers and query may hold secrets


class Response(msgspec.Struct, frozen=True):
    """An answer. `headers` have lower-case names and all their values.

    `url` is who gave it; `own` is false where that is another host, to which redirects led.
    """

    status: int
    headers: Mapping[str, tuple[str, ...]]
    body: bytes = b""
    own: bool = True
    url: str = ""

    def header(self, name: str) -> str:
        """The first value of a header, or nothing."""
        return self.headers.get(name, ("",))[0]

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


_FORBIDDEN: tuple[Cause, str] = ("unauthorized", "the credentials that apply do not allow reading it")
_REFUSALS: Mapping[int, tuple[Cause, str]] = {
    400: ("unreachable", "it does not understand the request, as a server that is no registry would say"),
    401: _FORBIDDEN,
    402: ("unauthorized", "its account there has to be paid for, or has used up its quota"),
    403: _FORBIDDEN,
    404: ("notFound", "no such image there, or none that these credentials may see"),
    410: ("notFound", "it was there and has been removed for good"),
    429: ("rateLimited", "too many requests"),
    451: ("unauthorized", "it may not be given out for legal reasons"),
}


def refusal(response: Response, asked: str) -> RegistryError:
    """The error for a status other than 200; `asked` says what was asked for, in a few words without secrets."""
    status = response.status
    if not response.own and status in {401, 403}:
        elsewhere = urlsplit(response.url).netloc
        if status == 403:
            detail = f"{asked}: {elsewhere}, where the registry redirects to, answered 403; its link may have expired"
            return RegistryError("unreachable", detail)
        detail = f"{asked}: {elsewhere}, where the registry redirects to, wants credentials and gets none"
        return RegistryError("unauthorized", detail)
    cause, meaning = _REFUSALS.get(status, ("unreachable", ""))
    detail = f"{asked}: the registry answered {status}" + (meaning and f"; {meaning}")
    return RegistryError(cause, detail, None if cause in {"unauthorized", "notFound"} else retry_after(response))


def retry_after(response: Response) -> float | None:
    """Seconds out of a Retry-After header; a date counts from the answer's own Date, because clocks differ.

    Source: RFC 9110 section 10.2.3.
    """
    text = response.header("retry-after").strip()
    if text.isascii() and text.isdigit() and len(text) < 7:
        return float(text)
    try:
        until, now = (parsedate_to_datetime(each) for each in (text, response.header("date")))
        return max((until - now).total_seconds(), 0.0)
    except (ValueError, TypeError, OverflowError):  # TypeError: only one of them has a time zone
        return None


_PORTS = {"http": 80, "https": 443}
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?\Z", re.ASCII)
_NAME_LIMIT = 254  # with the dot at its end
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_KEPT = "".join(map(chr, range(0x21, 0x7F)))  # what stands in a URL as it is; spaces and all beyond ASCII are escaped


class Url(msgspec.Struct, frozen=True):
    """An http or https URL. `text` is as it is sent, `host` is in lower case and an address in it has no brackets.

    `authority` is HOST or HOST:PORT as the URL writes it, in lower case and with an address's brackets.
    """

    text: str
    scheme: str
    host: str
    port: int
    authority: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """The origin that credentials for this URL belong to (RFC 6454)."""
        return self.scheme, self.host, self.port


def parse_url(text: str, written_by: str, base: str = "") -> Url:
    """Read a URL that `written_by` (HOST[:PORT]) has given, relative to `base`; `RegistryError` for one not to follow.

    No other scheme, no user name or password, and no host that a resolver or a TLS certificate could not name.
    """
    try:
        if _CONTROL.search(text):
            raise ValueError("a control character")
        joined = quote(urljoin(base, text), safe=_KEPT, errors="surrogateescape")
        parts = urlsplit(joined)
        host, port = parts.hostname or "", parts.port
        if parts.scheme not in _PORTS or "@" in parts.netloc or port == 0:
            raise ValueError("another scheme, a user name or no port")
        if "[" in parts.netloc:
            host = str(IPv6Address(host)) if "%" not in host else ""
        elif len(host) > _NAME_LIMIT or not _NAME.match(host):
            host = ""
        if not host:
            raise ValueError("no host")
    except ValueError:
        raise forbidden(f"{written_by} points to an address that cannot be followed") from None
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port is None else f"{shown}:{port}"
    return Url(joined, parts.scheme, host, port or _PORTS[parts.scheme], authority)


def same_authority(one: str, other: str) -> bool:
    """Whether two authorities are one host over TLS."""
    return one.lower().removesuffix(":443") == other.lower().removesuffix(":443")


def forbidden(detail: str) -> RegistryError:
    """The error of a connection that the settings do not allow, now or later."""
    return RegistryError("unreachable", detail, passing=False)
