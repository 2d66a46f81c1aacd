"""A cache of admission responses, by the templates and the shapes of Pods.

What is not in a key cannot change a response, except that the key of a shape has no command line: a response that depends on one,
for it names a privileged program of its image, is kept for its template alone.
An entry is valid while the same policy applies, and while the source of images gives,
unasked, the very objects that the response was made from, and what is stored is the same.
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from webhook.admission.response import Encoded
from webhook.admission.shape import Shape, Template
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
        findings = [
            replace(
                each, detail=shape.named(each.detail), fix=shape.named(each.fix), container=shape.named(each.container)
            )
            for each in self.findings
        ]
        return replace(
            self,
            encoded=Encoded(shape.named(self.encoded.fields), shape.named(self.encoded.patch)),
            findings=tuple(findings),
            message=shape.named(self.message),
        )


class _Entry(msgspec.Struct, frozen=True, gc=False):
    """A response with the images that it was made from, and the programs that no command line of its shape may name."""

    response: CachedResponse
    lookups: tuple[tuple[Query, Image], ...]
    stored: tuple[StoredLookup, ...]
    programs: frozenset[str]


class ResponseCache:
    """The responses to the Pods that were last admitted, by the keys of their templates and of their shapes."""

    def __init__(self) -> None:
        self._answers: LRUCache[bytes, _Entry] = LRUCache(CACHE_LIMIT)

    async def find(
        self, template: Template, effective_policy: EffectivePolicy, images: Images, *, dry_run: bool
    ) -> CachedResponse | None:
        """The response to the last Pod of this template or of its shape, if it would be given again."""
        found = await self._valid(template.key, effective_policy, images, dry_run=dry_run)
        shape = template.shape if found is None else None
        if shape is not None:
            found = await self._valid(shape.key, effective_policy, images, dry_run=dry_run)
            if found is None or shape.may_execute(found.programs):
                return None
            found = replace(found, response=found.response.named(shape))
            self._put(template.key, found)
        return None if found is None else found.response

    def keep(self, template: Template, response: CachedResponse, recording: RecordingSource) -> None:
        """Keep the response to a Pod as it was evaluated, unless one of its images was unknown."""
        lookups = []
        for query, found in recording.lookups:
            if isinstance(found, Unknown):
                return
            lookups.append((replace(query, budget=0.0), found))
        shape = template.shape
        programs = recording.programs() if shape is not None and shape.lines else frozenset[str]()
        entry = _Entry(response, tuple(lookups), tuple(recording.stored), programs)
        if shape is None:
            self._put(template.key, entry)
        elif shape.may_execute(programs):
            self._put(template.key, replace(entry, response=response.named(shape)))
        else:
            self._put(shape.key, entry)

    def _put(self, key: bytes, entry: _Entry) -> None:
        encoded = entry.response.encoded
        size = len(encoded.fields) + len(encoded.patch)
        self._answers.put(key, entry, _OBJECT_OVERHEAD * (len(key) + 2 * size))

    async def _valid(
        self, key: bytes, effective_policy: EffectivePolicy, images: Images, *, dry_run: bool
    ) -> _Entry | None:
        """What is kept by a key, if it would come out again."""
        found = self._answers.get(key)
        if found is None or found.response.effective_policy != effective_policy:
            return None
        for query, image in found.lookups:
            again = query if query.dry_run == dry_run else replace(query, dry_run=dry_run)
            if await images.find(again) is not image:
                return None
        for references, like, stored in found.stored:
            again_stored = await images.find_stored(references, like)
            if again_stored is not stored and again_stored != stored:
                return None
        return found
