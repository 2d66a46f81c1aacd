"""Which addresses a registry, token service or blob store may have: decided on what its name resolved to.

Three kinds: public; private (RFC 1918, ULA, RFC 6598), allowed to the image reference's own registry only; and
forbidden (loopback, link-local, cloud metadata, the cluster's Service range, everything special), allowed to nobody
unlisted.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from string import hexdigits
from typing import Literal

from webhook.errors import InvalidSetting

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
    """What kind of address it is; IPv4 addresses inside IPv6 ones count as what they carry."""
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
