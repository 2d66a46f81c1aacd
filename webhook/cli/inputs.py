"""The inputs that flags ask for, the same for every command that reads manifests."""

import os
from pathlib import Path

import msgspec

from webhook.check.files import Selection
from webhook.check.manifest.objects import KNOWN_TEMPLATE_KINDS, parse_template_kind
from webhook.check.run import Request
from webhook.cli.configuration import Configuration
from webhook.errors import InvalidSetting
from webhook.policy.types import Documents


def request(
    paths: tuple[str, ...],
    policies: tuple[Path, ...],
    template_kinds: tuple[str, ...],
    target: str | None = None,
    build_args: tuple[str, ...] = (),
    selection: Selection | None = None,
    configuration: tuple[Configuration, Path] | None = None,
    *,
    suggest: bool = False,
    render: bool = False,
) -> Request:
    """The request that the flags make; `InvalidSetting` and `InvalidDocument` for those that cannot be used."""
    documents, selection = Documents(), selection or Selection()
    if configuration is not None:
        settings, folder = configuration
        policies = policies or tuple(folder / name for name in settings.policy)
        selection = msgspec.structs.replace(selection, exclude=(*settings.exclude, *selection.exclude))
    if policies:
        from webhook.cli.policy_files import load_documents

        documents = load_documents(policies)
    kinds = {**KNOWN_TEMPLATE_KINDS, **dict(map(parse_template_kind, template_kinds))}
    arguments = dict(_build_argument(text) for text in build_args)
    return Request(paths, documents, target, arguments, kinds, selection, suggest, render)


def _build_argument(text: str) -> tuple[str, str]:
    """`NAME=VALUE`, or `NAME` with the environment's value, as docker build takes it."""
    name, equals, value = text.partition("=")
    if not name:
        raise InvalidSetting(f"--build-arg {text[:80]!a} has no name: write NAME=VALUE")
    return name, value if equals else os.environ.get(name, "")
