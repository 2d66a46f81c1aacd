"""Steady admissions with known right verdicts, through the real API server, and a tally of what became of them.

A Pod is a dry run, or is deleted at once; no scheduler knows it, so that nothing is started. A client does what client-go
does: an answer of 429 is tried again after its Retry-After, ten times at most (kubernetes/client-go rest/with_retry.go);
anything else is final.
"""

import asyncio
import contextlib
import itertools
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

import aiohttp
import msgspec

from tests.unit.server.test_asgi import review

Expectation = Literal["patched", "refused", "untouched", "verified", "warned"]

ATTEMPTS = 11  # of one admission: the first, and ten after a 429
ANSWER_TIMEOUT = 30.0  # seconds for one answer of the API server, which waits five for each of our hooks
UNREADY = "not yet ready to handle request"  # an API server that starts says so with a 403
CALM = 4.0  # seconds without trouble, after which a fault counts as over
BEFORE = 1.5  # seconds of undisturbed traffic before a fault
LIMIT = 150.0  # seconds until it must be over


class Kind(msgspec.Struct, frozen=True):
    """One sort of Pod: what it is, where it is made, and the only right answer.

    `patched` is created with `uid` written into it, `refused` is a 403 of ours, `untouched` is created as it was sent;
    `warned` is created as it was sent, with a warning, and `verified` with `runAsNonRoot: true` beside the warning that its
    image could not be read, so that the kubelet decides. One that is `stored` is no dry run.
    """

    name: str
    namespace: str
    image: str
    right: Expectation
    uid: int = 0
    context: dict[str, Any] = {}
    pull_secret: str = ""
    images: int = sys.maxsize
    stored: bool = False

    def pod(self, number: int) -> dict[str, Any]:
        """The Pod to create; `{n}` in the image stands for the number, of which there are so many `images`."""
        container: dict[str, Any] = {"name": "app", "image": self.image.replace("{n}", str(number % self.images))}
        if self.context:
            container["securityContext"] = self.context
        metadata = {"generateName": f"{self.name}-", "namespace": self.namespace}
        spec: dict[str, Any] = {"containers": [container], "schedulerName": "nobody"}
        if self.pull_secret:
            spec["imagePullSecrets"] = [{"name": self.pull_secret}]
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}

    def evaluate(self, status: int, answer: dict[str, Any], warnings: Sequence[str]) -> str | None:
        """Why an answer is not the right one; None where it is."""
        if self.right == "refused":
            ours = "nonroot.dev" in answer.get("message", "")
            return None if status == 403 and ours else f"{self.name}: not refused but {status}, {warnings}"
        if status != 201:
            return f"{self.name}: {status} {answer.get('message', '')[:200]}"
        context = answer["spec"]["containers"][0].get("securityContext", {})
        if self.right == "patched":
            return None if context.get("runAsUser") == self.uid else f"{self.name}: created with {context}, {warnings}"
        if context != self.context | ({"runAsNonRoot": True} if self.right == "verified" else {}):
            return f"{self.name}: created with {context}, {warnings}"
        if self.right in {"verified", "warned"} and not warnings:
            return f"{self.name}: created without a word"
        return None


class Tally(msgspec.Struct):
    """What became of the admissions of one scene. Times are seconds; `trouble` are the moments of those that failed.

    `wrong` are verdicts that no user may ever get. `lost` are admissions that failed because of us, by what their client
    was told; `away` those that the API server itself did not answer. `retried` counts answers of 429. `seconds` is what each took
    to the end of its client's patience.
    """

    admissions: int = 0
    retried: int = 0
    seconds: list[float] = []
    wrong: list[str] = []
    lost: Counter[str] = msgspec.field(default_factory=Counter)
    away: Counter[str] = msgspec.field(default_factory=Counter)
    trouble: list[float] = []

    @property
    def longest(self) -> float:
        """Of the slowest admission."""
        return max(self.seconds, default=0.0)

    @property
    def result(self) -> str:
        """What most of those read whose request was lost."""
        return self.lost.most_common(1)[0][0] if self.lost else ""


