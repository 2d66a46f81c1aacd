"""An image source that falls back to stored image identities where the registry does not answer.

What a registry has told answers while that registry is silent, and no refusal of its: that is about these very credentials.
What a node has shown answers then, too, also of an image that no registry has. Either answers only where it is complete for
the nodes of the Pod, and by tag only where all that the tag stood for lately is the same user. What is known to be on nodes,
and not who it is, is `local`.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Protocol

import msgspec

from webhook.caching import LRUCache
from webhook.errors import InvalidReference
from webhook.image import image_identity, reference
from webhook.image.config import Platform, normalise_platform
from webhook.image.identity_index import IdentityIndex
from webhook.image.image_identity import ImageIdentity
from webhook.image.reference import Reference
from webhook.image.source import Cause, Image, Images, PlatformImage, Query, Unknown
from webhook.registry.manifest import Descriptor, choose

DAY = timedelta(days=1)  # how exact `lastSeen` is

_STORED_LIMIT = 4 * 1024 * 1024  # bytes of images as they are stored, kept to be given again
_IMAGE = 2000  # bytes that one takes, roughly
_StoredKey = tuple[tuple[str, ...], str, str, frozenset[str]]

_SILENT: frozenset[Cause] = frozenset({"unreachable", "rateLimited", "pending"})
_REFUSED: frozenset[Cause] = frozenset({"notFound", "unauthorized"})
_FINAL: frozenset[Cause] = frozenset({"invalid", "local"})  # no gap in our knowledge that a memory could fill


def platforms(stored: Sequence[ImageIdentity], query: Query) -> tuple[PlatformImage, ...] | None:
    """The images that the query asks for, from what one source has stored of one digest; None where that is not all."""
    if not stored or query.accounts or query.survey or query.os != "linux":
        return None
    newest = max(stored, key=lambda each: each.spec.last_seen)
    if not newest.spec.platforms:
        return (image_identity.platform_image(newest.spec),)
    specs = {_platform(each.spec.platform): each.spec for each in stored}
    offered = [Descriptor("", text, 0, _platform(text)) for text in newest.spec.platforms]
    chosen = choose(offered, query.os, query.architectures).chosen
    found = tuple(image_identity.platform_image(specs[each.platform]) for each in chosen if each.platform in specs)
    return found if found and len(found) == len(chosen) else None


class IdentityStore(Protocol):
    """A store of image identities that outlives the registry client."""

    def of_digest(self, repository: str, digest: str) -> Sequence[ImageIdentity]:
        """The stored identities of a digest in a repository."""
        ...

    def of_reference(self, image: str) -> Sequence[ImageIdentity]:
        """The stored identities of every digest that a normalised reference stood for."""
        ...

    def save(self, requested: Reference, image: Image, query: Query) -> None:
        """Store what a registry has answered; never blocks."""
        ...


class FallbackSource(Images):
    """Implements `webhook.image.source.Images` over another, whose Unknowns it fills in from what is stored."""

    def __init__(self, images: Images, identities: IdentityIndex, clock: Callable[[], float] = time.time) -> None:
        self._images = images
        self._identities = identities
        self._clock = clock
        self._stored: LRUCache[_StoredKey, Sequence[Image | None]] = LRUCache(_STORED_LIMIT)  # of `_revision`
        self._revision = identities.revision

    async def find(self, query: Query) -> Image | Unknown:
        """The image, or who it was when it was last seen, or why it is not known."""
        found = await self._images.find(query)
        why = found if isinstance(found, Unknown) else _unread(found)
        if why is None or why.cause in _FINAL:
            return found
        try:
            requested = reference.parse(query.reference)
        except InvalidReference:
            return found
        if isinstance(found, Image):
            requested = msgspec.structs.replace(requested, digest=found.digest)
        recalled = self._recall(requested, query, why)
        if recalled is None and why.cause in _REFUSED and self._on_nodes(requested, query):
            return Unknown("local", f"nodes run it under that name, and the registry does not tell: {why.detail}")
        return recalled or found

    async def find_stored(self, references: Sequence[str], like: Query) -> Sequence[Image | None]:
        """The images as far as the source below has them, or identities are stored: the same until what is stored changes."""
        found = await self._images.find_stored(references, like)
        if any(found):
            return [each or self._find_stored(name, like) for name, each in zip(references, found, strict=True)]
        if self._revision != self._identities.revision:
            self._stored, self._revision = LRUCache(_STORED_LIMIT), self._identities.revision
        key = (tuple(references), like.namespace, like.os, like.architectures)
        stored = self._stored.get(key)
        if stored is None:
            stored = [self._find_stored(name, like) for name in references]
            self._stored.put(key, stored, sum(map(len, references)) + _IMAGE * (len(stored) - stored.count(None)))
        return stored

    def _find_stored(self, name: str, like: Query) -> Image | None:
        stored = self._identities.of_reference(reference.normalised(name))
        return self._recall(reference.parse(name), like, None) if stored else None

    def _on_nodes(self, requested: Reference, query: Query) -> bool:
        """Whether some node has run an image by that name, though not who that is everywhere."""
        stored = self._identities.of_reference(str(requested))
        return any(each.spec.source == "observed" for each in self._allowed(stored, query))

    def _recall(self, requested: Reference, query: Query, why: Unknown | None) -> Image | None:
        """The image as it is stored, with its age, in place of what is unknown; without where nobody was asked (None)."""
        digests = (
            {each.digest for each in self._allowed(self._identities.of_reference(str(requested)), query)}
            if requested.digest is None
            else {requested.digest}
        )
        stored = [
            each
            for digest in digests
            for each in self._allowed(self._identities.of_digest(requested.name, digest), query)
        ]
        for source in ("registry", "observed") if why is None or why.cause in _SILENT else ("observed",):
            found = self._newest([each for each in stored if each.spec.source == source], query)
            if found is not None:
                return msgspec.structs.replace(found, age=found.age if why else 0.0, fallback_reason=why)
        return None

    def _allowed(self, stored: Iterable[ImageIdentity], query: Query) -> Iterator[ImageIdentity]:
        """The stored identities that this query's namespace may use."""
        return (each for each in stored if not each.spec.namespaces or query.namespace in each.spec.namespaces)

    def _newest(self, stored: Sequence[ImageIdentity], query: Query) -> Image | None:
        """The image that was seen last; None where that could be one of several digests that are not the same user."""
        if not stored:
            return None
        last = max(stored, key=lambda each: each.spec.last_seen)
        recent = {each.digest for each in stored if last.spec.last_seen - each.spec.last_seen <= DAY}
        candidates = {platforms([each for each in stored if each.digest == digest], query) for digest in recent}
        found = candidates.pop()
        if candidates or found is None:
            return None
        age = max(0.0, self._clock() - last.spec.last_seen.timestamp())
        return Image(last.digest, found, last.spec.source, age)


def _unread(image: Image) -> Unknown | None:
    """Why a platform's accounts could not be read, though its USER needs them."""
    return next((each.accounts for each in image.platforms if isinstance(each.accounts, Unknown)), None)


def _platform(text: str) -> Platform:
    return normalise_platform(*text.split("/", 2))
