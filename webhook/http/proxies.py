"""The proxy of a connection: HTTPS_PROXY, HTTP_PROXY and NO_PROXY, read as Go programs read them.

Python's own reading knows neither networks nor ports in NO_PROXY, nor a proxy without a scheme.
Source: golang.org/x/net http/httpproxy/proxy.go (FromEnvironment, parseProxy, useProxy, init).
"""

from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from webhook.errors import InvalidSetting

_PORTS = {"http": 80, "https": 443}

_Address = IPv4Address | IPv6Address
_Bypass = Callable[[str, int, _Address | None], bool]


class Proxies:
    """The proxies of an environment (`os.environ`, or {} for none).

    `InvalidSetting` where a variable does not name an http or https proxy; its value, which may hold a password, is not
    repeated.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._proxies = {scheme: _proxy(environment, f"{scheme.upper()}_PROXY") for scheme in _PORTS}
        self._bypasses = [_bypass(entry) for entry in _value(environment, "NO_PROXY")[1].lower().split(",")]

    def find(self, scheme: str, host: str, port: int | None = None) -> str | None:
        """The URL of the proxy for that server; None where it is connected to directly. `host` has no brackets."""
        proxy = self._proxies.get(scheme)
        if proxy is None:
            return None
        name, address = host.lower(), _literal(host)
        if name == "localhost" or (address is not None and address.is_loopback):
            return None
        number = _PORTS[scheme] if port is None else port
        return None if any(bypasses(name, number, address) for bypasses in self._bypasses) else proxy

    @property
    def servers(self) -> frozenset[tuple[str, int]]:
        """Host, in lower case, and port of each proxy."""
        parts = [urlsplit(proxy) for proxy in self._proxies.values() if proxy]
        return frozenset((each.hostname or "", each.port or _PORTS[each.scheme]) for each in parts)


def _value(environment: Mapping[str, str], name: str) -> tuple[str, str]:
    """The name under which a variable is set, capitals first, and its value."""
    return next(((each, environment[each]) for each in (name, name.lower()) if environment.get(each)), (name, ""))


def _proxy(environment: Mapping[str, str], name: str) -> str | None:
    """The URL of the proxy that a variable names: HOST[:PORT] is taken for an http one."""
    found, value = _value(environment, name)
    if not value:
        return None
    url = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in _PORTS and parts.hostname and parts.hostname.isascii() and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InvalidSetting(f"{found} names no http or https proxy; write it like http://proxy.example.com:3128")
    return url


def _bypass(entry: str) -> _Bypass:
    """An entry of NO_PROXY: `*`, a network, an address, or a domain, the last two with a port or without."""
    entry = entry.strip()
    if entry == "*":
        return lambda _host, _port, _address: True
    if "/" in entry:
        try:
            network = ip_network(entry, strict=False)
        except ValueError:
            return _nothing
        return lambda _host, _port, address: address is not None and address in network
    wanted, given = _split(entry)
    literal = _literal(wanted)
    if literal is not None:
        return lambda _host, port, address: address == literal and given in {"", str(port)}
    if not wanted:
        return _nothing
    suffix = wanted.removeprefix("*")
    domain = suffix if suffix.startswith(".") else f".{suffix}"
    own = "" if suffix.startswith(".") else suffix
    return lambda host, port, address: (
        address is None and (host.endswith(domain) or host == own) and given in {"", str(port)}
    )


def _nothing(_host: str, _port: int, _address: _Address | None) -> bool:
    """An entry that Go passes over."""
    return False


def _split(entry: str) -> tuple[str, str]:
    """Host and port of `HOST`, `HOST:PORT`, `ADDRESS`, `[ADDRESS]` or `[ADDRESS]:PORT`."""
    if entry.startswith("["):
        host, _, port = entry[1:].partition("]")
        return host, port.removeprefix(":")
    host, colon, port = entry.rpartition(":")
    return (host, port) if colon and ":" not in host else (entry, "")


def _literal(host: str) -> _Address | None:
    """The address that a host spells out; an IPv4 address inside IPv6 is that IPv4 address, as in Go."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
