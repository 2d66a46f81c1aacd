"""Cells -> Pods -> what the kubelet and the runtime made of each container.

A Pod holds many cells. Regular and ephemeral containers start or fail each for itself. Init containers and sidecars wait
for those before them: one that is expected to fail stands last, or alone. Every container writes who it is into its
termination message, so that the answer comes from the process itself, by way of the Pod's status.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from tests.conformance.cluster import Api, Refused
from tests.conformance.matrix import Cell
from tests.conformance.model import Outcome, Ran, Stuck

TOGETHER = 24  # cells in a Pod whose containers start by themselves
IN_TURN = 8  # cells in a Pod whose containers start one after the other, a second apart
PODS = 12  # at a time
POD_SECONDS = 600.0  # on a busy machine
POLL = 2.0  # seconds between two looks at a Pod
STILL = 10.0  # seconds without a status after an event, until it counts as frozen

_REPORT = "exec >/dev/termination-log; echo \"$HOME\"; /bin/busybox grep -E '^(Uid|Gid|Groups):' /proc/self/status"
REPORT = ["/bin/busybox", "sh", "-c", _REPORT]
REPORT_AND_STAY = ["/bin/busybox", "sh", "-c", f"{_REPORT}; exec /bin/busybox sleep 3600"]
STAY = ["/bin/busybox", "sleep", "3600"]
HARMLESS = {"runAsUser": 12345, "runAsGroup": 12345}

Json = dict[str, Any]
Patch = Callable[[Json], Awaitable[Json]]


class Batch(msgspec.Struct, frozen=True):
    """A Pod, the cell of each of its containers by name, and the containers that are added once it exists.

    Of a `frozen` one the status never comes (see `model.Stuck`), and only events tell.
    """

    pod: Json
    cells: Mapping[str, Cell]
    ephemeral: Sequence[Json] = ()
    frozen: bool = False


class BatchRunner(msgspec.Struct, frozen=True):
    """Runs batches in one namespace; `patch` is what is done to a Pod before it is created."""

    api: Api
    namespace: str
    image: Callable[[Cell], str]
    bystander: str
    statuses: Counter[str] = msgspec.field(default_factory=Counter)  # of ended containers: "user" or "no user"

    async def run(
        self, cells: Iterable[Cell], expected: Callable[[Cell], Outcome], patch: Patch | None = None
    ) -> dict[Cell, Outcome]:
        """What became of each cell. `expected` only decides which cells share a Pod."""
        gate = asyncio.Semaphore(PODS)

        async def one(batch: Batch) -> dict[Cell, Outcome]:
            async with gate:
                return await self._run(batch, patch)

        found: dict[Cell, Outcome] = {}
        # Frozen ones first: the kubelet sends events at a bounded rate, and those of thousands of cells hold theirs up.
        batches = sorted(self.batches(cells, expected), key=lambda batch: not batch.frozen)
        for outcomes in await asyncio.gather(*(one(batch) for batch in batches)):
            found |= outcomes
        return found

    def batches(self, cells: Iterable[Cell], expected: Callable[[Cell], Outcome]) -> Iterator[Batch]:
        """Cells that agree on the Pod's own security context and on the kind share a Pod."""

        def layout(cell: Cell) -> tuple[str, str]:
            return cell.kind, str(cell.pod_context)

        for (kind, _), group in groupby(sorted(cells, key=layout), layout):
            together = list(group)
            frozen = [cell for cell in together if _reason(expected(cell)) == "Frozen"]
            ran = [cell for cell in together if isinstance(expected(cell), Ran)]
            refused = [cell for cell in together if cell not in frozen and cell not in ran]
            if kind in {"regular", "ephemeral"}:
                chunks = _chunks(ran + refused, TOGETHER)
            else:
                chunks = _chunks(ran, IN_TURN) + _chunks(refused, 1)
            for chunk in chunks:
                yield self._batch(kind, chunk)
            for cell in frozen:
                yield msgspec.structs.replace(self._batch(kind, [cell]), frozen=True)

    def _batch(self, kind: str, cells: Sequence[Cell]) -> Batch:
        named = {f"c{index}": cell for index, cell in enumerate(cells)}
        containers = [self._container(name, cell) for name, cell in named.items()]
        bystander = {"name": "bystander", "image": self.bystander, "command": REPORT, "securityContext": HARMLESS}
        spec: Json = {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": cells[0].pod_context,
            "containers": containers if kind == "regular" else [bystander],
        }
        if kind in {"init", "sidecar"}:
            spec["initContainers"] = containers
        if kind == "ephemeral":
            bystander["command"] = STAY
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": f"{kind}-"}, "spec": spec}
        return Batch(pod, named, containers if kind == "ephemeral" else ())

    def _container(self, name: str, cell: Cell) -> Json:
        container: Json = {"name": name, "image": self.image(cell), "command": REPORT}
        if cell.container_context:
            container["securityContext"] = cell.container_context
        if cell.kind == "sidecar":
            container |= {"command": REPORT_AND_STAY, "restartPolicy": "Always"}
        return container

    async def _run(self, batch: Batch, patch: Patch | None) -> dict[Cell, Outcome]:
        whole = {**batch.pod, "spec": {**batch.pod["spec"], "ephemeralContainers": list(batch.ephemeral)}}
        if patch:
            whole = await patch(whole)
        late = whole["spec"].pop("ephemeralContainers")
        pods = f"/api/v1/namespaces/{self.namespace}/pods"
        made = await self.api.call("POST", pods, whole)
        path = f"{pods}/{made['metadata']['name']}"
        try:
            if late:
                body = {"spec": {"ephemeralContainers": late}}
                kind = "application/strategic-merge-patch+json"
                await self.api.call("PATCH", f"{path}/ephemeralcontainers", body, kind)
            return await self._watch(path, batch)
        finally:
            await self.api.call("DELETE", path, {"gracePeriodSeconds": 0})

    async def _watch(self, path: str, batch: Batch) -> dict[Cell, Outcome]:
        clock = asyncio.get_running_loop().time
        deadline = clock() + POD_SECONDS
        result: dict[str, Outcome] = {}
        while True:
            await asyncio.sleep(STILL if result else POLL)
            pod = await self.api.call("GET", f"{path}?resourceVersion=0")
            found = result | outcomes(pod)
            if batch.frozen and not result:
                result = await self._events(pod["metadata"]["name"])
            if batch.cells.keys() <= found.keys():
                self.statuses.update(_told(pod))
                return {cell: found[name] for name, cell in batch.cells.items()}
            if clock() > deadline:
                nothing = Stuck("nothing", f"within {POD_SECONDS:.0f} s: {pod['status']}")
                return {cell: found.get(name, nothing) for name, cell in batch.cells.items()}

    async def _events(self, pod: str) -> dict[str, Outcome]:
        """The containers that the kubelet started, or failed to start, with its words."""
        path = f"/api/v1/namespaces/{self.namespace}/events?fieldSelector=involvedObject.name={pod}"
        found: dict[str, Outcome] = {}
        for event in (await self.api.call("GET", path))["items"]:
            if event["reason"] in {"Started", "Failed"}:
                name = event["involvedObject"].get("fieldPath", "").partition("{")[2].rstrip("}")
                found[name] = Stuck("Frozen", event["message"])
        return found


