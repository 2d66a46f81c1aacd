"""Egress rules: the kind of an address however it is written, and who may be connected to."""

import socket
from ipaddress import ip_address

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from deploy.dev.oci import image
from deploy.dev.registry import Login, Redirect, Registry
from tests.unit.registry.clients import Client
from tests.unit.registry.samples import BASE, Connect
from webhook.errors import InvalidSetting
from webhook.registry.settings import RegistrySettings, host_of, match_authority
from webhook.registry.transport.egress import (
    AddressDenied,
    CheckedResolver,
    EgressPolicy,
    Kind,
    classify,
    is_ambiguous,
    literal,
    networks,
)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("93.184.216.34", "public"),
        ("2606:2800:220:1::1", "public"),
        ("10.1.2.3", "private"),
        ("172.31.255.255", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "private"),
        ("fd12::1", "private"),
        ("127.0.0.1", "forbidden"),
        ("127.9.9.9", "forbidden"),
        ("::1", "forbidden"),
        ("0.0.0.1", "forbidden"),
        ("::", "forbidden"),
        ("169.254.169.254", "forbidden"),
        ("fe80::1", "forbidden"),
        ("fd00:ec2::254", "forbidden"),
        ("fd20:ce::254", "forbidden"),
        ("168.63.129.16", "forbidden"),
        ("100.100.100.200", "forbidden"),
        ("192.0.0.192", "forbidden"),
        ("224.0.0.1", "forbidden"),
        ("ff0e::1", "forbidden"),
        ("255.255.255.255", "forbidden"),
        ("198.18.0.1", "forbidden"),
        ("203.0.113.1", "forbidden"),
        ("10.96.0.1", "forbidden"),
        ("::ffff:127.0.0.1", "forbidden"),
        ("::ffff:10.1.2.3", "private"),
        ("::ffff:10.96.0.1", "forbidden"),
        ("64:ff9b::7f00:1", "forbidden"),
        ("64:ff9b::a9fe:a9fe", "forbidden"),
        ("2002:7f00:1::", "forbidden"),
        ("::127.0.0.1", "forbidden"),
        ("::10.1.2.3", "private"),
        ("::ffff:0:127.0.0.1", "forbidden"),
        ("::ffff:0:10.96.0.1", "forbidden"),
        ("64:ff9b:1::7f00:1", "forbidden"),
        ("64:ff9b:1:ffff::5db8:d822", "forbidden"),
        ("fec0::1", "forbidden"),
        ("5f00::1", "forbidden"),
        ("3fff::1", "forbidden"),
        ("4000::1", "forbidden"),
        ("100::1", "forbidden"),
        ("2001:db8::1", "forbidden"),
        ("2001::1", "forbidden"),
    ],
)
def test_an_address_is_of_a_kind(text: str, kind: Kind) -> None:
    """With the cluster's Service range among the forbidden ones."""
    assert classify(ip_address(text), networks(["10.96.0.0/12"])) == kind


def test_a_literal_host_is_an_address() -> None:
    """Brackets and zones do not hide it."""
    assert literal("[::1]") == ip_address("::1")
    assert literal("fe80::1%eth0") == ip_address("fe80::1")
    assert literal("127.0.0.1") == ip_address("127.0.0.1")
    assert literal("localhost") is None


@pytest.mark.parametrize(
    "host",
    ["127.1", "2130706433", "0177.0.0.1", "0x7f000001", "0x7f.1", "127.0.0.1.", "127.0.0.0x1", "1.2.3.4.5", "0x"],
)
def test_what_only_a_resolver_reads_as_an_address_is_ambiguous(host: str) -> None:
    """Whatever it would make of it."""
    assert is_ambiguous(host)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "::1", "quay.io", "1.example", "localhost", "0xy", "a.b2", "x.0g"]
)
def test_names_and_addresses_as_they_are_written_are_not(host: str) -> None:
    """Digits elsewhere than in a whole last label are part of a name."""
    assert not is_ambiguous(host)


def test_a_network_must_be_one() -> None:
    """Or the settings are refused by name."""
    with pytest.raises(InvalidSetting, match=r"'10\.96/12'"):
        networks(["10.96/12"])


APP = image(BASE, user="1")


async def test_an_address_on_this_machine_is_denied(registry: Registry, connect: Connect) -> None:
    """Written out or behind a name, over TLS or not; no connection is opened."""
    client = connect(insecure=frozenset())
    port = registry.host.rpartition(":")[2]
    for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "0177.0.0.1", "0x7f000001", "169.254.169.254"):
        detail = await client.detail(f"{host}:{port}/team/app:1")
        assert "address that is not allowed" in detail or "cannot be followed" in detail, detail
    assert registry.requests == []


async def test_a_listed_host_may_be_anywhere(registry: Registry, connect: Connect) -> None:
    """Plain HTTP, for that host or that port of it alone."""
    registry.push("team/app:1", APP)
    for entry in ("127.0.0.1", registry.host):
        await connect(insecure=frozenset({entry})).image(f"{registry.host}/team/app:1")
    assert await connect(insecure=frozenset({"127.0.0.1:1"})).cause(f"{registry.host}/team/app:1") == "unreachable"


