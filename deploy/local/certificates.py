"""One authority per cluster, and what it signs: every party of a control plane proves who it is."""

import base64
import datetime as dt
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = dt.timedelta(days=365)
NO_NAMES: Sequence[str] = ()


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """Signs for one cluster. Files that exist are kept: a cluster started again keeps its keys."""

    folder: Path

    @property
    def pair(self) -> Pair:
        return self._files("ca")

    def create(self) -> None:
        """Make the authority's own certificate, and the key that signs service account tokens."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.pair.certificate.exists():
            key, name = _new_key(self.pair.key), _name("nonroot-local", ())
            builder = _builder(name, name, key.public_key(), key.public_key())
            for extension in (
                x509.BasicConstraints(ca=True, path_length=0),
                _may_sign(),
            ):
                builder = builder.add_extension(extension, critical=True)
            self._write(self.pair, builder.sign(key, hashes.SHA256()))
        if not self.service_accounts.exists():
            _new_key(self.service_accounts)

    @property
    def service_accounts(self) -> Path:
        return self.folder / "service-accounts.key"

    def issue(
        self,
        file: str,
        common_name: str,
        groups: Sequence[str] = NO_NAMES,
        addresses: Sequence[str] = NO_NAMES,
    ) -> Pair:
        """A certificate for a user (`groups`), or for a server (`addresses`)."""
        pair = self._files(file)
        if pair.certificate.exists():
            return pair
        signer = x509.load_pem_x509_certificate(self.pair.certificate.read_bytes())
        secret = serialization.load_pem_private_key(self.pair.key.read_bytes(), None)
        assert isinstance(secret, ec.EllipticCurvePrivateKey)
        key = _new_key(pair.key)
        subject = _name(common_name, groups)
        builder = _builder(subject, signer.subject, key.public_key(), secret.public_key())
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        if addresses:
            names = x509.SubjectAlternativeName([_address(address) for address in addresses])
            builder = builder.add_extension(names, critical=False)
        self._write(pair, builder.sign(secret, hashes.SHA256()))
        return pair

    def kubeconfig(self, path: Path, server: str, user: Pair) -> str:
        """Write a kubeconfig that holds all it needs, so that it can be copied elsewhere."""

        def data(file: Path) -> str:
            return base64.b64encode(file.read_bytes()).decode()

        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "nonroot-local",
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": data(self.pair.certificate),
                    },
                }
            ],
            "users": [
                {
                    "name": "user",
                    "user": {
                        "client-certificate-data": data(user.certificate),
                        "client-key-data": data(user.key),
                    },
                }
            ],
            "contexts": [
                {
                    "name": "nonroot-local",
                    "context": {"cluster": "nonroot-local", "user": "user"},
                }
            ],
            "current-context": "nonroot-local",
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(json.dumps(content, indent=2))
        return str(path)

    def _files(self, name: str) -> Pair:
        return Pair(self.folder / f"{name}.crt", self.folder / f"{name}.key")

    @staticmethod
    def _write(pair: Pair, certificate: x509.Certificate) -> None:
        """The certificate comes last: its being there says that its key is, too."""
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _new_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    return key


def _name(common_name: str, groups: Sequence[str]) -> x509.Name:
    """Kubernetes reads a user's groups from the certificate's organisations."""
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _address(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        return x509.DNSName(address)


def _may_sign() -> x509.KeyUsage:
    return x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
) -> x509.CertificateBuilder:
    """The extensions of every certificate; the key identifiers are what Python 3.13 insists on."""
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key),
            critical=False,
        )
    )
