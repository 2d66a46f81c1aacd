"""Flags -> what to check, and the images to check it by: the same for every command that reads manifests."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from webhook.check.run import NotExamined, Request
from webhook.errors import InvalidSetting
from webhook.image import Images
from webhook.manifest.objects import KNOWN_TEMPLATE_KINDS, parse_template_kind
from webhook.policy import Documents


def request(
    paths: tuple[str, ...],
    policies: tuple[Path, ...],
    template_kinds: tuple[str, ...],
    target: str | None = None,
    build_args: tuple[str, ...] = (),
) -> Request:
    """What the flags ask for; `InvalidSetting` and `InvalidDocument` for those that cannot be used."""
    documents = Documents()
    if policies:
        from webhook.settings import load_documents

        documents = load_documents(policies)
    kinds = {**KNOWN_TEMPLATE_KINDS, **dict(map(parse_template_kind, template_kinds))}
    arguments = dict(_build_argument(text) for text in build_args)
    return Request(paths, documents, target, arguments, kinds)


def _build_argument(text: str) -> tuple[str, str]:
    """`NAME=VALUE`, or `NAME` with the environment's value, as docker build takes it."""
    name, equals, value = text.partition("=")
    if not name:
        raise InvalidSetting(f"--build-arg {text[:80]!a} has no name: write NAME=VALUE")
    return name, value if equals else os.environ.get(name, "")


class Source(msgspec.Struct, frozen=True):
    """Whom to ask about images: nobody at all, what is on disk, or the registries."""

    no_images: bool = False
    offline: bool = False
    insecure: tuple[str, ...] = ()
    registry_config: Path | None = None

    def check(self) -> None:
        """`InvalidSetting` where the flags contradict each other."""
        if self.no_images and self.offline:
            raise InvalidSetting("--no-images looks at no image, --offline at those on disk: give one of them")


@asynccontextmanager
async def images(source: Source) -> AsyncIterator[Images]:
    """The image source that the flags ask for, with the user's own login; closed at the end."""
    source.check()
    if source.no_images:
        yield NotExamined()
        return
    from webhook.workstation.remembered import Remembered

    if source.offline:
        yield Remembered(None)
        return
    from webhook.workstation.desk import registry_client

    client = registry_client(source.insecure, source.registry_config)
    try:
        yield Remembered(client)
    finally:
        await client.aclose()
