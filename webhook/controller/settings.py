"""Settings of `nonroot operate`."""

from datetime import timedelta
from pathlib import Path

import msgspec

from webhook.errors import InvalidSetting
from webhook.server.tls import TlsOptions


class OperateSettings(msgspec.Struct, frozen=True):
    """The settings of `nonroot operate`; each has an environment variable, as `NONROOT_CA_SECRET`."""

    namespace: str
    service: str = "nonroot-webhook"
    ca_secret: str = "nonroot-webhook-ca"  # noqa: S105 - a name
    tls_secret: str = "nonroot-webhook-tls"  # noqa: S105 - a name
    mutating_configuration: str = "zz-nonroot-webhook"
    validating_configuration: str = "nonroot-webhook"
    provider: str = ""
    ca_lifetime: timedelta = timedelta(days=365)
    leaf_lifetime: timedelta = timedelta(days=90)
    manage_certificates: bool = True
    host: str = "0.0.0.0"  # noqa: S104 - probes come from the node
    metrics_port: int = 8080
    metrics_cert: Path | None = None
    metrics_key: Path | None = None
    metrics_authentication: bool = False
    tls: TlsOptions = TlsOptions()
    scan_interval: timedelta = timedelta(minutes=30)
    reports: bool = True
    pass_results: bool = True
    report_labels: tuple[str, ...] = ()
    report_page: bool = False
    report_page_authentication: bool = False
    survey_rate: int = 8
    cluster_name: str = ""
    label_namespaces: bool = False
    default_policy: bool = False
    insecure_registries: tuple[str, ...] = ()
    registry_config: Path | None = None

    def check(self) -> None:
        """`InvalidSetting` where the settings contradict each other."""
        self.tls.check()
        if bool(self.metrics_cert) != bool(self.metrics_key):
            raise InvalidSetting("--metrics-cert and --metrics-key belong together: give both, or none for plain HTTP")
        if self.metrics_authentication and not self.metrics_cert:
            raise InvalidSetting("--metrics-authentication needs --metrics-cert: tokens are as good as passwords")
        if self.ca_secret == self.tls_secret:
            raise InvalidSetting("--ca-secret and --tls-secret are the same: the CA's key must not reach the replicas")
        if not timedelta() < self.leaf_lifetime <= self.ca_lifetime / 3:
            raise InvalidSetting(
                "--leaf-lifetime must be above zero and at most a third of --ca-lifetime, "
                "so that a CA is renewed before it cuts a certificate short"
            )
