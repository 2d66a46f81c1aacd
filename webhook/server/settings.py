"""Flags and files of `nonroot serve`, read once and checked before anything starts."""

from pathlib import Path

import msgspec

from webhook.errors import InvalidSetting
from webhook.policy.types import Documents
from webhook.server.tls import TlsOptions


class ServeSettings(msgspec.Struct, frozen=True):
    """The settings of `nonroot serve`. Port 0 takes a free one and says which."""

    host: str = "127.0.0.1"
    port: int = 10250
    metrics_port: int = 8080
    standalone: bool = False
    self_signed: bool = False
    cert: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    tls: TlsOptions = TlsOptions()
    metrics_tls: bool = False
    metrics_authentication: bool = False
    identity_api: bool = False
    identity_api_client_ca: Path | None = None
    identity_api_audiences: tuple[str, ...] = ()
    documents: Documents = Documents()
    insecure_registries: tuple[str, ...] = ()
    registry_config: Path | None = None

    def check(self) -> None:
        """`InvalidSetting` where the flags contradict each other."""
        self.tls.check()
        if self.metrics_authentication and not self.metrics_tls:
            raise InvalidSetting("--metrics-authentication needs --metrics-tls: tokens are as good as passwords")
        if self.metrics_authentication and self.standalone:
            raise InvalidSetting("--metrics-authentication is not for --standalone: tokens cannot be verified")
        if self.self_signed and (self.cert or self.key):
            raise InvalidSetting("--self-signed makes a certificate of its own: leave out --cert and --key")
        if not self.self_signed and not (self.cert and self.key):
            raise InvalidSetting("TLS needs a certificate: give --cert and --key, or --self-signed to try things out")
        if not self.standalone and (self.documents.policies or self.documents.exceptions):
            raise InvalidSetting("--policy is for --standalone; in a cluster, apply the NonRootPolicy objects instead")
        if not self.identity_api and (self.identity_api_client_ca or self.identity_api_audiences):
            raise InvalidSetting("--identity-api-client-ca and --identity-api-audience need --identity-api")
        if self.identity_api and self.standalone and not self.identity_api_client_ca:
            raise InvalidSetting(
                "--identity-api with --standalone needs --identity-api-client-ca: tokens cannot be verified"
            )
