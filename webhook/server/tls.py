"""The serving certificate: loaded once, and again whenever its files change, without closing a connection."""

import asyncio
import hashlib
import logging
import ssl
from pathlib import Path
from typing import Literal

from cryptography import x509

from webhook.errors import InvalidSetting

INTERVAL = 2.0  # seconds; mounted Secrets change by a symlink swap that sends no useful event

log = logging.getLogger(__name__)


TlsVersion = Literal["1.2", "1.3"]
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class ServingCertificate:
    """A certificate and key on disk, and the SSL context that serves them. New connections get the newest pair.

    With a `client_ca`, a file of PEM certificates, only clients that show a certificate of it are spoken to: the API server
    does, where its kubeconfig for webhooks has one (kubernetes/apiserver pkg/util/webhook/authentication.go).
    """

    def __init__(
        self, cert: Path, key: Path, *, client_ca: Path | None = None, minimum_version: TlsVersion = "1.2"
    ) -> None:
        self._cert, self._key = cert, key
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = _VERSIONS[minimum_version]
        if client_ca is not None:
            try:
                self.context.load_verify_locations(client_ca)
            except (OSError, ValueError) as error:
                raise InvalidSetting(f"cannot verify clients by {client_ca}: {_reason(error)}") from None
            self.context.verify_mode = ssl.CERT_REQUIRED
        self.expiry = 0.0  # seconds since the epoch
        self._seen = b""
        try:
            self._load()
        except (OSError, ValueError) as error:
            raise InvalidSetting(f"cannot serve with {cert} and {key}: {_reason(error)}") from None

    def _load(self) -> bool:
        """Load the pair if its content changed; raises OSError or ValueError and keeps the former one."""
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
            except (OSError, ValueError) as error:
                log.error(  # noqa: TRY400  # a broken file is no bug of ours: no stack trace
                    "the new certificate cannot be used, the former one goes on: %s", _reason(error)
                )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
