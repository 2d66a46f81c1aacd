"""A cache of admission responses for Pods of one template.

Pods of a template differ in their own name and in that of the token volume that the API server gives each. `cacheable` leaves
both out. Its result is the Pod that is evaluated, and the key is that Pod encoded whole: what is not in the key cannot change
a response. An entry is valid while the same policy applies, and while the source of images gives, unasked, the very objects
that the response was made from, and what is stored is the same.
"""

from collections.abc import Sequence
from operator import attrgetter

import msgspec
from msgspec.structs import replace

from webhook.caching import LRUCache
from webhook.evaluation.finding import Finding
from webhook.image.source import Image, Images, Query, Unknown
from webhook.policy.selection import EffectivePolicy
from webhook.workload.annotations import ANNOTATION, OPENSHIFT_SCC
from webhook.workload.podspec import Container, FileModes, Metadata, Present, Volume
from webhook.workload.workload import Workload

CACHE_LIMIT = 8 * 1024 * 1024  # bytes
_OBJECT_OVERHEAD = 4  # what Python's objects take, against what they say

_APART = {"name", "projected", "secret", "config_map", "empty_dir"}
_KIND_OF_VOLUME = attrgetter(*(each for each in Volume.__struct_fields__ if each not in _APART))
_PLAIN = _KIND_OF_VOLUME(Volume())
_TOKEN = (Volume(projected=Present()),)
# kubernetes plugin/pkg/admission/serviceaccount/admission.go (DefaultAPITokenMountPath)
_ACCOUNT_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_NO_METADATA = Metadata()
_ANNOTATIONS = (ANNOTATION, OPENSHIFT_SCC)
_ENCODER = msgspec.msgpack.Encoder(order="deterministic")


def key_of(hook: str, namespace: str, pod: Workload) -> bytes:
    """The inputs of a response beside the effective policy and the images, encoded: a webhook, a namespace, a `cacheable` Pod.

    Encoding a large Pod costs less than hashing and comparing all its objects.
    """
    return _ENCODER.encode((hook, namespace, pod))


def cacheable(workload: Workload) -> Workload | None:
    """The Pod without what differs between Pods of one template, equal for all of them.

    Of its metadata only the annotations that are read are left, of its volumes whether one is projected and, where several users
    may write them, its emptyDirs; of its mounts all but that of the API server's token. None where findings are about other
    volumes: their permissions.
    """
    spec, annotations = workload.spec, workload.metadata.annotations
    projected = False
    shared: list[Volume] = []
    for volume in spec.volumes or ():
        if volume.empty_dir is not None:
            shared.append(volume)
        if _KIND_OF_VOLUME(volume) != _PLAIN or _private(volume.secret) or _private(volume.config_map):
            return None
        projected = projected or volume.projected is not None
    if shared and _one_user(workload):
        shared = []
    return Workload(
        workload.kind,
        _NO_METADATA if annotations is None else _read(annotations),
        replace(
            spec,
            containers=_without_token(spec.containers),
            init_containers=_without_token(spec.init_containers),
            ephemeral_containers=_without_token(spec.ephemeral_containers),
            volumes=(*shared, *_TOKEN) if projected else tuple(shared) or None,
        ),
        workload.pointer,
    )


def _read(annotations: dict[str, str]) -> Metadata:
    return Metadata(annotations={name: annotations[name] for name in _ANNOTATIONS if name in annotations})


def _one_user(workload: Workload) -> bool:
    """Whether the spec gives every container the same uid, so that no other user writes what one of them has written."""
    spec, uid = workload.spec, workload.context.run_as_user
    if uid is None:
        return False
    for containers in (spec.containers, spec.init_containers, spec.ephemeral_containers):
        for each in containers or ():
            own = each.security_context
            if own is not None and own.run_as_user is not None and own.run_as_user != uid:
                return False
    return True


def _without_token(containers: tuple[Container, ...] | None) -> tuple[Container, ...] | None:
    """The containers without the mount that the API server adds last, by a name of its own."""
    if not containers:
        return containers
    return tuple(
        [
            replace(each, volume_mounts=mounts[:-1] or None)
            if (mounts := each.volume_mounts) and mounts[-1].mount_path == _ACCOUNT_MOUNT
            else each
            for each in containers
        ]
    )


def _private(files: FileModes | None) -> bool:
    """Whether some file is not everybody's to read, so that who mounts it matters."""
    return files is not None and not files.strictest & 0o004


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


class CachedResponse(msgspec.Struct, frozen=True, gc=False):
    """A response without its uid, and what is counted and logged of it."""

    rest: bytes
    decision: str
    effective_policy: EffectivePolicy
    findings: tuple[Finding, ...]
    message: str
    operations: int
    exempted: int = 0


class _Entry(msgspec.Struct, frozen=True, gc=False):
    """A response with the images that it was made from."""

    response: CachedResponse
    lookups: tuple[tuple[Query, Image], ...]
    stored: tuple[StoredLookup, ...]


class ResponseCache:
    """The responses to the Pods that were last admitted, by their keys."""

    def __init__(self) -> None:
        self._answers: LRUCache[bytes, _Entry] = LRUCache(CACHE_LIMIT)

    async def find(
        self, key: bytes, effective_policy: EffectivePolicy, images: Images, *, dry_run: bool
    ) -> CachedResponse | None:
        """The response to the last Pod with this key, if it would be given again."""
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
        return found.response

    def keep(self, key: bytes, response: CachedResponse, recording: RecordingSource) -> None:
        """Keep a response, unless one of its images was unknown."""
        lookups = []
        for query, found in recording.lookups:
            if isinstance(found, Unknown):
                return
            lookups.append((replace(query, budget=0.0), found))
        weight = _OBJECT_OVERHEAD * (len(key) + 2 * len(response.rest))
        self._answers.put(key, _Entry(response, tuple(lookups), tuple(recording.stored)), weight)
