"""The content store: manifests, configs and accounts files by digest, fetched once and kept.

Manifests, indexes and configs are remembered per repository: whoever may read a digest in one repository has not shown
that he may read it in another, and a registry of his own could claim to have it. Layers are remembered by digest alone,
because to name one with its diff_id is to have read the config that does.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from webhook.caching import LRUCache, SingleFlight
from webhook.errors import MalformedImage
from webhook.image.config import Config, Platform, parse_config
from webhook.image.filesystem import Survey
from webhook.image.image_identity import ImageIdentity
from webhook.image.passwd import AccountFiles
from webhook.image.source import PlatformImage, Query, Unknown
from webhook.registry import fallback
from webhook.registry.fallback import IdentityStore
from webhook.registry.layers.reader import Layers
from webhook.registry.manifest import Descriptor, Index, Manifest, check_config, choose, parse_document, runs
from webhook.registry.repository import Repository
from webhook.registry.settings import RegistrySettings
from webhook.registry.transport.messages import RegistryError
from webhook.registry.transport.stats import RegistryStats

T = TypeVar("T")

_NESTED = 16  # indexes within one
_DEPTH = 3
_AT_ONCE = 4  # platforms of one image
_INDEX_ENTRIES = 1000

Document = Manifest | Index | Config


class ContentStore:
    """The caches of documents and layers, and how they are filled."""

    def __init__(
        self, settings: RegistrySettings, store: IdentityStore | None = None, stats: RegistryStats | None = None
    ) -> None:
        self._store = store
        self._stats = stats or RegistryStats()
        self._limits = settings.limits
        self._documents: LRUCache[tuple[str, str], Document] = LRUCache(settings.cache_limits.documents)
        self._flights = SingleFlight()
        self._layers = Layers(settings, self._stats)

    def knows(self, repository: str, digest: str) -> bool:
        """Whether that repository's manifest or index has been read, now or in an earlier life."""
        return self._documents.get((repository, digest)) is not None or bool(self._stored(repository, digest))

    def keep(self, repository: str, digest: str, raw: bytes, media_type: str) -> Manifest | Index:
        """Read and remember a manifest or index whose digest is verified; `MalformedImage` where it is none."""
        document = parse_document(raw, media_type)
        self._documents.put((repository, digest), document, 2 * len(raw))
        return document

    async def images(
        self, repository: Repository, digest: str, query: Query
    ) -> tuple[tuple[PlatformImage, ...], tuple[Platform, ...] | None]:
        """Every platform's image that the query asks for, and the index's platforms as in `webhook.image.source.Image`.

        Raises `MalformedImage`, and `RegistryError`: "notFound" where the index has nothing for these platforms.
        Accounts that cannot be read are an Unknown in the one platform's image.
        """
        if self._store is not None:
            stored = fallback.platforms(self._stored(repository.name, digest), query)
            self._stats.observe("identity", hit=stored is not None)
            if stored is not None:
                return stored, None
        document = await self._manifest(repository, digest)
        if isinstance(document, Manifest):
            return (await self._image(repository, digest, document, query),), ()
        entries = await self._flatten(repository, document, query.os)
        choice = choose(entries, query.os, query.architectures)
        if len(choice.chosen) + len(choice.undecided) > self._limits.platforms:
            raise RegistryError("tooLarge", f"the index has more than {self._limits.platforms} platforms to look at")
        chosen = await _together(choice.chosen, lambda entry: self._entry(repository, entry, query))
        found = [image for image in chosen if image is not None]
        every = choose(entries, query.os, frozenset())
        honest = all(
            image is not None and entry.platform == image.platform
            for entry, image in zip(choice.chosen, chosen, strict=True)
        )
        index = tuple(entry.platform for entry in every.chosen if entry.platform) if honest else None
        covered = {each.platform for each in found}
        for entry in choice.undecided:
            image = await self._undecided(repository, entry, query)
            if image is not None and image.platform not in covered:
                covered.add(image.platform)
                found.append(image)
        if not found:
            wanted = ", ".join(f"{query.os}/{each}" for each in sorted(query.architectures)) or query.os
            offered = ", ".join(sorted({str(each.platform) for each in entries if each.platform})[:20])
            detail = "the registry lacks the image that the index has" if choice.chosen else "the index has no image"
            raise RegistryError("notFound", f"{detail} for {wanted}; it has {offered or 'none'}")
        return tuple(found), None if every.undecided else index

    async def aclose(self) -> None:
        """Stop what is being fetched."""
        await self._flights.aclose()
        await self._layers.aclose()

    def _stored(self, repository: str, digest: str) -> list[ImageIdentity]:
        """The identities that a registry gave before the last restart: the digest proves them, a node's word would not."""
        stored = self._store.of_digest(repository, digest) if self._store else ()
        return [each for each in stored if each.spec.source == "registry"]

    async def _entry(self, repository: Repository, entry: Descriptor, query: Query) -> PlatformImage | None:
        manifest = await self._child(repository, entry)
        return None if manifest is None else await self._image(repository, entry.digest, manifest, query)

    async def _undecided(self, repository: Repository, entry: Descriptor, query: Query) -> PlatformImage | None:
        """An entry without a platform counts by its config's; one that is no image, such as a signature, not at all."""
        document = await self._child(repository, entry)
        if document is None:
            return None
        try:
            check_config(document.config)
        except MalformedImage:
            return None
        config = await self._config(repository, document.config)
        if not runs(config.platform, query.os, query.architectures):
            return None
        return await self._image(repository, entry.digest, document, query)

    async def _child(self, repository: Repository, entry: Descriptor) -> Manifest | None:
        """The manifest of an index's entry; None for a platform that was not copied with the index, as by many mirrors.

        A node that runs this platform cannot pull it, and the others never ask for it: containerd/containerd
        core/images/image.go (Manifest) reads the chosen entry alone.
        """
        try:
            document = await self._manifest(repository, entry.digest, entry)
        except RegistryError as error:
            if error.cause != "notFound":
                raise
            return None
        if isinstance(document, Index):
            raise MalformedImage(f"{entry.digest} is an index where its own index promises a manifest")
        return document

    async def _image(self, repository: Repository, digest: str, manifest: Manifest, query: Query) -> PlatformImage:
        check_config(manifest.config)
        config = await self._config(repository, manifest.config)
        size = manifest.config.size + sum(layer.size for layer in manifest.layers)
        repository.cost.bytes_image += size
        survey: Survey | Unknown | None = None
        if query.survey:  # before the accounts, which are among what it reads
            survey = await _or_unknown(self._layers.survey(manifest.layers, config, repository.stream))
        accounts: AccountFiles | Unknown | None = None
        if query.accounts or (config.user.name and not config.user.looks_numeric):
            user = None if query.accounts or query.survey else config.user
            accounts = await _or_unknown(
                self._layers.accounts(manifest.layers, config.diff_ids, repository.stream, user)
            )
        return PlatformImage(config, digest, accounts, size, survey)

    async def _flatten(self, repository: Repository, index: Index, os: str) -> list[Descriptor]:
        """The manifests of an index and of those nested in it, in order; what is neither is passed over."""
        entries: list[Descriptor] = []
        nested = 0
        pending = [(entry, 0) for entry in reversed(index.manifests)]
        while pending:
            entry, depth = pending.pop()
            if entry.is_manifest:
                entries.append(entry)
            elif entry.is_index and (entry.platform is None or (entry.platform.os or os) == os):
                nested += 1
                if nested > _NESTED or depth == _DEPTH:
                    raise MalformedImage("the index holds further indexes without end")
                document = await self._manifest(repository, entry.digest, entry)
                if isinstance(document, Manifest):
                    raise MalformedImage(f"{entry.digest} is a manifest where its own index promises an index")
                pending.extend((each, depth + 1) for each in reversed(document.manifests))
            if len(entries) > _INDEX_ENTRIES:
                raise RegistryError("tooLarge", f"the index has more than {_INDEX_ENTRIES} entries")
        return entries

    async def _manifest(
        self, repository: Repository, digest: str, promised: Descriptor | None = None
    ) -> Manifest | Index:
        async def fetch() -> Manifest | Index:
            raw, media_type, _ = await repository.manifest(digest)
            if promised is not None and len(raw) != promised.size:
                raise MalformedImage(f"the manifest {digest} has {len(raw)} bytes where {promised.size} were promised")
            return self.keep(repository.name, digest, raw, media_type)

        document = await self._known(repository, digest, fetch)
        if isinstance(document, Config):
            raise MalformedImage(f"{digest} is used as a manifest and as a config")
        return document

    async def _config(self, repository: Repository, config: Descriptor) -> Config:
        async def fetch() -> Config:
            raw = await repository.blob(config, "config")
            parsed = parse_config(raw)
            self._documents.put((repository.name, config.digest), parsed, 2 * len(raw))
            return parsed

        document = await self._known(repository, config.digest, fetch)
        if not isinstance(document, Config):
            raise MalformedImage(f"{config.digest} is used as a config and as a manifest")
        return document

    async def _known(
        self, repository: Repository, digest: str, fetch: Callable[[], Coroutine[Any, Any, Document]]
    ) -> Document:
        document = self._documents.get((repository.name, digest))
        self._stats.observe("document", hit=document is not None)
        if document is None:
            document = await self._flights.join((repository.name, digest), fetch)
        return document


async def _or_unknown(work: Awaitable[T]) -> T | Unknown:
    """The result of reading a platform's layers, or the reason why they cannot be read."""
    try:
        return await work
    except RegistryError as error:
        return Unknown(error.cause, str(error))
    except MalformedImage as error:
        return Unknown("invalid", str(error))


async def _together(
    entries: Iterable[Descriptor], work: Callable[[Descriptor], Awaitable[PlatformImage | None]]
) -> list[PlatformImage | None]:
    """The outcomes in order, a few at a time; the first failure cancels the rest and is raised."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def in_turn(entry: Descriptor) -> PlatformImage | None:
        async with turns:
            return await work(entry)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(in_turn(entry)) for entry in entries]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
