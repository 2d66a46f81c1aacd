"""The command `nonroot`. Imports are lazy: each command loads only what it needs."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import click

import webhook
from webhook.errors import NonrootError
from webhook.workstation.options import INSECURE_REGISTRY, POLICY

_DOORS = {name: f"webhook.{name}.command" for name in ("check", "fix", "inspect", "scan")}
_DOORS["policy"] = "webhook.scan.policy"


class _Group(click.Group):
    """Loads the command line's own doors when they are asked for.

    Turns our own errors into one line and exit code 2; only bugs show a stack trace.
    """

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), *_DOORS])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in _DOORS:
            command: click.Command = getattr(import_module(_DOORS[name]), name)
            return command
        return super().get_command(context, name)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except NonrootError as error:
            click.echo(f"nonroot: {error}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            sys.exit(130)  # click would say 1, which means findings


_REGISTRY_CONFIG = click.option(
    "--registry-config",
    type=click.Path(path_type=Path),
    help="YAML file about registries: credentials, mirrors, CAs and what may be asked.",
)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(webhook.__version__, prog_name="nonroot")
def main() -> None:
    """Know who a container will really run as."""


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", default=10250, show_default=True, type=click.IntRange(0, 65535), help="Port for reviews (HTTPS)."
)
@click.option(
    "--metrics-port",
    default=8080,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port for probes and metrics (HTTP).",
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
@INSECURE_REGISTRY
@_REGISTRY_CONFIG
def serve(
    host: str,
    port: int,
    metrics_port: int,
    policies: tuple[Path, ...],
    standalone: bool,
    self_signed: bool,
    cert: Path | None,
    key: Path | None,
    insecure: tuple[str, ...],
    registry_config: Path | None,
) -> None:
    """Answer the API server's admission reviews."""
    from webhook.serve.server import run
    from webhook.settings import ServeSettings, load_documents

    run(
        ServeSettings(
            host=host,
            port=port,
            metrics_port=metrics_port,
            standalone=standalone,
            self_signed=self_signed,
            cert=cert,
            key=key,
            documents=load_documents(policies),
            insecure_registries=insecure,
            registry_config=registry_config,
        )
    )


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


def _rules(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from webhook import rulebook

    return [name for name in rulebook.names() if name.startswith(incomplete)]


@main.command()
@click.argument("rule", required=False, shell_complete=_rules)
def explain(rule: str | None) -> None:
    """Say what a RULE is about, what fails it and how to fix that; without RULE, list them all."""
    from webhook import rulebook

    if rule is not None:
        click.echo(f"{rule}\n\n{rulebook.page(rule).text}")
        return
    width = max(map(len, rulebook.names()))
    for name in rulebook.names():
        click.echo(f"{name:{width}}  {rulebook.page(name).title}")


@main.command()
@_setting("namespace", "The release's namespace.", required=True)
@_setting("service", "The admission Service, for which the certificate is made.", default="nonroot-webhook")
@_setting("ca-secret", "The Secret that keeps the CA and its key.", default="nonroot-webhook-ca")
@_setting("tls-secret", "The Secret that the admission replicas serve with.", default="nonroot-webhook-tls")
@_setting("mutating-configuration", "The MutatingWebhookConfiguration to trust us.", default="zz-nonroot-webhook")
@_setting("validating-configuration", "The ValidatingWebhookConfiguration to trust us.", default="nonroot-webhook")
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
@_setting("metrics-port", "Port for probes and metrics (HTTP).", default=8080, type=click.IntRange(0, 65535))
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
    "--report-page/--no-report-page",
    envvar="NONROOT_REPORT_PAGE",
    default=False,
    show_default=True,
    help="Answer GET /report, beside the metrics, with the last scan as a page: to anybody who reaches the port.",
)
@INSECURE_REGISTRY
@_REGISTRY_CONFIG
def operate(ca_lifetime: int, leaf_lifetime: int, scan_interval: int, insecure: tuple[str, ...], **given: Any) -> None:
    """Run the controller: certificates, the status of policies, the background scan and its reports."""
    from datetime import timedelta

    from webhook.operate import OperateSettings, run

    spans = {
        "ca_lifetime": timedelta(days=ca_lifetime),
        "leaf_lifetime": timedelta(days=leaf_lifetime),
        "scan_interval": timedelta(minutes=scan_interval),
    }
    run(OperateSettings(**{**given, **spans}, insecure_registries=insecure))
