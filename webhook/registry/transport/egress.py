"""The rules about connections to a registry, a token service or a blob store: the addresses, the proxy and TLS.

An address is public; private (RFC 1918, ULA, RFC 6598), which only the image reference's own registry may have; or forbidden
to all that is not listed (loopback, link-local, cloud metadata, the cluster's Service range, everything special).

Addresses are checked after the name is resolved, and what was checked is what is connected to, so that a name cannot change
its mind in between. Names are resolved by the system, in threads of their own: a call to getaddrinfo can neither be waited
for nor ended. No namespace whose names are slow to resolve takes all threads, and none waits for another's.
"""

import asyncio
import os
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from string import hexdigits
from typing import Any, Literal

from webhook.caching import TENANT, LRUCache
from webhook.errors import InvalidSetting
from webhook.http.library import aiohttp
from webhook.http.proxies import Proxies
from webhook.registry.settings import RegistrySettings, match_authority
from webhook.registry.transport.messages import RegistryError, Request, Url, forbidden, same_authority

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Kind = Literal["public", "private", "forbidden"]

# Metadata services outside the link-local range: Azure's wire server, Alibaba Cloud, Oracle Cloud, AWS and GCP on IPv6.
_METADATA = frozenset(
    ip_address(text) for text in ("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
)
_PRIVATE = tuple(
    ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
_CARRIERS = tuple(  # of an IPv4 address in their last 32 bits: compatible, mapped, translated (SIIT) and NAT64 ones
    ip_network(text) for text in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
)
# All that is routed on the internet, and of that what is for documentation; what else is special, `is_global` knows.
# Source: IANA, Internet Protocol Version 6 Address Space, and IPv6 Special-Purpose Address Registry.
_ROUTED = ip_network("2000::/3")
_DOCUMENTATION = ip_network("3fff::/20")


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """CIDRs out of settings; `InvalidSetting` names the one that is none."""
    found = []
    for text in texts:
        try:
            found.append(ip_network(text, strict=False))
        except ValueError:
            raise InvalidSetting(f"{text!r} is no network: write it like 10.96.0.0/12") from None
    return tuple(found)


def classify(address: Address, denied: tuple[Network, ...] = ()) -> Kind:
    """The kind of an address; an IPv4 address inside an IPv6 one counts as itself."""
    address = _carried(address)
    if address in _METADATA or any(address in network for network in denied):
        return "forbidden"
    if any(address in network for network in _PRIVATE):
        return "private"
    if isinstance(address, IPv6Address) and (address not in _ROUTED or address in _DOCUMENTATION):
        return "forbidden"
    return "public" if address.is_global and not address.is_multicast else "forbidden"


def literal(host: str) -> Address | None:
    """The address that `host` spells out, brackets allowed; None for a name."""
    try:
        return ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def is_ambiguous(host: str) -> bool:
    """Whether a resolver may read `host` as an IPv4 address though it is not written as four decimal numbers.

    `127.1`, `2130706433` and `0177.0.0.1` are 127.0.0.1 to inet_aton(3). No domain ends in a number: whatwg/url
    url.bs, "ends in a number checker".
    """
    last = host.removesuffix(".").rpartition(".")[2].lower()
    digits = last.removeprefix("0x")
    numeric = last.isdecimal() or (last != digits and all(digit in hexdigits for digit in digits))
    return numeric and literal(host) is None


def _carried(address: Address) -> Address:
    if isinstance(address, IPv4Address):
        return address
    if any(address in network for network in _CARRIERS):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.sixtofour or address


_EACH = 8  # look-ups of one namespace at once; one that nobody waits for any more counts until it is over
_SHARED = 64  # of all namespaces; beyond it each may have one
_THREADS = 128
_LIFE = 10.0  # seconds for which addresses are kept, as aiohttp does
_CACHE = 1024 * 1024


class CrowdedNames(RegistryError):
    """`tenant` has too many names to resolve already. It says nothing about the name, and nothing to other namespaces."""

    def __init__(self, tenant: str) -> None:
        super().__init__("unreachable", "too many names of this namespace are being resolved; ask again", passing=False)
        self.tenant = tenant


class SystemResolver(aiohttp.abc.AbstractResolver):
    """`seconds` is how long an answer is waited for. Use it from one event loop, and `close` it there."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="names")
        self._running: Counter[str] = Counter()
        self._futures: set[asyncio.Future[Any]] = set()
        self._known: LRUCache[tuple[str, int, int], tuple[list[aiohttp.abc.ResolveResult], float]] = LRUCache(_CACHE)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        """Every address of the name; `OSError` where there is none in time, `CrowdedNames` where others are in the way."""
        key = (host, port, int(family))
        found, until = self._known.get(key) or ([], 0.0)
        if time.monotonic() < until:
            return found
        async with asyncio.timeout(self._seconds):
            infos = await asyncio.shield(self._start(host, port, family))
        found = [
            aiohttp.abc.ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in infos
        ]
        self._known.put(key, (found, time.monotonic() + _LIFE), len(host) + 300 * len(found))
        return found

    async def close(self) -> None:
        """Nobody waits any more; threads end with what they have begun."""
        for future in self._futures:
            future.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, host: str, port: int, family: socket.AddressFamily) -> asyncio.Future[Any]:
        tenant = TENANT.get()
        own = self._running[tenant]
        if own >= _EACH or (own and len(self._futures) >= _SHARED):
            raise CrowdedNames(tenant)
        future = asyncio.get_running_loop().run_in_executor(
            self._pool, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_ADDRCONFIG)
        )
        self._running[tenant] += 1
        self._futures.add(future)
        future.add_done_callback(lambda done: self._ended(tenant, done))
        return future

    def _ended(self, tenant: str, future: asyncio.Future[Any]) -> None:
        self._futures.discard(future)
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]
        if not future.cancelled():
            future.exception()  # heard here, for nobody may wait any more


class AddressDenied(OSError):
    """The name resolved to addresses that it may not have."""


class CheckedResolver(aiohttp.abc.AbstractResolver):
    """Resolves names by `names`, which others may use too, and gives out only the addresses that `allows`."""

    def __init__(self, names: aiohttp.abc.AbstractResolver, allows: Callable[[str, str], bool]) -> None:
        self._names = names
        self._allows = allows

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        """The allowed addresses; `AddressDenied` where there are only others."""
        found = await self._names.resolve(host, port, family)
        allowed = [each for each in found if self._allows(f"{host}:{port}", each["host"])]
        if found and not allowed:
            raise AddressDenied(f"{host} has an address that is not allowed")
        return allowed

    async def close(self) -> None:
        """Nothing is held."""


class EgressPolicy:
    """The rules of `RegistrySettings` about addresses, and about the proxies that are asked instead of them."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._names = SystemResolver(settings.timeouts.names)
        self.deny(())
        self._proxies = Proxies(os.environ if settings.proxy else {})
        self._proxy_servers = {f"{host}:{port}" for host, port in self._proxies.servers}

    def deny(self, more: Iterable[str]) -> None:
        """Deny `more` networks beside those of the settings, from now on and instead of what was denied so before."""
        self._denied = networks((*self._settings.denied_networks, *more))

    def check(self, url: Url, request: Request) -> None:
        """`RegistryError` for a URL that may not be asked."""
        if url.scheme == "http" and match_authority(url.authority, self._settings.insecure) is None:
            raise forbidden(f"{url.authority} would be spoken to over plain HTTP; list it as insecure if that is meant")
        if is_ambiguous(url.host):
            raise forbidden(f"{url.authority} is an address that cannot be followed: write it as four decimal numbers")
        own = same_authority(url.authority, request.authority)
        if literal(url.host) is not None and not self.allows(url.authority, url.host, own=own):
            raise forbidden(denied(url.authority, own=own))

    def allows(self, authority: str, address: str, *, own: bool) -> bool:
        """Whether `authority` may have that address; `own` is the image reference's own registry."""
        if match_authority(authority, self._settings.insecure) or match_authority(authority, self._settings.allowed):
            return True
        if authority in self._proxy_servers:
            return True
        parsed = literal(address)
        kind = "forbidden" if parsed is None else classify(parsed, self._denied)
        return kind == "public" or (own and kind == "private")

    def resolver(self, *, own: bool) -> CheckedResolver:
        """For connections to the image reference's `own` registry, or to whatever that points to."""
        return CheckedResolver(self._names, lambda authority, address: self.allows(authority, address, own=own))

    async def aclose(self) -> None:
        """Resolve no more names."""
        await self._names.close()

    def proxy(self, url: Url) -> str | None:
        """The proxy by which the URL is asked; None: itself."""
        return self._proxies.find(url.scheme, url.host, url.port)


def denied(authority: str, *, own: bool) -> str:
    """The message about a host that is not connected to, with what an operator can do about it; it names no address."""
    if own:
        return f"{authority} has an address that is not allowed; list it under allowed in the registry configuration if it is meant"
    return (
        f"{authority} has an address that is not allowed: only the registry that an image names may have a private one; "
        "list it under allowed in the registry configuration if it is meant"
    )


class TlsContexts:
    """TLS for each HOST or HOST:PORT: with the authorities that are trusted there, and the client certificate that is shown.

    Raises `InvalidSetting` for one that cannot be used.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self._named = {
            name: _context(settings, name) for name in {*settings.authorities, *settings.client_certificates}
        }
        self._settings = settings
        self._default = _context(settings, "") if settings.authority else None
        self._reading = asyncio.Lock()

    async def of(self, authority: str) -> ssl.SSLContext:
        """That of its own, or of its host, or else everybody's. The system's authorities are read when first needed."""
        entry = match_authority(authority, self._named)
        if entry is not None:
            return self._named[entry]
        async with self._reading:
            if self._default is None:
                self._default = await asyncio.to_thread(_context, self._settings, "")
        return self._default


def _context(settings: RegistrySettings, name: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    trusted = match_authority(name, settings.authorities)
    given = {f"given for {trusted}": settings.authorities[trusted]} if trusted is not None else {}
    for whose, pem in (given | ({"given for every host": settings.authority} if settings.authority else {})).items():
        try:
            context.load_verify_locations(cadata=pem)
        except (ssl.SSLError, ValueError):
            raise InvalidSetting(f"the CA {whose} is no PEM certificate") from None
    shown = match_authority(name, settings.client_certificates)
    if shown is not None:
        pair = settings.client_certificates[shown]
        try:
            context.load_cert_chain(pair.certificate, pair.key, password="")  # or OpenSSL asks the terminal
        except (OSError, ValueError) as error:
            reason = "is no pair of PEM certificate and unencrypted key"
            if not isinstance(error, ssl.SSLError):
                reason = f"cannot be read: {error}"
            raise InvalidSetting(f"the client certificate given for {shown} {reason}") from None
    return context
