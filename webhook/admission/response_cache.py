"""A cache of admission responses, by the shapes of Pods.

What is not in the key of a shape cannot change a response, but for a command line that names a privileged program of its image.
An entry is valid while the same policy applies, and while the source of images gives, unasked, the very objects that the
response was made from, and what is stored is the same.
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from webhook.admission import shape as shape_
from webhook.admission.response import Encoded
from webhook.admission.shape import Parts, Shape
from webhook.caching import LRUCache
from webhook.evaluation import privileges
from webhook.evaluation.finding import Finding
from webhook.image import start
from webhook.image.source import Image, Images, Query, Unknown
from webhook.policy.selection import EffectivePolicy

CACHE_LIMIT = 8 * 1024 * 1024  # bytes
SEEN_LIMIT = 1024 * 1024  # bytes of the shapes that were seen, some 5,000
_OBJECT_OVERHEAD = 4  # what Python's objects take, against what they say
_OBJECT = 25  # what a short text takes beside, against that
_LOOKUP = 120  # what a query takes, against that

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
        """The privileged programs of these images, by the names that a command line may have."""
        images = [found for _, found in self.lookups] + [each for _, _, found in self.stored for each in found]
        return frozenset[str]().union(*[privileges.relevant(each) for each in images if isinstance(each, Image)])


class CachedResponse(msgspec.Struct, frozen=True, gc=False):
    """A response without its uid, and what is counted and logged of it."""

    encoded: Encoded
    decision: str
    effective_policy: EffectivePolicy
    findings: tuple[Finding, ...]
    message: str
    operations: int
    exempted: int = 0

    def parts(self, names: tuple[str, ...]) -> tuple[Parts, ...]:
        """Its texts, taken apart where they have these names."""
        texts = [self.encoded.fields, self.encoded.patch, self.message]
        for each in self.findings:
            texts += (each.detail, each.fix, each.container)
        return tuple([shape_.parts(each, names) for each in texts])

    def named(self, names: tuple[str, ...], parts: tuple[Parts, ...] = ()) -> "CachedResponse":
        """The response with the names of a Pod's containers; `parts` are its texts, if they have been taken apart before."""
        if not names:
            return self
        texts = [shape_.named(each, names) for each in parts or self.parts(names)]
        findings = self.findings
        if findings:
            findings = tuple(
                [
                    replace(each, detail=texts[at], fix=texts[at + 1], container=texts[at + 2])
                    for at, each in zip(range(3, len(texts), 3), findings, strict=True)
                ]
            )
        return replace(self, encoded=Encoded(texts[0], texts[1]), findings=findings, message=texts[2])


class _Entry(msgspec.Struct, gc=False):
    """A response as it was evaluated, the images that it was made from, and the command lines that it was made for.

    Where there are any, `programs` are the privileged ones of the images. Most Pods of a shape are of one template: `named` is the
    response with the `names` of the last one, and `parts` are its texts, taken apart when the first one is found.
    """

    response: CachedResponse
    lookups: tuple[tuple[Query, Image], ...]
    stored: tuple[StoredLookup, ...]
    lines: list[tuple[str, ...]]
    programs: frozenset[str]
    names: tuple[str, ...] = ()
    parts: tuple[Parts, ...] = ()
    named: CachedResponse | None = None

    def is_for(self, lines: list[tuple[str, ...]]) -> bool:
        """Whether it would be the same with these command lines: they are its own, or neither name a privileged program."""
        return self.lines == lines or all(
            self.programs.isdisjoint(start.programs(line)) for line in (*self.lines, *lines)
        )


class ResponseCache:
    """The responses to the Pods that were last admitted, by the keys of their shapes."""

    def __init__(self) -> None:
        self._answers: LRUCache[bytes, _Entry] = LRUCache(CACHE_LIMIT)
        self._seen: LRUCache[int, bool] = LRUCache(SEEN_LIMIT)

    def has_seen(self, shape: Shape) -> bool:
        """Whether a Pod of this shape came before: the response to one that is like no other is not worth keeping."""
        mark = hash(shape.key)
        if self._seen.get(mark):
            return True
        self._seen.put(mark, True)
        return False

    async def find(
        self, shape: Shape, effective_policy: EffectivePolicy, images: Images, *, dry_run: bool
    ) -> CachedResponse | None:
        """The response to the last Pod of this shape, with the names of this one, if it would be given again."""
        found = self._answers.get(shape.key)
        if found is None or found.response.effective_policy != effective_policy:
            return None
        if found.programs and not found.is_for(shape.lines):
            return None
        for query, image in found.lookups:
            again = query if query.dry_run == dry_run else replace(query, dry_run=dry_run)
            if await images.find(again) is not image:
                return None
        for references, like, stored in found.stored:
            again_stored = await images.find_stored(references, like)
            if again_stored is not stored and again_stored != stored:
                return None
        if found.named is None or found.names != shape.names:
            found.parts = found.parts or found.response.parts(shape.names)
            found.names, found.named = shape.names, found.response.named(shape.names, found.parts)
        return found.named

    def keep(self, shape: Shape, response: CachedResponse, recording: RecordingSource) -> None:
        """Keep the response to a Pod as it was evaluated, unless one of its images was unknown."""
        lookups = []
        for query, found in recording.lookups:
            if isinstance(found, Unknown):
                return
            lookups.append((replace(query, budget=0.0), found))
        lines = shape.lines
        programs = recording.programs() if lines else frozenset[str]()
        entry = _Entry(response, tuple(lookups), tuple(recording.stored), lines, programs)
        size = len(response.encoded.fields) + len(response.encoded.patch)
        words = [*programs, *(word for line in lines for word in line)]
        weight = len(shape.key) + _LOOKUP * len(lookups) + 3 * size + sum([len(word) + _OBJECT for word in words])
        self._answers.put(shape.key, entry, _OBJECT_OVERHEAD * weight)
