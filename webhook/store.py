"""ImageIdentity objects at the API server: written, changed, removed, listed, and followed as they change."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, NoReturn

import msgspec

from webhook import identities
from webhook.cluster import MANAGED_BY, Absent, Cluster, ClusterError, Conflict, Expired, Forbidden, decode
from webhook.identities import Identities
from webhook.image_identity import ImageIdentity
from webhook.policy import API_VERSION

PATH = f"/apis/{API_VERSION}/imageidentities"
STREAM = 300  # seconds; each stream is opened anew so often
SILENCE = 330.0  # seconds without a word on a stream, after which it is taken for dead
PAUSE = 1.0  # seconds before the next stream or listing
ABSENT_PAUSE = 60.0  # seconds before the next look where the kind is not installed, or not for us

_ALL = "the ImageIdentity objects"

log = logging.getLogger(__name__)


class _Version(msgspec.Struct, rename="camel"):
    resource_version: str
    name: str = ""


class _Versioned(msgspec.Struct):
    """A list, or an object."""

    metadata: _Version


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


async def create(cluster: Cluster, identity: ImageIdentity) -> None:
    """Write what is not there yet; whoever was first has said the same. `Absent` where the kind is not installed."""
    body = {
        "apiVersion": API_VERSION,
        "kind": "ImageIdentity",
        "metadata": {"name": identity.name, "labels": MANAGED_BY},
        "spec": msgspec.to_builtins(identity.spec),
    }
    try:
        await cluster.call("POST", PATH, _named(identity), body)
    except Absent:
        raise
    except Conflict:
        return


async def listed(cluster: Cluster) -> AsyncIterator[ImageIdentity]:
    """All that are stored, some hundred in memory at a time; what is none of ours is passed over."""
    async for page in cluster.pages(PATH, _ALL):
        for each in page:
            found = identities.read(each)
            if found is not None:
                yield found


async def follow(cluster: Cluster, known: Identities) -> NoReturn:
    """Keep `known` as the API server has it, until cancelled; while that is away it stays as it was.

    kopf, which watches all else, would take 13 KiB for each object, and there may be ten thousand.
    """
    said = ""
    while True:
        pause = PAUSE
        try:
            await _follow(cluster, known)
            said = ""
        except Expired:
            pass
        except ClusterError as error:
            pause = ABSENT_PAUSE if isinstance(error, Forbidden | Absent) else PAUSE
            if str(error) != said:
                log.warning("the ImageIdentity objects are not seen: %s", error)
            said = str(error)
        except Exception:
            pause = ABSENT_PAUSE
            log.exception("following the ImageIdentity objects failed, which is a bug")
        await asyncio.sleep(pause)


async def _follow(cluster: Cluster, known: Identities) -> None:
    """One listing, and the changes after it for as long as the API server remembers them."""
    first = await cluster.call("GET", f"{PATH}?limit=1", _ALL)
    version = decode(first or b"", _Versioned, _ALL).metadata.resource_version
    seen = set()
    async for each in listed(cluster):
        known.put(each.name, each)
        seen.add(each.name)
    known.retain(seen)
    while True:
        query = f"watch=true&allowWatchBookmarks=true&timeoutSeconds={STREAM}&resourceVersion={version}"
        async for line in cluster.lines(f"{PATH}?{query}", _ALL, SILENCE):
            event = decode(line, _Event, _ALL)
            if event.type == "ERROR":
                return  # 410, or what only a new listing may cure
            changed = decode(event.object, _Versioned, _ALL).metadata
            version = changed.resource_version
            found = identities.read(event.object) if event.type in {"ADDED", "MODIFIED"} else None
            if found is not None:
                known.put(found.name, found)
            elif event.type != "BOOKMARK":
                known.drop(changed.name)
        await asyncio.sleep(PAUSE)


async def change(cluster: Cluster, identity: ImageIdentity, fields: Mapping[str, Any]) -> None:
    """Set fields of the spec, unless somebody else has changed or removed the object since it was read."""
    body = {"metadata": {"resourceVersion": identity.resource_version}, "spec": fields}
    with suppress(Conflict):
        await cluster.call(
            "PATCH", f"{PATH}/{identity.name}", _named(identity), body, content_type="application/merge-patch+json"
        )


async def remove(cluster: Cluster, identity: ImageIdentity) -> None:
    """Delete the object as it was read, and no newer one."""
    body = {"preconditions": {"resourceVersion": identity.resource_version}}
    with suppress(Conflict):
        await cluster.call("DELETE", f"{PATH}/{identity.name}", _named(identity), body)


def _named(identity: ImageIdentity) -> str:
    return f"ImageIdentity {identity.name}"
