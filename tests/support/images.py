"""Images from a few words, and a table of them that answers as a registry client would."""

from collections.abc import Mapping, Sequence

import msgspec

from webhook.errors import InvalidReference
from webhook.image import reference
from webhook.image.config import Config, normalise_platform, parse_user
from webhook.image.filesystem import Directory, StepDown, Survey
from webhook.image.passwd import AccountFiles
from webhook.image.source import Cause, Image, Images, PlatformImage, Query, Unknown

PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"
DIGEST = "sha256:" + "ab" * 32


def platform_image(
    user: str = "",
    passwd: str | bytes | None = PASSWD,
    group: str | bytes | None = None,
    *,
    platform: str = "linux/amd64",
    unknown: Cause | None = None,
    survey: Survey | None = None,
) -> PlatformImage:
    """One platform's image; `unknown` is why its accounts could not be read."""
    os, _, rest = platform.partition("/")
    architecture, _, variant = rest.partition("/")
    config = Config(parse_user(user), normalise_platform(os, architecture, variant))
    accounts = Unknown(unknown, "a test says so") if unknown else AccountFiles(_bytes(passwd), _bytes(group))
    return PlatformImage(config, DIGEST, accounts, survey=survey)


def image(user: str = "", passwd: str | bytes | None = PASSWD, group: str | bytes | None = None) -> Image:
    """An image for linux/amd64."""
    return Image(DIGEST, (platform_image(user, passwd, group),))


def multi(*platforms: PlatformImage) -> Image:
    """An image with several platforms."""
    return Image(DIGEST, platforms)


def redis() -> Image:
    """A root image that steps down to its own account."""
    passwd = "root:x:0:0::/:/bin/sh\nredis:x:999:1000::/:/bin/sh\n"
    made = platform_image("", passwd)
    survey = Survey(
        None,
        (Directory("/data", "volume", present=True, uid=999, gid=1000),),
        (),
        (),
        (StepDown("/docker-entrypoint.sh", "gosu", "redis"),),
    )
    config = msgspec.structs.replace(made.config, volumes=("/data",))
    return multi(msgspec.structs.replace(made, survey=survey, config=config))


def unknown(cause: Cause) -> Unknown:
    """An image that could not be read."""
    return Unknown(cause, "a test says so")


class Table(Images):
    """An image source: normalised reference -> image. What is not in it is not found; every query is kept."""

    def __init__(self, images: Mapping[str, Image | Unknown]) -> None:
        self.images = {str(reference.parse(text)): found for text, found in images.items()}
        self.asked: list[Query] = []
        self.asked_stored: list[str] = []
        self.liked: list[Query] = []
        self.resolved: list[Query] = []

    async def resolve(self, query: Query) -> str | None:
        """As `webhook.cli.disk_cache.Registries`."""
        self.resolved.append(query)
        found = self.images.get(str(reference.parse(query.reference)))
        return found.digest if isinstance(found, Image) else None

    async def find(self, query: Query) -> Image | Unknown:
        """As `webhook.image.source.Images`."""
        self.asked.append(query)
        return self._image(query.reference)

    async def find_stored(self, references: Sequence[str], like: Query) -> Sequence[Image | None]:
        """All that is in the table is stored."""
        self.asked_stored += references
        self.liked.append(like)
        found = [self._image(each) for each in references]
        return [each if isinstance(each, Image) else None for each in found]

    def _image(self, name: str) -> Image | Unknown:
        try:
            name = str(reference.parse(name))
        except InvalidReference as error:
            return Unknown("invalid", str(error))
        return self.images.get(name, Unknown("notFound", "the table does not have it"))


def _bytes(text: str | bytes | None) -> bytes | None:
    return text.encode() if isinstance(text, str) else text
