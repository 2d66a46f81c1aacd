"""Certificates: what they say, how long they last, and what is refused."""

# ruff: noqa: ARG005 - every kind of damage is made from the same two pairs

import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import create_connection, create_server

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from webhook.server import certificates
from webhook.server.certificates import BACKDATE, Pair, Unusable

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HOSTS = certificates.service_hosts("hook", "web")


@pytest.fixture
def ca() -> Pair:
    return certificates.authority(NOW, 300 * DAY)


@pytest.fixture
def leaf(ca: Pair) -> Pair:
    return certificates.leaf(ca, HOSTS, NOW, 90 * DAY)


def test_a_service_is_asked_for_by_its_first_name() -> None:
    assert HOSTS == ("hook.web.svc", "hook.web.svc.cluster.local", "hook.web")


def test_a_ca_may_sign_leaves_and_nothing_else(ca: Pair) -> None:
    extensions = x509.load_pem_x509_certificate(ca.certificate).extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)
    assert extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_two_cas_have_two_names(ca: Pair) -> None:
    other = certificates.authority(NOW, DAY)
    names = {x509.load_pem_x509_certificate(each.certificate).subject for each in (ca, other)}
    assert len(names) == 2


def test_a_leaf_serves_its_hosts(leaf: Pair) -> None:
    extensions = x509.load_pem_x509_certificate(leaf.certificate).extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert tuple(names.get_values_for_type(x509.DNSName)) == HOSTS
    usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_a_leaf_begins_before_now_for_clocks_that_are_behind(leaf: Pair) -> None:
    certificate = x509.load_pem_x509_certificate(leaf.certificate)
    assert certificate.not_valid_before_utc == NOW - BACKDATE
    assert certificate.not_valid_after_utc == NOW + 90 * DAY


def test_a_leaf_never_outlives_its_ca(ca: Pair) -> None:
    late = certificates.leaf(ca, HOSTS, NOW + 280 * DAY, 90 * DAY)
    assert x509.load_pem_x509_certificate(late.certificate).not_valid_after_utc == NOW + 300 * DAY


def test_renewal_is_due_after_two_thirds_of_the_life(ca: Pair, leaf: Pair) -> None:
    assert certificates.check_authority(ca, NOW).renewal == NOW + 200 * DAY
    assert certificates.check_leaf(leaf, ca, HOSTS, NOW).renewal == NOW + 60 * DAY


def _foreign_leaf(ca: Pair, leaf: Pair) -> Pair:
    return certificates.leaf(certificates.authority(NOW, DAY), HOSTS, NOW, DAY)


def _rsa_key(ca: Pair, leaf: Pair) -> Pair:
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(leaf.certificate, key)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        pytest.param(lambda ca, leaf: Pair(b"", b""), "no PEM", id="nothing at all"),
        pytest.param(lambda ca, leaf: Pair(leaf.certificate, b"x"), "no PEM", id="a key that is none"),
        pytest.param(lambda ca, leaf: Pair(leaf.certificate[:-60], leaf.key), "no PEM", id="a certificate cut short"),
        pytest.param(lambda ca, leaf: Pair(leaf.certificate, ca.key), "not the certificate's", id="another's key"),
        pytest.param(_rsa_key, "not the certificate's", id="a key of another kind"),
        pytest.param(_foreign_leaf, "not signed by the CA", id="another CA's"),
        pytest.param(lambda ca, leaf: ca, "not signed by|names no host", id="the CA itself"),
        pytest.param(
            lambda ca, leaf: certificates.leaf(ca, HOSTS[1:], NOW, DAY),
            "does not name hook.web.svc$",
            id="a name missing",
        ),
        pytest.param(
            lambda ca, leaf: certificates.leaf(ca, HOSTS, NOW - 9 * DAY, DAY),
            "ended at 2026-02-21 12:00:00",
            id="ended",
        ),
        pytest.param(
            lambda ca, leaf: certificates.leaf(ca, HOSTS, NOW + 9 * DAY, DAY), "begins at 2026-03-10", id="not begun"
        ),
    ],
)
def test_a_leaf_that_cannot_serve_is_refused(
    ca: Pair, leaf: Pair, damage: Callable[[Pair, Pair], Pair], reason: str
) -> None:
    with pytest.raises(Unusable, match=reason):
        certificates.check_leaf(damage(ca, leaf), ca, HOSTS, NOW)


def test_a_leaf_is_no_ca(leaf: Pair) -> None:
    with pytest.raises(Unusable, match="no CA"):
        certificates.check_authority(leaf, NOW)


def test_a_ca_that_ended_is_refused_at_that_second(ca: Pair) -> None:
    certificates.check_authority(ca, NOW + 300 * DAY - timedelta(seconds=1))
    with pytest.raises(Unusable, match="ended"):
        certificates.check_authority(ca, NOW + 300 * DAY)


def test_a_bundle_holds_each_certificate_once_and_in_order(ca: Pair) -> None:
    other = certificates.authority(NOW, DAY)
    bundle = certificates.bundle([ca.certificate, other.certificate, ca.certificate.strip()])
    assert certificates.authorities(bundle, NOW) == (ca.certificate, other.certificate)


def test_only_cas_in_force_are_taken_from_a_bundle(ca: Pair, leaf: Pair) -> None:
    ended = certificates.authority(NOW - 9 * DAY, DAY)
    rubbish = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    bundle = leaf.certificate + rubbish + ended.certificate + b"text\n" + ca.certificate + b"-----BEGIN"
    assert certificates.authorities(bundle, NOW) == (ca.certificate,)


def test_a_key_is_in_no_repr(ca: Pair) -> None:
    assert "PRIVATE" not in repr(ca)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_a_self_signed_certificate_is_accepted_by_a_strict_client(tmp_path: Path, host: str) -> None:
    authority, certificate, key = certificates.self_signed(("localhost", "127.0.0.1", "::1"), datetime.now(UTC))
    (tmp_path / "tls.crt").write_bytes(certificate)
    (tmp_path / "tls.key").write_bytes(key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    client = ssl.create_default_context(cadata=authority.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    with create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with listener.accept()[0] as plain, server.wrap_socket(plain, server_side=True) as secure:
                secure.sendall(b"hello")

        thread = threading.Thread(target=accept)
        thread.start()
        with (
            create_connection(listener.getsockname()) as plain,
            client.wrap_socket(plain, server_hostname=host) as secure,
        ):
            assert secure.recv(5) == b"hello"
        thread.join()
