"""Options that several commands share, so that they read the same everywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from webhook.server.cipher_suites import CIPHER_SUITES

TLS_MIN_VERSION = click.option(
    "--tls-min-version",
    type=click.Choice(["1.2", "1.3"]),
    default="1.2",
    show_default=True,
    help="The oldest version of TLS that is spoken.",
)
TLS_CIPHER_SUITE = click.option(
    "--tls-cipher-suite",
    "tls_cipher_suites",
    type=click.Choice(list(CIPHER_SUITES)),
    multiple=True,
    metavar="NAME",
    help="A cipher suite of TLS 1.2 that is spoken, by the name that Kubernetes has for it; repeatable. Safe ones where none "
    "is given. The suites of TLS 1.3 are all safe and stay.",
)
METRICS_AUTHENTICATION = click.option(
    "--metrics-authentication",
    is_flag=True,
    envvar="NONROOT_METRICS_AUTHENTICATION",
    show_envvar=True,
    help="Show the metrics only to whoever shows a token of the cluster and may get the path /metrics by RBAC.",
)
SERVER_REGISTRY_CONFIG = click.option(
    "--registry-config",
    type=click.Path(path_type=Path),
    help="YAML file about registries: credentials, mirrors, CAs and what may be asked.",
)


Command = TypeVar("Command", bound=Callable[..., Any] | click.Command)


def _policy(text: str) -> Callable[[Command], Command]:
    return click.option("--policy", "policies", multiple=True, type=click.Path(path_type=Path), help=text)


POLICY = _policy("File with NonRootPolicy and NonRootException documents; repeatable.")
POLICY_INSTEAD = _policy(
    "File with NonRootPolicy and NonRootException documents to go by, instead of the cluster's; repeatable."
)
POLICY_ALONE = _policy(
    "File with NonRootPolicy and NonRootException documents to go by; repeatable. No cluster is asked then, unless "
    "--context or --kubeconfig says which one has the namespace's labels."
)
FAIL_ON = click.option(
    "--fail-on",
    default="error",
    show_default=True,
    type=click.Choice(["error", "warning", "unknown"]),
    help="The mildest severity for which the exit code is 1.",
)
EXIT_ZERO = click.option("--exit-zero", is_flag=True, help="Exit with 0 whatever is found or skipped.")
NAMESPACES = click.option(
    "-n", "--namespace", "namespaces", multiple=True, help="Only this namespace; repeatable. All where none is given."
)
ALL_NAMESPACES = click.option("-A", "--all-namespaces", "everywhere", is_flag=True, help="All namespaces.")
_CLUSTER = (
    click.option("--context", default="", help="The context of the kubeconfig to use, instead of the current one."),
    click.option("--kubeconfig", default="", metavar="FILE", help="The kubeconfig to use, instead of KUBECONFIG's."),
    click.option("--as", "user", default="", metavar="USER", help="Act as this user, whom you may impersonate."),
)


def cluster(command: Command) -> Command:
    """The options that say which cluster is asked and as whom, as kubectl has them."""
    for each in reversed(_CLUSTER):
        command = each(command)
    return command


INSECURE_REGISTRY = click.option(
    "--insecure-registry",
    "insecure",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Allow plain HTTP and a private or loopback address for this registry alone; repeatable.",
)
NO_IMAGES = click.option(
    "--no-images", is_flag=True, help="Ask no registry: evaluate the manifests alone, and count what that leaves open."
)
TEMPLATE_KINDS = click.option(
    "--template-kind",
    "template_kinds",
    multiple=True,
    metavar="GROUP/KIND=POINTER",
    help="A custom kind that carries a Pod template, such as example.com/Worker=/spec/template; repeatable.",
)
TARGET = click.option(
    "--target", metavar="STAGE", help="The stage of Dockerfiles that is built; the last where none is given."
)
BUILD_ARGS = click.option(
    "--build-arg", "build_args", multiple=True, metavar="NAME=VALUE", help="As for docker build; repeatable."
)
EXCLUDE = click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Leave out what matches, as in .gitignore; repeatable. .gitignore and .nonrootignore files hold by themselves.",
)
KIND = click.option(
    "--kind",
    type=click.Choice(["manifest", "dockerfile", "compose"]),
    help="What named files and standard input are, where name and content do not say it.",
)
RENDER = click.option(
    "--render",
    is_flag=True,
    help="Evaluate Helm charts and kustomizations by what helm and kubectl, where these are installed, render them to.",
)
SKIP_OTHERS = click.option(
    "--skip-others",
    is_flag=True,
    help="Pass over named files that are no manifest, compose file or Dockerfile, as a pre-commit hook needs it.",
)
OFFLINE = click.option(
    "--offline",
    is_flag=True,
    help="Ask no registry: evaluate by the images that earlier runs have read; others are unknown.",
)
REGISTRY_CONFIG = click.option(
    "--registry-config",
    type=click.Path(path_type=Path),
    help="YAML file about registries, as for serve; without it your docker config and proxy are used.",
)
