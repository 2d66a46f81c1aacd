"""Certificates of our own: a CA, and the serving certificates that it signs. Pure functions of their arguments and a clock.

EC P-256 throughout. What Go's verifier asks of them (k8s.io/apiserver pkg/util/webhook/client.go dials with the ServerName
`SERVICE.NAMESPACE.svc`; the common name is ignored) and Python's strict one: key identifiers, critical basic constraints.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BACKDATE = timedelta(hours=1)  # clocks of other machines may be behind ours by so much
SELF_SIGNED_LIFETIME = timedelta(days=365)
_END = b"-----END CERTIFICATE-----"


class Pair(msgspec.Struct, frozen=True):
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        """Without the key: reprs end in logs."""
        return f"Pair({self.certificate!r})"


class Unusable(ValueError):
    """A certificate, or a pair, that cannot serve its purpose; the message says why and holds no key."""


def service_hosts(service: str, namespace: str) -> tuple[str, ...]:
    """The names of a Service; the API server asks for the first."""
    return f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local", f"{service}.{namespace}"


def authority(now: datetime, lifetime: timedelta) -> Pair:
    """A new CA. Each has a name of its own, so that two of them in one bundle are told apart."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    name = _name(f"nonroot-webhook CA {serial % 2**32:08x}")
    builder = (
        _builder(name, name, key.public_key(), serial, now, now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _sign(builder, key, key)


def leaf(ca: Pair, hosts: Sequence[str], now: datetime, lifetime: timedelta) -> Pair:
    """A serving certificate for some names or addresses; it never outlives its CA. `Unusable` where the CA is."""
    issuer, issuer_key = _load(ca)
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now + lifetime, issuer.not_valid_after_utc)
    builder = (
        _builder(_name(hosts[0][:64]), issuer.subject, key.public_key(), x509.random_serial_number(), now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    return _sign(builder, key, issuer_key)


def self_signed(hosts: Sequence[str], now: datetime) -> tuple[bytes, bytes, bytes]:
    """A CA's certificate, and a certificate and key that it signed, all PEM; the CA's own key is forgotten."""
    ca = authority(now, SELF_SIGNED_LIFETIME)
    pair = leaf(ca, hosts, now, SELF_SIGNED_LIFETIME)
    return ca.certificate, pair.certificate, pair.key


class Validity(msgspec.Struct, frozen=True):
    """The times at which a certificate of ours was issued and ends."""

    issued: datetime
    end: datetime

    @property
    def renewal(self) -> datetime:
        """The time at which the certificate should be replaced: after two thirds of its life, which leaves time for failures."""
        return self.issued + (self.end - self.issued) * 2 / 3


def check_authority(pair: Pair, now: datetime) -> Validity:
    """The end of a CA; `Unusable` where it is none, its key is another's, or it has ended."""
    certificate, _ = _load(pair)
    _require_authority(certificate)
    return _validity(certificate, now)


def check_leaf(pair: Pair, ca: Pair, hosts: Iterable[str], now: datetime) -> Validity:
    """The end of a serving certificate; `Unusable` where it is not the CA's, lacks a name, or has ended."""
    certificate, _ = _load(pair)
    issuer, _ = _load(ca)
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        raise Unusable("it is not signed by the CA in force") from None
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        raise Unusable("it names no host") from None
    missing = [host for host in hosts if _host(host) not in names]
    if missing:
        raise Unusable(f"it does not name {', '.join(missing)}")
    return _validity(certificate, now)


def bundle(certificates: Iterable[bytes]) -> bytes:
    """PEM certificates as one, each once, in their order."""
    return b"".join(dict.fromkeys(each.strip() + b"\n" for each in certificates))


def authorities(pem: bytes, now: datetime) -> tuple[bytes, ...]:
    """The CA certificates of a bundle that are in force, each PEM; what else it holds is left out."""
    found = []
    for block in pem.split(_END)[:-1]:
        try:
            certificate = x509.load_pem_x509_certificate(block + _END)
            _require_authority(certificate)
            _validity(certificate, now)
        except ValueError:
            continue
        found.append(certificate.public_bytes(serialization.Encoding.PEM))
    return tuple(found)


def _load(pair: Pair) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        key = serialization.load_pem_private_key(pair.key, password=None)
        public = certificate.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Unusable("it is no PEM certificate with its private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or public != key.public_key():
        raise Unusable("the private key is not the certificate's")
    return certificate, key


def _require_authority(certificate: x509.Certificate) -> None:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        raise Unusable("it is no CA's") from None
    if not constraints.ca:
        raise Unusable("it is no CA's")


def _validity(certificate: x509.Certificate, now: datetime) -> Validity:
    validity = Validity(certificate.not_valid_before_utc + BACKDATE, certificate.not_valid_after_utc)
    if now >= validity.end:
        raise Unusable(f"it ended at {validity.end:%Y-%m-%d %H:%M:%S} UTC")
    if now < certificate.not_valid_before_utc:
        raise Unusable(f"it begins at {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC only")
    return validity


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    serial: int,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial)
        .not_valid_before(now - BACKDATE)
        .not_valid_after(end)
    )


def _sign(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey
) -> Pair:
    return Pair(
        builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
