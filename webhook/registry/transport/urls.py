"""URLs that a registry may have written: a redirect's Location, a challenge's realm, or our own with its host's name in it.

`parse_url` is the only reader of them, so that what is checked is what is connected to.
Sources: RFC 3986; golang net/url url.go (control characters are refused, other bytes are escaped).
"""

import re
from ipaddress import IPv6Address
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from webhook.registry.transport.messages import RegistryError

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
        """Whom credentials for this URL are for (RFC 6454)."""
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
    """What our own rules do not allow, now or later."""
    return RegistryError("unreachable", detail, passing=False)
