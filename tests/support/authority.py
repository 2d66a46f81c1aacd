"""A certificate authority for tests: its own certificate serves this machine's loopback address too."""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """A key and a self-signed certificate, as files in `folder` and as a server's TLS context."""

    def __init__(self, folder: Path, name: str = "test") -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        addresses = map(ipaddress.ip_address, ("127.0.0.1", "0.0.0.0"))  # noqa: S104  # nothing listens there
        alternatives = [x509.DNSName("localhost"), *map(x509.IPAddress, addresses)]
        key = self.private.public_key()
        self.public = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key)
            .serial_number(1)
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key), critical=False)
            .sign(self.private, hashes.SHA256())
        )
        self.pem = self.public.public_bytes(serialization.Encoding.PEM).decode()
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.certificate.write_text(self.pem)
        self.key.write_bytes(
            self.private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(self.certificate, self.key)
