"""Who may be connected to: the addresses that a name, a redirect or a realm may lead to.

They are checked after the name is resolved, and what was checked is what is connected to, so that a name cannot change
its mind in between.
"""

import socket
import urllib.request
from collections.abc import Callable

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from webhook.registry.settings import RegistrySettings, match_authority
from webhook.registry.transport.addresses import classify, literal, networks
from webhook.registry.transport.messages import RegistryError, Request


class AddressDenied(OSError):
    """The name resolved to addresses that it may not have."""


class CheckedResolver(AbstractResolver):
    """Resolves names through the system, and gives out only the addresses that `allows`."""

    def __init__(self, allows: Callable[[str, str], bool]) -> None:
        self._resolver = aiohttp.ThreadedResolver()
        self._allows = allows

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The allowed addresses; `AddressDenied` where there are only others."""
        found = await self._resolver.resolve(host, port, family)
        allowed = [each for each in found if self._allows(f"{host}:{port}", each["host"])]
        if found and not allowed:
            raise AddressDenied(f"{host} has an address that is not allowed")
        return allowed

    async def close(self) -> None:
        """Nothing is held."""
        await self._resolver.close()


class EgressPolicy:
    """The rules of `RegistrySettings` about addresses, and about the proxies that are asked instead of them."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._denied = networks(settings.denied_networks)
        self._proxies = urllib.request.getproxies() if settings.proxy else {}

    def check(self, url: str, request: Request) -> str:
        """The authority of a URL that may be asked at all; `RegistryError` for one that may not."""
        parts = URL(url, encoded=True)
        if parts.scheme not in {"http", "https"} or not parts.host or parts.raw_user or parts.raw_password:
            raise forbidden(f"{request.authority} points to an address that cannot be followed")
        authority = authority_of(url)
        if parts.scheme == "http" and match_authority(authority, self._settings.insecure) is None:
            raise forbidden(f"{authority} would be spoken to over plain HTTP; list it as insecure if that is meant")
        own = same_authority(authority, request.authority)
        if literal(parts.host) is not None and not self.allows(authority, parts.host, own=own):
            raise forbidden(f"{authority} is an address that is not allowed")
        return authority

    def allows(self, authority: str, address: str, *, own: bool) -> bool:
        """Whether `authority` may have that address; `own` is the image reference's own registry."""
        if match_authority(authority, self._settings.insecure) or match_authority(authority, self._settings.allowed):
            return True
        if any(authority == authority_of(proxy) for proxy in self._proxies.values()):
            return True
        parsed = literal(address)
        kind = "forbidden" if parsed is None else classify(parsed, self._denied)
        return kind == "public" or (own and kind == "private")

    def resolver(self, *, own: bool) -> CheckedResolver:
        """For connections to the image reference's `own` registry, or to whatever that points to."""
        return CheckedResolver(lambda authority, address: self.allows(authority, address, own=own))

    def proxy(self, url: str) -> str | None:
        """The proxy by which the URL is asked; None: itself."""
        parts = URL(url, encoded=True)
        if not self._proxies or urllib.request.proxy_bypass(parts.host or ""):
            return None
        return self._proxies.get(parts.scheme)


def authority_of(url: str) -> str:
    """HOST or HOST:PORT as the URL writes it, in lower case."""
    parts = URL(url, encoded=True)
    host = f"[{parts.host}]" if parts.host and ":" in parts.host else (parts.host or "")
    return f"{host.lower()}:{parts.explicit_port}" if parts.explicit_port is not None else host.lower()


def same_authority(one: str, other: str) -> bool:
    """Whether two authorities, the first of them in lower case, are one host over TLS."""
    return one.removesuffix(":443") == other.lower().removesuffix(":443")


def forbidden(detail: str) -> RegistryError:
    """What our own rules do not allow, now or later."""
    return RegistryError("unreachable", detail, passing=False)
