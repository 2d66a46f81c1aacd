"""A cache of admission responses, by the shapes of Pods.

What is not in the key of a shape cannot change a response, except a command line that names a privileged program of its image: a
Pod with one is evaluated each time. An entry is valid while the same policy applies, and while the source of images gives,
unasked, the very objects that the response was made from, and what is stored is the same.
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from webhook.admission.response import Encoded
from webhook.admission.shape import Shape
from webhook.caching import LRUCache
from webhook.evaluation import privileges
from webhook.evaluation.finding import Finding
from webhook.image.source import Image, Images, Query, Unknown
from webhook.policy.selection import EffectivePolicy

CACHE_LIMIT = 8 * 1024 * 1024  # bytes
_OBJECT_OVERHEAD = 4  # what Python's objects take, against what they say

StoredLookup = tuple[Sequence[str], Query, Sequence[Image | None]]


class RecordingSource(Images):
    """The images of one review, and what was answered about them. A dry run leaves no trace: the webhooks promise that."""

    def __init__(self, images: Images, *, dry_run: bool) -> None:
        self._images = images
        self._dry_run = dry_run
        self.lookups: list[tuple[Query, Image | Unknown]] = []
        self.stored: list[StoredLookup] = []

    async def find(self, query: Query) -> Image | Unknown:
        """As `webhook.image.source.Images`."""
        if self._dry_run:
            query = replace(query, dry_run=True)
        found = await self._images.find(query)
        self.lookups.append((query, found))
        return found

    async def find_stored(self, references: Sequence[str], like: Query) -> Sequence[Image | None]:
        """As `webhook.image.source.Images`."""
        found = await self._images.find_stored(references, like)
        self.stored.append((references, like, found))
        return found

    def programs(self) -> frozenset[str]:
        """The names of programs in a command line on which the privileges of one of the images depend."""
        images = [found for _, found in self.lookups] + [each for _, _, found in self.stored for each in found]
        return frozenset().union(*[privileges.relevant(each) for each in images if isinstance(each, Image)])


class CachedResponse(msgspec.Struct, frozen=True, gc=False):
    """A response without its uid, and what is counted and logged of it."""

    encoded: Encoded
    decision: str
    effective_policy: EffectivePolicy
    findings: tuple[Finding, ...]
    message: str
    operations: int
    exempted: int = 0

    def named(self, shape: Shape) -> "CachedResponse":
        """The response with the names of a Pod's containers."""
        return replace(
            self,
            encoded=Encoded(shape.named(self.encoded.fields), shape.named(self.encoded.patch)),
            findings=tuple(
                [
                    replace(
                        each,
                        detail=shape.named(each.detail),
                        fix=shape.named(each.fix),
                        container=shape.named(each.container),
                    )
                    for each in self.findings
                ]
            ),
            message=shape.named(self.message),
        )


class _Entry(msgspec.Struct, frozen=True, gc=False):
    """A response with the images that it was made from, and the programs that no command line of its shape may name."""

    response: CachedResponse
    lookups: tuple[tuple[Query, Image], ...]
    stored: tuple[StoredLookup, ...]
    programs: frozenset[str]


class ResponseCache:
    """The responses to the Pods that were last admitted, by the keys of their shapes."""

    def __init__(self) -> None:
        self._answers: LRUCache[bytes, _Entry] = LRUCache(CACHE_LIMIT)

    async def find(
        self, shape: Shape, effective_policy: EffectivePolicy, images: Images, *, dry_run: bool
    ) -> CachedResponse | None:
        """The response to the last Pod of this shape, if it would be given again."""
        found = self._answers.get(shape.key)
        if found is None or found.response.effective_policy != effective_policy or shape.may_execute(found.programs):
            return None
        for query, image in found.lookups:
            again = query if query.dry_run == dry_run else replace(query, dry_run=dry_run)
            if await images.find(again) is not image:
                return None
        for references, like, stored in found.stored:
            again_stored = await images.find_stored(references, like)
            if again_stored is not stored and again_stored != stored:
                return None
        return found.response

    def keep(self, shape: Shape, response: CachedResponse, recording: RecordingSource) -> None:
        """Keep a response, unless one of its images was unknown, or a command line names a privileged program of one."""
        lookups = []
        for query, found in recording.lookups:
            if isinstance(found, Unknown):
                return
            lookups.append((replace(query, budget=0.0), found))
        programs = recording.programs() if shape.lines else frozenset()
        if shape.may_execute(programs):
            return
        entry = _Entry(response, tuple(lookups), tuple(recording.stored), programs)
        size = len(response.encoded.fields) + len(response.encoded.patch)
        self._answers.put(shape.key, entry, _OBJECT_OVERHEAD * (len(shape.key) + 2 * size))
