"""What one review costs as the work grows: CPU of this process for a whole answer, from the body's bytes to the answer's.

Everything but the socket runs as in `nonroot serve`. All but the number of containers should leave the cost where it is;
the plot goes to scaling.svg.
"""

import asyncio
import gc
import json
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tests.bench import venv
from tests.bench.throughput import REVIEWS
from webhook.admission.handler import Admission
from webhook.image.config import Config, Platform, parse_user
from webhook.image.passwd import AccountFiles
from webhook.image.source import Image, PlatformImage, Query
from webhook.policy.cache import PolicySnapshot
from webhook.policy.loader import load
from webhook.policy.selection import Namespace
from webhook.policy.types import Documents
from webhook.registry import client
from webhook.registry.client import RegistryClient
from webhook.server.asgi import Reviews
from webhook.server.counters import Metrics

HERE = Path(__file__).parent
PLOT = HERE / "scaling.svg"
REPEATS, BATCH = 7, 400
APP = "registry.bench.example/team/app"


class Point(NamedTuple):
    """One setting, and the microseconds of CPU of one review under it."""

    x: int
    cost: float


async def main() -> list[str]:
    """The section's lines."""
    curves: dict[str, list[Point]] = {}
    for title, sizes, made in AXES:
        curves[title] = [Point(size, await _cost(*made(size))) for size in sizes]
    named = {title: [list(point) for point in points] for title, points in curves.items()}
    await asyncio.to_thread(_plot, named)
    lines = ["| growing | from | to | µs of CPU a review | last against first |", "|---|---|---|---|---|"]
    for title, points in curves.items():
        costs = ", ".join(f"{point.x:,}: {point.cost:.0f}" for point in points)
        ratio = points[-1].cost / points[0].cost
        lines.append(f"| {title} | {points[0].x:,} | {points[-1].x:,} | {costs} | {ratio:.2f} |")
    return [*lines, "", "![the same as a plot](scaling.svg)", ""]


def _plot(curves: dict[str, list[list[float]]]) -> None:
    command = [venv.program("python"), HERE / "plot.py", PLOT]
    subprocess.run(command, input=json.dumps(curves), text=True, check=True)


async def _cost(view: PolicySnapshot, images: "Known | None", bodies: Callable[[int], bytes]) -> float:
    """The least of some batches, in microseconds; no two reviews are alike, so none is answered as the one before."""
    source = images or Known()
    reviews = Reviews(Admission(view, source.client), Metrics(), _nobody)
    batches = [[bodies(number) for number in range(start, start + BATCH)] for start in range(0, REPEATS * BATCH, BATCH)]
    least = float("inf")
    gc.collect()
    gc.freeze()
    for batch in batches:
        started = time.process_time()
        for body in batch:
            reply = await reviews.answer("validate", body, 3.5)
        least = min(least, time.process_time() - started)
        if json.loads(reply.body)["response"]["allowed"] is not True:
            raise SystemExit(f"a compliant Pod was refused: {reply.body.decode()}")
    await source.client.aclose()
    return least / BATCH * 1e6


