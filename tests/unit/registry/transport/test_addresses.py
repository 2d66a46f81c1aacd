"""Addresses are told apart by what they are, however they are written."""

from ipaddress import ip_address

import pytest

from webhook.errors import InvalidSetting
from webhook.registry.transport.addresses import Kind, classify, is_ambiguous, literal, networks


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