async def straight(
    session: aiohttp.ClientSession, address: str, kind: Kind, number: int = 0, path: str = "/validate"
) -> float:
    """Have a replica itself review a Pod, past the API server; the seconds that it took."""
    body, began = review(kind.pod(number), namespace=kind.namespace, dryRun=True), time.monotonic()
    url, headers = f"https://{address}:10250{path}", {"Content-Type": "application/json"}
    async with session.post(url, data=body, headers=headers, ssl=False) as answer:
        await answer.read()
        assert answer.status == 200
    return time.monotonic() - began


class Traffic:
    """Sends every kind of Pod, over and over, each kind by clients of its own."""

    def __init__(self, session: aiohttp.ClientSession, kinds: Sequence[Kind], pause: float = 0.25) -> None:
        self._session = session
        self._kinds = kinds
        self._pause = pause
        self._numbers = itertools.count()
        self.tally = Tally()

    def rarer(self, pause: float) -> "Traffic":
        """The same with so many seconds between two Pods of a kind: over connections that are idle meanwhile."""
        return Traffic(self._session, self._kinds, pause)

    @contextlib.asynccontextmanager
    async def running(self, *more: Kind) -> AsyncIterator[Tally]:
        """Send meanwhile, `more` kinds too, and count into a tally of this scene's own; finish what was begun."""
        self.tally = Tally()
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as clients:
            for kind in (*self._kinds, *more):
                clients.create_task(self._client(kind, stop))
            try:
                yield self.tally
            finally:
                stop.set()

    async def calm(self, since: float) -> float:
        """Wait until no admission has failed for a while; the seconds from `since` to the last that did."""
        while True:
            last = max(self.tally.trouble, default=0.0)
            if time.monotonic() > max(last, since) + CALM:
                return max(0.0, last - since)
            if time.monotonic() > since + LIMIT:
                raise AssertionError(f"still failing after {LIMIT:.0f} s: {self.tally}")
            await asyncio.sleep(0.1)

    async def _client(self, kind: Kind, stop: asyncio.Event) -> None:
        while not stop.is_set():
            started = time.monotonic()
            await self.one(kind)
            rest = self._pause - (time.monotonic() - started)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), max(rest, 0.001))

    async def one(self, kind: Kind) -> None:
        """Create one Pod, to the end of its client's patience."""
        tally, started = self.tally, time.monotonic()
        tally.admissions += 1
        pod = kind.pod(next(self._numbers))
        status, answer, headers = 0, dict[str, Any](), None
        for attempt in range(ATTEMPTS):
            try:
                status, answer, headers = await self._create(kind, pod)
            except (aiohttp.ClientError, OSError, msgspec.DecodeError) as error:
                status, answer, headers = 0, {"message": type(error).__name__}, None
            if status != 429 or attempt == ATTEMPTS - 1:
                break
            tally.retried += 1
            await asyncio.sleep(float(headers.get("Retry-After", "1")) if headers else 1)
        self._count(tally, kind, status, answer, headers.getall("Warning", []) if headers else [])
        tally.seconds.append(time.monotonic() - started)

    async def _create(self, kind: Kind, pod: dict[str, Any]) -> tuple[int, dict[str, Any], Any]:
        address = f"http://localhost/api/v1/namespaces/{kind.namespace}/pods"
        limit = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT)
        data, headers = msgspec.json.encode(pod), {"Content-Type": "application/json"}
        create = address if kind.stored else f"{address}?dryRun=All"
        async with self._session.post(create, data=data, headers=headers, timeout=limit) as reply:
            status, answer, result = reply.status, msgspec.json.decode(await reply.read()), reply.headers
        if kind.stored and status == 201:
            made = f"{address}/{answer['metadata']['name']}?gracePeriodSeconds=0"
            async with self._session.delete(made, timeout=limit) as reply:
                await reply.read()
        return status, answer, result

    def _count(self, tally: Tally, kind: Kind, status: int, answer: dict[str, Any], warnings: Sequence[str]) -> None:
        message = answer.get("message", "")
        if status in {201, 403} and UNREADY not in message:
            why = kind.evaluate(status, answer, warnings)
            if why is not None:
                tally.wrong.append(why)
            return
        tally.trouble.append(time.monotonic())
        if status == 429 or "failed calling webhook" in message:
            tally.lost[message] += 1
        else:
            tally.away[message[:100] or str(status)] += 1
