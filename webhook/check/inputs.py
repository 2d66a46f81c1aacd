"""Flags -> what to check, and the images to check it by: the same for every command that reads manifests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from webhook.check.run import NotExamined, Request
from webhook.image import Images
from webhook.manifest.objects import KNOWN_TEMPLATE_KINDS, parse_template_kind
from webhook.policy import Documents


def request(paths: tuple[str, ...], policies: tuple[Path, ...], template_kinds: tuple[str, ...]) -> Request:
    """What the flags ask for; `InvalidSetting` and `InvalidDocument` for those that cannot be used."""
    documents = Documents()
    if policies:
        from webhook.settings import load_documents

        documents = load_documents(policies)
    kinds = {**KNOWN_TEMPLATE_KINDS, **dict(map(parse_template_kind, template_kinds))}
    return Request(paths, documents, kinds)


@asynccontextmanager
async def images(no_images: bool, insecure: tuple[str, ...]) -> AsyncIterator[Images]:
    """The registries with the user's own login, or none of them; closed at the end."""
    if no_images:
        yield NotExamined()
        return
    from webhook.workstation.desk import registry_client

    client = registry_client(insecure)
    try:
        yield client
    finally:
        await client.aclose()
