"""The image source that the flags ask for: none, the cache on disk, or the registries."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from webhook.errors import InvalidSetting
from webhook.image.source import Images, NotExamined

if TYPE_CHECKING:
    from webhook.registry.auth.keychain import PullSecrets


class ImageSource(msgspec.Struct, frozen=True):
    """The choice of an image source by flags."""

    no_images: bool = False
    offline: bool = False
    insecure: tuple[str, ...] = ()
    registry_config: Path | None = None

    def check(self) -> None:
        """`InvalidSetting` where the flags contradict each other."""
        if self.no_images and self.offline:
            raise InvalidSetting("--no-images looks at no image, --offline at those on disk: give one of them")


@asynccontextmanager
async def images(source: ImageSource, pull_secrets: "PullSecrets | None" = None) -> AsyncIterator[Images]:
    """The image source that the flags ask for, with the user's own login; closed at the end.

    `pull_secrets` are those of the Pods, where there is a cluster that has some.
    """
    source.check()
    if source.no_images:
        yield NotExamined()
        return
    from webhook.cli.disk_cache import DiskCache

    if source.offline:
        yield DiskCache(None)
        return
    from webhook.cli.registry_client import registry_client

    client = registry_client(source.insecure, source.registry_config, pull_secrets=pull_secrets)
    try:
        yield DiskCache(client)
    finally:
        await client.aclose()
