"""An index of the stored image identities, in memory, by digest and by reference.

    identities.put(key, identity); identities.drop(key); identities.retain(keys)     # as the objects come and go
    identities.of_digest(repository, digest)                                         # -> ImageIdentity, ...
    identities.of_reference("docker.io/library/app:1")

A digest is only found in the repository in which it was seen: a registry of one's own could claim to have any.
"""

from collections.abc import Collection, Hashable
from typing import Any, TypeVar

import msgspec

from webhook.image import reference
from webhook.image.image_identity import ImageIdentity

T = TypeVar("T")

_SHARED = 4096  # values of which there is one object for all; then it begins anew


class IdentityIndex:
    """A map of objects by any key that tells them apart; what is found is a tuple that never changes.

    `revision` is another number after every change.
    """

    def __init__(self) -> None:
        self.revision = 0
        self._stored: dict[Hashable, ImageIdentity] = {}
        self._found: dict[str, tuple[ImageIdentity, ...]] = {}  # by reference, and by repository and digest
        self._shared: dict[Any, Any] = {}  # one of each platform, namespace, …: there are few, and many objects

    def __len__(self) -> int:
        return len(self._stored)

    def update(self, key: Hashable, identity: ImageIdentity) -> None:
        """Take an object, in place of what was known by its key."""
        spec = identity.spec
        shared = msgspec.structs.replace(
            spec,
            platform=self._one(spec.platform),
            user=self._one(spec.user),
            groups=self._one(spec.groups),
            platforms=self._one(spec.platforms),
            namespaces=self._one(spec.namespaces),
        )
        kept = ImageIdentity(identity.name, shared)
        self._replace(self._stored.get(key), kept)
        self._stored[key] = kept

    def delete(self, key: Hashable) -> None:
        """Forget an object, if it is known."""
        gone = self._stored.pop(key, None)
        if gone is not None:
            self._replace(gone, None)

    def replace(self, keys: Collection[Hashable]) -> None:
        """Forget all objects but these."""
        for key in self._stored.keys() - set(keys):
            self.delete(key)

    def of_digest(self, repository: str, digest: str) -> tuple[ImageIdentity, ...]:
        """The identities of a digest in a repository (`registry/path`), of every platform and source."""
        return self._found.get(f"{repository}@{digest}", ())

    def of_reference(self, image: str) -> tuple[ImageIdentity, ...]:
        """The identities that were first seen under a normalised reference, of whichever digest it stood for then."""
        return self._found.get(image, ())

    def _replace(self, old: ImageIdentity | None, new: ImageIdentity | None) -> None:
        self.revision += 1
        kept = set() if new is None else _keys(new)
        for key in kept if old is None else kept | _keys(old):
            found = tuple(each for each in self._found.get(key, ()) if each is not old)
            if new is not None and key in kept:
                found = (*found, new)
            if found:
                self._found[key] = found
            else:
                self._found.pop(key, None)

    def _one(self, value: T) -> T:
        if len(self._shared) > _SHARED:
            self._shared.clear()
        one: T = self._shared.setdefault(value, value)
        return one


def _keys(identity: ImageIdentity) -> set[str]:
    image = identity.spec.image
    return {image, *identity.spec.aliases, f"{reference.parse(image).name}@{identity.digest}"}
