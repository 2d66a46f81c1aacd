"""Options that several commands share, so that they read the same everywhere."""

from pathlib import Path

import click

POLICY = click.option(
    "--policy",
    "policies",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File with NonRootPolicy and NonRootException documents; repeatable.",
)
POLICY_INSTEAD = click.option(
    "--policy",
    "policies",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File with NonRootPolicy and NonRootException documents to go by, instead of the cluster's; repeatable.",
)
NAMESPACES = click.option(
    "-n", "--namespace", "namespaces", multiple=True, help="Only this namespace; repeatable. All where none is given."
)
CONTEXT = click.option(
    "--context", default="", help="The context of the kubeconfig to use, instead of the current one."
)
INSECURE_REGISTRY = click.option(
    "--insecure-registry",
    "insecure",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Allow plain HTTP and a private or loopback address for this registry alone; repeatable.",
)
NO_IMAGES = click.option(
    "--no-images", is_flag=True, help="Ask no registry: judge by the manifests alone, and count what that leaves open."
)
TEMPLATE_KINDS = click.option(
    "--template-kind",
    "template_kinds",
    multiple=True,
    metavar="GROUP/KIND=POINTER",
    help="A custom kind that carries a Pod template, such as example.com/Worker=/spec/template; repeatable.",
)
OFFLINE = click.option(
    "--offline",
    is_flag=True,
    help="Ask no registry: judge by the images that earlier runs have read; others are unknown.",
)
REGISTRY_CONFIG = click.option(
    "--registry-config",
    type=click.Path(path_type=Path),
    help="YAML file about registries, as for serve; without it your docker config and proxy are used.",
)
