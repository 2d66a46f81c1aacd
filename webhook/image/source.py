"""An image source: a query for an image, and its answer or the reason why there is none. Every source implements `Images`."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Literal, Protocol, TypeVar

import msgspec

from webhook.image.config import Config, Platform
from webhook.image.filesystem import Survey
from webhook.image.passwd import AccountFiles, ResolvedIds

T = TypeVar("T")

Cause = Literal["unauthorized", "notFound", "unreachable", "rateLimited", "invalid", "tooLarge", "pending", "local"]


class Unknown(msgspec.Struct, frozen=True, gc=False):
    """The reason why an image could not be read: a value, not an exception. `detail` is one line for a person, without secrets."""

    cause: Cause
    detail: str


class PlatformImage(msgspec.Struct, frozen=True, cache_hash=True, gc=False):
    """One platform's image. `accounts` is None where nobody needed them, Unknown where they could not be read.

    A USER name needs them wherever the query's `os` is linux, even where the config claims another platform; Numbers
    stand for them where somebody else has read them, or knows the answer. `size` is the bytes that pulling it
    transfers, 0 where nobody said; `survey` is None where nobody asked for it.
    """

    config: Config
    digest: str = ""
    accounts: AccountFiles | ResolvedIds | Unknown | None = None
    size: int = 0
    survey: Survey | Unknown | None = None

    @property
    def platform(self) -> Platform:
        """The platform that the image is built for, as its own config says."""
        return self.config.platform


class Image(msgspec.Struct, frozen=True, cache_hash=True, weakref=True):
    """An image reference's answer: every platform that was asked for and exists.

    `digest` is what the reference resolves to; `age` is the seconds since the registry last confirmed that, or since it
    was last seen on a node, 0 when fresh; `source` says where it is from, and `fallback_reason` why not from the registry.
    `index` holds every platform that the digest's index offers for the query's os, in order; it is empty for a single
    manifest, and None where nobody says. `private` is an answer that took the Pod's own pull secrets.
    """

    digest: str
    platforms: tuple[PlatformImage, ...]
    source: Literal["registry", "observed", "known"] = "registry"
    age: float = 0.0
    fallback_reason: Unknown | None = None
    index: tuple[Platform, ...] | None = None
    private: bool = False


class Query(msgspec.Struct, frozen=True, gc=False):
    """A question to an image source.

    `os` and `architectures` narrow the platforms (empty architectures: every one); `accounts` asks for passwd and
    group, also where the USER is a number, or passwd alone says all that is injected; `survey` for a look at every layer,
    which reads the whole image. `budget` is how many seconds the caller waits before it takes Unknown("pending"); 0 asks
    what is already known and queues the rest. `service_account` is whose pull secrets apply because the spec has none: a
    template's, for a Pod was given them when it was made. Of what a `dry_run` learns nothing is written to the cluster.
    """

    reference: str
    os: str = "linux"
    architectures: frozenset[str] = frozenset()
    namespace: str = ""
    pull_secrets: tuple[str, ...] = ()
    service_account: str = ""
    always_pull: bool = False
    accounts: bool = False
    survey: bool = False
    dry_run: bool = False
    budget: float = 3.0


class Images(Protocol):
    """A source of images: the registry client, the command line's archives, a test's table. Its classes name it as their base."""

    async def find(self, query: Query) -> Image | Unknown:
        """The image, or why it is not known; never raises for what an image, registry or network did."""
        ...

    async def find_stored(self, references: Sequence[str], like: Query) -> Sequence[Image | None]:  # noqa: ARG002  # of none
        """The images as far as they are stored already, without a look-up; `like` is a query for any one of them."""
        return [None] * len(references)


async def together(lookups: Sequence[Awaitable[T]]) -> list[T]:
    """The outcomes of look-ups that run at once, in order; a single one has no task, which would cost as much as its answer."""
    return [await lookups[0]] if len(lookups) == 1 else await asyncio.gather(*lookups)


async def find_each(images: Images, references: Sequence[str], like: Query) -> list[Image | None]:
    """The images as `find_stored` gives them, of a source that looks them up all the same."""
    found = await together([images.find(msgspec.structs.replace(like, reference=each)) for each in references])
    return [each if isinstance(each, Image) else None for each in found]


NOT_EXAMINED = Unknown("local", "images are not examined")


class NotExamined(Images):
    """The image source of `--no-images`: it reads no image. Its answer is counted and never reported as a finding."""

    async def find(self, query: Query) -> Image | Unknown:  # noqa: ARG002  # whatever is asked
        """Always `NOT_EXAMINED`."""
        return NOT_EXAMINED
