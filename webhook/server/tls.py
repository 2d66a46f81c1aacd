"""The serving certificate: loaded once, and again whenever its files change, without closing a connection."""

import asyncio
import contextlib
import hashlib
import logging
import ssl
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID

from webhook.errors import InvalidSetting
from webhook.server import certificates
from webhook.server.cipher_suites import CIPHER_SUITES

INTERVAL = 2.0  # seconds; mounted Secrets change by a symlink swap that sends no useful event

log = logging.getLogger(__name__)


TlsVersion = Literal["1.2", "1.3"]
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class TlsOptions(msgspec.Struct, frozen=True):
    """The oldest version of TLS that is spoken, and the cipher suites of TLS 1.2, by IANA's names; none: OpenSSL's own."""

    minimum_version: TlsVersion = "1.2"
    cipher_suites: tuple[str, ...] = ()

    def check(self) -> None:
        """`InvalidSetting` where they contradict each other."""
        if self.cipher_suites and self.minimum_version == "1.3":
            raise InvalidSetting(
                "--tls-cipher-suite chooses among those of TLS 1.2, which --tls-min-version=1.3 rules out: leave out one of them"
            )

    def context(self) -> ssl.SSLContext:
        """A context for a server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _VERSIONS[self.minimum_version]
        if self.cipher_suites:
            context.set_ciphers(":".join(CIPHER_SUITES[name] for name in self.cipher_suites))
        return context


class ClientAuthority:
    """CAs in a PEM file, read anew when it changes, and whom their certificates name.

    A CA that takes another's place under the same name needs key identifiers, which all usual issuers write: OpenSSL finds
    the issuer by them.
    Implements `webhook.identity_api.callers.Certificates`.
    """

    def __init__(self, file: Path) -> None:
        """`InvalidSetting` where the file cannot be used."""
        self._file = file
        self._authorities: list[x509.Certificate] = []
        self.pem = b""
        try:
            self.load()
        except (OSError, ValueError) as error:
            raise InvalidSetting(f"cannot verify clients by {file}: {_reason(error)}") from None

    def load(self) -> bool:
        """Load the file if it has changed; raises OSError or ValueError and keeps what it had."""
        pem = self._file.read_bytes()
        if pem == self.pem:
            return False
        self._authorities, self.pem = x509.load_pem_x509_certificates(pem), pem
        return True

    def common_name(self, certificate: str) -> str | None:
        """The common name in a PEM certificate that TLS has verified; None where no CA of the file, as it is now, has issued it."""
        shown = x509.load_pem_x509_certificate(certificate.encode())
        now = datetime.now(UTC)
        if not shown.not_valid_before_utc <= now <= shown.not_valid_after_utc:
            return None
        names = [str(each.value) for each in shown.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        issued = any(_issued(each, shown) for each in self._authorities)
        return names[0] if issued and len(names) == 1 else None


def _issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


class ServingCertificate:
    """A certificate and key on disk, and the SSL context that serves them. New connections get the newest pair.

    With a `client_ca`, a file of PEM certificates, only clients that show a certificate of it are spoken to: the API server
    does, where its kubeconfig for webhooks has one (kubernetes/apiserver pkg/util/webhook/authentication.go). Of `callers` a
    client may show a certificate, and need not. The pair `meanwhile` is served until the files are there.
    """

    def __init__(
        self,
        cert: Path,
        key: Path,
        *,
        client_ca: Path | None = None,
        callers: ClientAuthority | None = None,
        options: TlsOptions | None = None,
        meanwhile: tuple[Path, Path] | None = None,
    ) -> None:
        self._cert, self._key = cert, key
        self.context = (options or TlsOptions()).context()
        if client_ca is not None:
            try:
                self.context.load_verify_locations(client_ca)
            except (OSError, ValueError) as error:
                raise InvalidSetting(f"cannot verify clients by {client_ca}: {_reason(error)}") from None
            self.context.verify_mode = ssl.CERT_REQUIRED
        self._callers = callers
        if callers is not None:
            self.context.load_verify_locations(cadata=callers.pem.decode())
            if client_ca is None:
                self.context.verify_mode = ssl.CERT_OPTIONAL
        self.expiry = 0.0  # seconds since the epoch
        self._seen = b""
        self._awaited = meanwhile is not None
        if meanwhile is not None:
            self.context.load_cert_chain(*meanwhile)
        try:
            self._load()
        except (OSError, ValueError) as error:
            raise InvalidSetting(f"cannot serve with {cert} and {key}: {_reason(error)}") from None

    def _load(self) -> bool:
        """Load the pair if its content changed; raises OSError or ValueError and keeps the former one."""
        if self._awaited and not (self._cert.exists() and self._key.exists()):
            return False
        self._awaited = False
        chain, key = self._cert.read_bytes(), self._key.read_bytes()
        seen = hashlib.sha256(chain + b"\0" + key).digest()
        if seen == self._seen:
            return False
        expiry = x509.load_pem_x509_certificate(chain).not_valid_after_utc.timestamp()
        # A pair that does not belong together must fail here, before it reaches the live context.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._cert, self._key)
        self.context.load_cert_chain(self._cert, self._key)
        self._seen, self.expiry = seen, expiry
        return True

    async def watch(self) -> None:
        """Look every few seconds, for ever; a broken pair is logged and the former one goes on serving."""
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                if self._load():
                    log.info("now serving a new certificate")
                if self._callers is not None and self._callers.load():
                    self.context.load_verify_locations(cadata=self._callers.pem.decode())
                    log.info("now verifying the clients of the identity API by another CA")
            except (OSError, ValueError) as error:
                log.error(  # noqa: TRY400  # a broken file is no bug of ours: no stack trace
                    "the new certificate cannot be used, the former one goes on: %s", _reason(error)
                )


@contextlib.contextmanager
def self_signed_files(hosts: Sequence[str]) -> Iterator[tuple[bytes, Path, Path]]:
    """A CA, and the files of a certificate of it and its key, which are gone afterwards."""
    ca, certificate, key = certificates.self_signed(hosts, datetime.now(UTC))
    with tempfile.TemporaryDirectory(prefix="nonroot-") as folder:
        paths = Path(folder, "tls.crt"), Path(folder, "tls.key")
        for path, content in zip(paths, (certificate, key), strict=True):
            path.touch(mode=0o600)
            path.write_bytes(content)
        yield ca, *paths


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
