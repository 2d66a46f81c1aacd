"""The command `nonroot operate`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from webhook.cli.logs import LOG_FORMAT, LOG_LEVEL, Format, configure
from webhook.cli.options import (
    INSECURE_REGISTRY,
    METRICS_AUTHENTICATION,
    SERVER_REGISTRY_CONFIG,
    TLS_CIPHER_SUITE,
    TLS_MIN_VERSION,
)

if TYPE_CHECKING:
    from webhook.server.tls import TlsVersion


def _setting(name: str, help: str, **more: Any) -> Callable[[Any], Any]:  # noqa: A002  # click's own word
    """An option of `operate` that an environment variable gives as well: the chart sets those."""
    return click.option(
        f"--{name}",
        envvar=f"NONROOT_{name.upper().replace('-', '_')}",
        help=help,
        show_envvar=True,
        show_default=True,
        **more,
    )


_DAYS = click.IntRange(1, 36500)


@click.command()
@_setting("namespace", "The release's namespace.", required=True)
@_setting("service", "The admission Service, for which the certificate is made.", default="nonroot-webhook")
@_setting("ca-secret", "The Secret that keeps the CA and its key.", default="nonroot-webhook-ca")
@_setting("tls-secret", "The Secret that the admission replicas serve with.", default="nonroot-webhook-tls")
@_setting("mutating-configuration", "The MutatingWebhookConfiguration to trust us.", default="zz-nonroot-webhook")
@_setting("validating-configuration", "The ValidatingWebhookConfiguration to trust us.", default="nonroot-webhook")
@_setting("provider", "The Provider by which Gatekeeper is to trust us; empty: there is none.", default="")
@_setting("ca-lifetime", "Days for which a CA is made.", default=365, type=_DAYS)
@_setting("leaf-lifetime", "Days for which a serving certificate is made.", default=90, type=_DAYS)
@click.option(
    "--manage-certificates/--no-manage-certificates",
    envvar="NONROOT_MANAGE_CERTIFICATES",
    default=True,
    show_default=True,
    help="Make and renew the certificates; off with cert-manager or a Secret of one's own.",
)
@_setting("host", "Address for probes and metrics.", default="0.0.0.0")  # noqa: S104  # probes come from the node
@_setting(
    "metrics-port",
    "Port for probes and metrics (HTTP, or HTTPS by --metrics-cert).",
    default=8080,
    type=click.IntRange(0, 65535),
)
@_setting(
    "metrics-cert",
    "PEM file of a certificate to serve probes and metrics with; one of our own until it is there.",
    type=click.Path(path_type=Path),
)
@_setting("metrics-key", "PEM file of its key.", type=click.Path(path_type=Path))
@METRICS_AUTHENTICATION
@TLS_MIN_VERSION
@TLS_CIPHER_SUITE
@_setting(
    "scan-interval",
    "Minutes between two scans of all workloads, if nothing changes that matters to them; 0: never scan.",
    default=30,
    type=click.IntRange(0, 10080),
)
@click.option(
    "--reports/--no-reports",
    envvar="NONROOT_REPORTS",
    default=True,
    show_default=True,
    help="Write a policy report for every workload, where the cluster has a kind for those.",
)
@click.option(
    "--pass-results/--no-pass-results",
    envvar="NONROOT_PASS_RESULTS",
    default=True,
    show_default=True,
    help="Write results of containers that nothing speaks against; else they are only counted in the summaries.",
)
@click.option(
    "--report-label",
    "report_labels",
    envvar="NONROOT_REPORT_LABELS",
    multiple=True,
    metavar="KEY",
    help="A label of namespaces that their reports get as well, such as the team's; repeatable.",
)
@click.option(
    "--report-page/--no-report-page",
    envvar="NONROOT_REPORT_PAGE",
    default=False,
    show_default=True,
    help="Answer GET /report and /report.json, beside the metrics, with the last scan: to anybody who reaches the port.",
)
@click.option(
    "--report-page-authentication/--no-report-page-authentication",
    envvar="NONROOT_REPORT_PAGE_AUTHENTICATION",
    default=False,
    show_default=True,
    help="Answer only who shows a token of the cluster, and with the namespaces whose Pods its user may list.",
)
@click.option(
    "--label-namespaces/--no-label-namespaces",
    envvar="NONROOT_LABEL_NAMESPACES",
    default=False,
    show_default=True,
    help="Label the namespaces that policies with labelNamespaces: true enforce, so that their hook fails closed.",
)
@click.option(
    "--default-policy/--no-default-policy",
    envvar="NONROOT_DEFAULT_POLICY",
    default=False,
    show_default=True,
    help="Create the NonRootPolicy default where there is none: mode Audit, the lowest priority, counts where no other applies.",
)
@_setting(
    "cluster-name", "What the report page calls the cluster; else the name that the cluster gives itself.", default=""
)
@_setting(
    "survey-rate",
    "Megabytes a second at which the layers of images in use are read for what their programs need; 0: never.",
    default=8,
    type=click.IntRange(0, 1000),
)
@INSECURE_REGISTRY
@SERVER_REGISTRY_CONFIG
@LOG_LEVEL
@LOG_FORMAT
def operate(
    ca_lifetime: int,
    leaf_lifetime: int,
    scan_interval: int,
    tls_min_version: "TlsVersion",
    tls_cipher_suites: tuple[str, ...],
    insecure: tuple[str, ...],
    log_level: str,
    log_format: Format,
    **given: Any,
) -> None:
    """Run the controller: certificates, the status of policies, the background scan and its reports."""
    from datetime import timedelta

    from webhook.controller import run
    from webhook.controller.settings import OperateSettings
    from webhook.server.tls import TlsOptions

    configure(log_level, log_format)
    spans = {
        "ca_lifetime": timedelta(days=ca_lifetime),
        "leaf_lifetime": timedelta(days=leaf_lifetime),
        "scan_interval": timedelta(minutes=scan_interval),
    }
    tls = TlsOptions(tls_min_version, tls_cipher_suites)
    run(OperateSettings(**{**given, **spans}, tls=tls, insecure_registries=insecure))