class Known:
    """A registry client that has read some images before."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.client = RegistryClient()
        until = time.monotonic() + 1e6
        for number, name in enumerate(names):
            query = Query(name)
            key: client.Key = (query.reference, "", (), "", query.os, query.architectures, query.accounts, query.survey)
            found = _image(number)
            self.client._answers.put(key, client._CachedLookup(found, until, until), client._weight(key, found))


def _image(number: int) -> Image:
    accounts = AccountFiles(f"root:x:0:0::/:/bin/sh\napp{number}:x:{number + 1}:0::/:/bin/sh\n".encode() * 20)
    config = Config(parse_user(str(number + 1)), Platform("linux", "amd64"), tuple(f"sha256:{n:064}" for n in range(8)))
    return Image(f"sha256:{number:064x}", (PlatformImage(config, f"sha256:{number:064x}", accounts),))


async def _nobody(*_: Any) -> None:
    """Every other path."""


def _documents(policies: int = 1, exceptions: int = 0, spread: int = 1, **spec: Any) -> Documents:
    """Some policies, of which the last one selects everything, and exceptions over so many namespaces."""
    wanted: list[dict[str, Any]] = [
        {
            "apiVersion": "nonroot.dev/v1alpha1",
            "kind": "NonRootPolicy",
            "metadata": {"name": f"p{number:03}"},
            "spec": {
                "mode": "Enforce",
                "inject": "Never",
                "namespaceSelector": {"matchLabels": {"team": f"t{number}"}} if number else {},
                "priority": number,
                **spec,
            },
        }
        for number in range(policies)
    ]
    wanted += [
        {
            "apiVersion": "nonroot.dev/v1alpha1",
            "kind": "NonRootException",
            "metadata": {"name": f"e{number}", "namespace": f"n{number % spread}"},
            "spec": {
                "reason": "a ticket",
                "workloads": [{"kind": "Deployment", "name": f"legacy-{number}"}],
                "expires": "2099-01-01T00:00:00Z",
            },
        }
        for number in range(exceptions)
    ]
    return load(wanted, "bench")


_GOOD: dict[str, Any] = json.loads((REVIEWS / "good.json").read_bytes())
_BY_IMAGE: dict[str, Any] = json.loads((REVIEWS / "image.json").read_bytes())


def _body(review: dict[str, Any], number: int, *, namespace: str = "n0", containers: int = 1, image: str = "") -> bytes:
    """A review of its own: another name, uid and group, so that no response that is kept is given for it."""
    changed = msgspec.json.decode(msgspec.json.encode(review))
    request = changed["request"]
    request |= {"uid": f"00000000-0000-0000-0000-{number:012}", "namespace": namespace, "name": f"web-{number}"}
    request["object"]["metadata"] |= {"name": f"web-{number}", "namespace": namespace}
    request["object"]["metadata"]["ownerReferences"] = [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f", "uid": "u", "controller": True}
    ]
    request["object"]["spec"].setdefault("securityContext", {})["supplementalGroups"] = [10_000 + number]
    (container,) = request["object"]["spec"]["containers"]
    if image:
        container["image"] = image
    request["object"]["spec"]["containers"] = [
        container | {"name": f"c{index}-{number}"} for index in range(containers)
    ]
    return msgspec.json.encode(changed)


Setting = tuple[PolicySnapshot, Known | None, Callable[[int], bytes]]


def _containers(size: int) -> Setting:
    return PolicySnapshot(_documents()), None, lambda number: _body(_GOOD, number, containers=size)


def _images(size: int) -> Setting:
    names = [f"{APP}-{number}:1" for number in range(size)]
    known = Known(names)
    stride = max(1, size // BATCH)
    return (
        PolicySnapshot(_documents()),
        known,
        lambda number: _body(_BY_IMAGE, number, image=names[number * stride % size]),
    )


def _namespaces(size: int) -> Setting:
    found = {f"n{number}": Namespace(f"n{number}", {"team": f"t{number}"}) for number in range(size)}
    view = PolicySnapshot(_documents(policies=10), found)
    return view, None, lambda number: _body(_GOOD, number, namespace=f"n{number * max(1, size // BATCH) % size}")


def _policies(size: int) -> Setting:
    return PolicySnapshot(_documents(policies=size)), None, lambda number: _body(_GOOD, number)


def _exceptions(size: int) -> Setting:
    view = PolicySnapshot(_documents(exceptions=size, spread=100))
    return view, None, lambda number: _body(_GOOD, number, namespace=f"n{number % 100}")


def _exceptions_here(size: int) -> Setting:
    return PolicySnapshot(_documents(exceptions=size)), None, lambda number: _body(_GOOD, number)


AXES: list[tuple[str, tuple[int, ...], Callable[[int], Setting]]] = [
    ("containers", (1, 2, 4, 8, 16, 32, 64), _containers),
    ("images in cache", (1, 10, 100, 1_000, 10_000), _images),
    ("namespaces", (1, 10, 100, 1_000, 5_000), _namespaces),
    ("policies", (1, 10, 100), _policies),
    ("exceptions, 100 namespaces", (0, 10, 100, 1_000, 10_000), _exceptions),
    ("exceptions, one namespace", (0, 10, 100, 1_000, 10_000), _exceptions_here),
]
if __name__ == "__main__":
    print("\n".join(asyncio.run(main())))
