"""The policy reports in the cluster, created, changed and deleted so that they match the last scan.

Each carries a hash of what it says, so that unchanged ones are known from a listing of metadata; the time since when a result
is the same is kept when another one changes. Where OpenReports is
installed reports are of its kind, else of the older one, else there are none; what was made as another kind before is deleted.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any
from urllib.parse import quote

import msgspec

from webhook.cluster import client
from webhook.cluster.client import MANAGED_BY, Cluster
from webhook.cluster.errors import Absent, ClusterError, Conflict, Denied, Terminating
from webhook.cluster.object_meta import Object, ObjectMeta
from webhook.scan.policyreport import Api, stamped

KINDS: tuple[tuple[Api, str], ...] = (
    ("openreports.io/v1alpha1", "reports"),
    ("wgpolicyk8s.io/v1alpha2", "policyreports"),
)
CONTENT = "nonroot.dev/content"
WRITERS = 4  # writes at the same time
_AGE = re.compile(rb"\d+ (?:days|h|min|s) ago")  # webhook.text.ago: what grows older is not news
_SELECTOR = quote(",".join(f"{key}={value}" for key, value in MANAGED_BY.items()))

Report = dict[str, Any]

log = logging.getLogger(__name__)


class _ReportMeta(ObjectMeta, frozen=True, gc=False):
    annotations: dict[str, str] | None = None


class _Resource(msgspec.Struct, frozen=True):
    name: str


class _Resources(msgspec.Struct, frozen=True):
    resources: tuple[_Resource, ...] = ()


class Write(msgspec.Struct, frozen=True):
    """One call: create (no version yet), replace, or delete (no body)."""

    namespace: str
    name: str
    resource_version: str
    body: Report | None


def plan(wanted: Iterable[Report], stored: dict[tuple[str, str], tuple[str, str]]) -> Iterator[Write]:
    """The writes that make the stored reports the wanted ones.

    `stored` has version and content hash by namespace and name, and is emptied.
    """
    for report in wanted:
        metadata = report["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        digest = hashlib.sha256(_AGE.sub(b"", msgspec.json.encode(report, order="deterministic"))).hexdigest()
        version, content = stored.pop((namespace, name), ("", ""))
        if content == digest:
            continue
        labels = {**metadata.get("labels", {}), **MANAGED_BY}
        annotations = {**metadata.get("annotations", {}), CONTENT: digest}
        guard = {"resourceVersion": version} if version else {}
        body = {**report, "metadata": {**metadata, "labels": labels, "annotations": annotations, **guard}}
        yield Write(namespace, name, version, body)
    for (namespace, name), (version, _) in stored.items():
        yield Write(namespace, name, version, None)


class Reports:
    """The reports of a cluster. `writes` counts those that were made."""

    def __init__(self, api: Cluster) -> None:
        self._api = api
        self.writes = 0

    async def update(
        self,
        make: Callable[[Api], Iterable[Report]] | None,
        namespaces: Collection[str] = (),
        *,
        complete: bool = True,
    ) -> None:
        """Write what is different in some `namespaces`, everywhere where none is named.

        `make` gives all reports there should be, as that API version; None: none at all. Where they are not `complete`,
        none is deleted. Raises `ClusterError`; what was not written then is the next time.
        """
        for api_version, plural in KINDS:
            if not await self._served(api_version, plural):
                continue
            wanted = make(api_version) if make is not None else ()
            make = None
            stored = await self._stored(f"/apis/{api_version}", plural, namespaces)
            writes = (each for each in plan(wanted, stored) if complete or each.body is not None)
            await self._carry_out(writes, api_version, plural)

    async def _served(self, api_version: str, plural: str) -> bool:
        body = await self._api.call("GET", f"/apis/{api_version}", api_version, absent_ok=True)
        if body is None:
            return False
        return plural in {each.name for each in client.decode(body, _Resources, api_version).resources}

    async def _stored(
        self, base: str, plural: str, namespaces: Collection[str]
    ) -> dict[tuple[str, str], tuple[str, str]]:
        found = {}
        for place in [f"namespaces/{each}/" for each in namespaces] or [""]:
            path = f"{base}/{place}{plural}?labelSelector={_SELECTOR}"
            async for page in self._api.pages(path, plural, only_metadata=True):
                for raw in page:
                    about = client.decode(raw, Object[_ReportMeta], plural).metadata
                    found[about.namespace, about.name] = (
                        about.resource_version,
                        (about.annotations or {}).get(CONTENT, ""),
                    )
        return found

    async def _carry_out(self, writes: Iterator[Write], api_version: str, plural: str) -> None:
        async def work() -> None:
            for write in writes:
                await self._write(write, f"/apis/{api_version}/namespaces/{write.namespace}/{plural}")

        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(WRITERS):
                    tasks.create_task(work())
        except* ClusterError as failures:
            raise failures.exceptions[0] from None

    async def _write(self, write: Write, path: str) -> None:
        what = f"report {write.namespace}/{write.name}"
        try:
            if write.body is None:
                await self._api.call("DELETE", f"{path}/{write.name}", what, absent_ok=True)
            elif write.resource_version:
                former = client.decode(await self._api.call("GET", f"{path}/{write.name}", what) or b"", dict, what)
                await self._api.call("PUT", f"{path}/{write.name}", what, stamped(write.body, former, self._api.now()))
            else:
                await self._api.call("POST", path, what, stamped(write.body, {}, self._api.now()))
        except (Absent, Terminating):
            return  # its namespace is gone, or goes, and it with it
        except (Conflict, Denied) as error:  # this one alone
            log.warning("left for the next scan: %s", error)
            return
        self.writes += 1