def test_an_entry_names_a_host_or_a_port_of_it() -> None:
    """In any case."""
    entries = frozenset({"a.example.com", "b.example.com:5000", "[::1]"})
    assert match_authority("A.example.com:443", entries) == "a.example.com"
    assert match_authority("b.example.com:5000", entries) == "b.example.com:5000"
    assert match_authority("b.example.com", entries) is None
    assert match_authority("[::1]:5000", entries) == "[::1]"
    assert host_of("[::1]:5000") == host_of("[::1]") == "[::1]"


@pytest.mark.parametrize(
    ("authority", "address", "own", "elsewhere"),
    [
        ("quay.io:443", "93.184.216.34", True, True),
        ("harbor.corp:443", "10.1.2.3", True, False),
        ("harbor.corp:443", "fd12::1", True, False),
        ("harbor.corp:443", "10.96.0.10", False, False),
        ("harbor.corp:443", "127.0.0.1", False, False),
        ("harbor.corp:443", "no address", False, False),
        ("allowed.corp:443", "10.96.0.10", True, True),
        ("insecure.corp:80", "127.0.0.1", True, True),
    ],
)
def test_private_addresses_are_for_the_references_own_host(
    authority: str, address: str, own: bool, elsewhere: bool
) -> None:
    """Token services and blob stores are elsewhere."""
    settings = RegistrySettings(
        insecure=frozenset({"insecure.corp"}), allowed=frozenset({"allowed.corp"}), denied_networks=("10.96.0.0/12",)
    )
    egress = EgressPolicy(settings)
    assert egress.allows(authority, address, own=True) is own
    assert egress.allows(authority, address, own=False) is elsewhere


def test_networks_are_denied_from_now_on() -> None:
    """Beside those of the settings, and until others are denied in their place."""
    egress = EgressPolicy(RegistrySettings(denied_networks=("10.1.0.0/16",)))

    def denied() -> list[str]:
        addresses = ("10.1.0.1", "10.2.0.1", "10.3.0.1")
        return [each for each in addresses if not egress.allows("harbor.corp:443", each, own=True)]

    assert denied() == ["10.1.0.1"]
    egress.deny(["10.2.0.0/16"])
    assert denied() == ["10.1.0.1", "10.2.0.1"]
    egress.deny(["10.3.0.0/16"])
    assert denied() == ["10.1.0.1", "10.3.0.1"]


async def test_a_client_denies_the_networks_that_it_is_given(client: Client) -> None:
    """Of a registry whose address was allowed before."""
    transport = client._transport
    assert transport._egress.allows("harbor.corp:443", "10.2.0.1", own=True)
    client.deny(["10.2.0.0/16"])
    assert not transport._egress.allows("harbor.corp:443", "10.2.0.1", own=True)
    assert "not allowed" in await client.detail("10.2.0.1/team/app:1")


async def test_only_the_addresses_that_are_allowed_are_connected_to() -> None:
    """Of several that a name has; none at all is an error."""

    class Fake(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            return [
                ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
                for address in ("10.0.0.1", "127.0.0.1", "93.184.216.34")
            ]

        async def close(self) -> None:
            pass

    resolver = CheckedResolver(Fake(), lambda authority, address: (authority, address) == ("a:443", "93.184.216.34"))
    assert [each["host"] for each in await resolver.resolve("a", 443)] == ["93.184.216.34"]
    with pytest.raises(AddressDenied):
        await resolver.resolve("b", 443)


async def test_a_redirect_or_realm_to_a_denied_address_is_not_followed(registry: Registry, connect: Connect) -> None:
    """Whatever a registry says: it is not asked twice, and the reason is given."""
    registry.push("team/app:1", APP)
    client = connect()
    for number, target in enumerate(
        [
            "https://127.0.0.1:1/x",
            "https://localhost:1/x",
            "https://169.254.169.254/x",
            "https://[::1]/",
            "https://10.0.0.1/",
        ]
    ):
        registry.honest()
        registry.lie(Redirect(target), path=f"v{number}")
        before = len(registry.requests)
        assert "not allowed" in await client.detail(f"{registry.host}/team/app:v{number}")
        assert len(registry.requests) == before + 1
    registry.honest()
    registry.login = Login({}, anonymous=True, realm="https://127.0.0.1:1/token")
    assert "not allowed" in await client.detail(f"{registry.host}/team/other:1")


@pytest.mark.parametrize(
    "target", ["ftp://a/b", "file:///etc/passwd", "https://u:p@a.example.com/", "https://", "http://a.example.com/"]
)
async def test_a_redirect_that_cannot_be_followed_is_not(registry: Registry, client: Client, target: str) -> None:
    """No other scheme, no password in a URL, no plain HTTP to a host that is not listed."""
    registry.lie(Redirect(target))
    detail = await client.detail(f"{registry.host}/team/app:1")
    assert "cannot be followed" in detail or "plain HTTP" in detail


async def test_a_proxy_is_used_where_it_is_allowed(
    registry: Registry, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It resolves names itself; NO_PROXY is heeded."""
    registry.push("team/app:1", APP)
    monkeypatch.setenv("http_proxy", registry.url)
    monkeypatch.setenv("no_proxy", "direct.invalid")
    listed_hosts = frozenset({"behind.invalid", "direct.invalid"})
    await connect(proxy=True, insecure=listed_hosts).image("behind.invalid/team/app:1")
    assert "does not resolve" in await connect(proxy=True, insecure=listed_hosts).detail("direct.invalid/team/app:1")
    assert "does not resolve" in await connect(insecure=listed_hosts).detail("behind.invalid/team/app:1")
