"""Who may be connected to: the addresses that a name, a redirect or a realm may lead to.

They are checked after the name is resolved, and what was checked is what is connected to, so that a name cannot change
its mind in between.
"""

import os
import socket
from collections.abc import Callable, Iterable

from aiohttp.abc import AbstractResolver, ResolveResult

from webhook.proxies import Proxies
from webhook.registry.settings import RegistrySettings, match_authority
from webhook.registry.transport.addresses import classify, is_ambiguous, literal, networks
from webhook.registry.transport.messages import Request
from webhook.registry.transport.names import SystemResolver
from webhook.registry.transport.urls import Url, forbidden, same_authority


class AddressDenied(OSError):
    """The name resolved to addresses that it may not have."""


class CheckedResolver(AbstractResolver):
    """Resolves names by `names`, which others may use too, and gives out only the addresses that `allows`."""

    def __init__(self, names: AbstractResolver, allows: Callable[[str, str], bool]) -> None:
        self._names = names
        self._allows = allows

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
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
    """Why a host is not connected to, and what an operator can do about it; no address is told."""
    if own:
        return f"{authority} has an address that is not allowed; list it under allowed in the registry configuration if it is meant"
    return (
        f"{authority} has an address that is not allowed: only the registry that an image names may have a private one; "
        "list it under allowed in the registry configuration if it is meant"
    )
