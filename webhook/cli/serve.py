"""The command `nonroot serve`."""

import gc
from pathlib import Path
from typing import TYPE_CHECKING

import click

from webhook.cli.logs import LOG_FORMAT, LOG_LEVEL, Format, configure
from webhook.cli.options import (
    INSECURE_REGISTRY,
    METRICS_AUTHENTICATION,
    POLICY,
    SERVER_REGISTRY_CONFIG,
    TLS_CIPHER_SUITE,
    TLS_MIN_VERSION,
)

if TYPE_CHECKING:
    from webhook.server.tls import TlsVersion


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=10250, show_default=True, type=click.IntRange(0, 65535), help="Port for reviews (HTTPS)."
)
@click.option(
    "--metrics-port",
    default=8080,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port for probes and metrics (HTTP, or HTTPS by --metrics-tls).",
)
@POLICY
@click.option("--standalone", is_flag=True, help="Need no cluster: policies come from files alone.")
@click.option(
    "--self-signed", is_flag=True, help="Make a certificate at start; its CA is at /ca.crt of the metrics port."
)
@click.option(
    "--cert", type=click.Path(path_type=Path), help="PEM file of the serving certificate; reloaded when it changes."
)
@click.option("--key", type=click.Path(path_type=Path), help="PEM file of its key.")
@click.option(
    "--client-ca",
    type=click.Path(path_type=Path),
    help="PEM file of a CA: only clients that show a certificate of it are answered. The API server has to be given one.",
)
@TLS_MIN_VERSION
@TLS_CIPHER_SUITE
@click.option("--metrics-tls", is_flag=True, help="Serve probes and metrics by HTTPS, with the same certificate.")
@METRICS_AUTHENTICATION
@click.option(
    "--identity-api",
    is_flag=True,
    help="Tell programs who the USER of an image is, at /v1/identities and /externaldata of the port for reviews.",
)
@click.option(
    "--identity-api-client-ca",
    type=click.Path(path_type=Path),
    help="PEM file of a CA whose certificates these programs may show instead of a token; read anew when it changes.",
)
@click.option(
    "--identity-api-audience",
    "identity_api_audiences",
    multiple=True,
    help="Audience for which their tokens must be made; none: the API server. Repeatable.",
)
@INSECURE_REGISTRY
@SERVER_REGISTRY_CONFIG
@LOG_LEVEL
@LOG_FORMAT
def serve(
    host: str,
    port: int,
    metrics_port: int,
    policies: tuple[Path, ...],
    standalone: bool,
    self_signed: bool,
    cert: Path | None,
    key: Path | None,
    client_ca: Path | None,
    tls_min_version: "TlsVersion",
    tls_cipher_suites: tuple[str, ...],
    metrics_tls: bool,
    metrics_authentication: bool,
    identity_api: bool,
    identity_api_client_ca: Path | None,
    identity_api_audiences: tuple[str, ...],
    insecure: tuple[str, ...],
    registry_config: Path | None,
    log_level: str,
    log_format: Format,
) -> None:
    """Answer the API server's admission reviews."""
    gc.disable()  # what is imported stays: looking for garbage in it again and again is a fifth of a start
    from webhook.cli.policy_files import load_documents
    from webhook.server.server import run
    from webhook.server.settings import ServeSettings
    from webhook.server.tls import TlsOptions

    gc.freeze()
    gc.enable()
    configure(log_level, log_format)
    run(
        ServeSettings(
            host=host,
            port=port,
            metrics_port=metrics_port,
            standalone=standalone,
            self_signed=self_signed,
            cert=cert,
            key=key,
            client_ca=client_ca,
            tls=TlsOptions(tls_min_version, tls_cipher_suites),
            metrics_tls=metrics_tls,
            metrics_authentication=metrics_authentication,
            identity_api=identity_api,
            identity_api_client_ca=identity_api_client_ca,
            identity_api_audiences=identity_api_audiences,
            documents=load_documents(policies),
            insecure_registries=insecure,
            registry_config=registry_config,
        )
    )