def _chunks(cells: list[Cell], size: int) -> list[list[Cell]]:
    return [cells[start : start + size] for start in range(0, len(cells), size)]


def _reason(outcome: Outcome) -> str:
    return outcome.reason if isinstance(outcome, Stuck) else ""


def outcomes(pod: Json) -> dict[str, Outcome]:
    """The containers of a Pod that have come to something, by name."""
    status = pod["status"]
    every = [each for kind in ("c", "initC", "ephemeralC") for each in status.get(f"{kind}ontainerStatuses", ())]
    found = ((each["name"], _outcome(each)) for each in every)
    return {name: outcome for name, outcome in found if outcome is not None}


def _told(pod: Json) -> Iterator[str]:
    """Whether the status of each container that has ended says who ran."""
    for each in pod["status"].get("containerStatuses", ()):
        if "terminated" in each["state"] and each["state"]["terminated"]["reason"] != "StartError":
            yield "user" if "linux" in each.get("user", {}) else "no user"


def _outcome(status: Json) -> Outcome | None:
    waiting = status["state"].get("waiting", {})
    if waiting.get("reason") in {"CreateContainerConfigError", "CreateContainerError"}:
        return Stuck(waiting["reason"], waiting.get("message", ""))
    ended = status["state"].get("terminated") or status.get("lastState", {}).get("terminated")
    if ended is None:
        return None
    if ended["reason"] == "StartError":
        return Stuck("StartError", ended.get("message", ""))
    home, *lines = ended.get("message", "").split("\n")
    ids = {name: [int(number) for number in rest.split()] for name, _, rest in (each.partition(":") for each in lines)}
    if not ids.keys() >= {"Uid", "Gid", "Groups"}:
        raise AssertionError(f"a container did not say who it is: {ended}")
    ran = Ran(ids["Uid"][0], ids["Gid"][0], tuple(sorted(ids["Groups"])), home)
    result = status.get("user", {}).get("linux")
    if result is not None and (result["uid"], result["gid"], sorted(result["supplementalGroups"])) != (
        ran.uid,
        ran.gid,
        [*ran.groups],
    ):
        raise AssertionError(f"the status says {result}, the process {ran}")
    return ran


async def namespace(api: Api, labels: Mapping[str, str] | None = None) -> str:
    """A new namespace with those labels, whose service account exists."""
    metadata = {"generateName": "matrix-", "labels": labels}
    made = await api.call("POST", "/api/v1/namespaces", {"metadata": metadata})
    name = str(made["metadata"]["name"])
    for _ in range(240):
        try:
            await api.call("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default")
        except Refused:
            await asyncio.sleep(0.5)
        else:
            return name
    raise AssertionError(f"{name}: no service account within 120 s")
