"""The metadata of objects and lists of the API server, as far as it is read here.

A listing may hold a hundred thousand objects, and what is no field here is not decoded. A reader that needs more inherits.
"""

from typing import Generic, TypeVar

import msgspec

from webhook.workload.podspec import OwnerReference

Meta = TypeVar("Meta")


class ObjectMeta(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """An object's name, uid and version."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""

    @property
    def key(self) -> str:
        """`NAMESPACE/NAME`, or the name alone of an object without a namespace."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Labelled(ObjectMeta, frozen=True, gc=False):
    """With the labels, by which others select the object."""

    labels: dict[str, str] | None = None


class Owned(ObjectMeta, frozen=True, gc=False):
    """With the objects that made it."""

    owner_references: tuple[OwnerReference, ...] | None = None

    @property
    def controller(self) -> OwnerReference | None:
        """The object that made it and looks after it; none for what a person made."""
        return next((each for each in self.owner_references or () if each.controller), None)


class Object(msgspec.Struct, Generic[Meta], frozen=True, gc=False):
    """An object of which nothing but the metadata is read, as `Object[ObjectMeta]`."""

    metadata: Meta


class ListMetadata(msgspec.Struct, frozen=True, rename="camel"):
    """A list's metadata: where the next page begins, and the version from which a watch goes on."""

    token: str = msgspec.field(default="", name="continue")
    resource_version: str = ""
