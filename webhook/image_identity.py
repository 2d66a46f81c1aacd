"""ImageIdentity: what is known of an image for ever, as an object that outlives every replica."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Id = Annotated[int, Meta(ge=0, le=4294967295)]


class ImageIdentitySpec(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Who the USER of one image is on one platform. The object is named after the image's digest, as `sha256-…`."""

    image: Annotated[
        str, Meta(min_length=1, max_length=512, description="The normalised reference under which it was seen first.")
    ]
    platform: Annotated[str, Meta(min_length=1, max_length=64, description="As linux/amd64 or linux/arm64/v8.")]
    user: Annotated[str, Meta(max_length=1024, description="USER of the image's config, verbatim.")]
    uid: Id
    source: Annotated[
        Literal["registry", "observed", "known"],
        Meta(description="Who said so: the registry, a running container, or a policy's knownImages."),
    ]
    first_seen: Annotated[datetime, Meta(tz=True)]
    last_seen: Annotated[datetime, Meta(tz=True, description="Updated once a day at most.")]
    gid: Id | None = None
    groups: Annotated[tuple[Id, ...], Meta(description="Every group of the process, the primary one too.")] = ()
