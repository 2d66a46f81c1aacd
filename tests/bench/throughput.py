"""Reviews a second, latency and CPU a review: ours beside Kubernetes' own Pod Security webhook and a bare answer.

Every figure is the median of ROUNDS runs, interleaved: what to hold are the ratios, for all run in turn on one machine.
The reviews are a real API server's (`tests.bench.capture`), only the registry in them is a local one, and no two are the
same: they are those of a template's replicas, of jobs, which have names and commands of their own, or of Pods that are each
unlike all others, of which no response can be kept.
"""

import asyncio
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from deploy.demo.images import DEBIAN
from deploy.dev.oci import accounts_layer, image
from deploy.dev.registry import Registry
from tests.bench import load, servers
from tests.bench.capture import NAMED, NUMERIC, ROOT
from tests.bench.hooks import kubectl
from tests.bench.load import Figure
from tests.bench.servers import Server

REVIEWS = Path(__file__).parent / "reviews"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
CONNECTIONS = (1, 16, 64)


REPLICAS = 256
STRANGERS = 8192  # more than answers are kept


class Case(NamedTuple):
    """One kind of review, by one hook; `body` has one on each line."""

    name: str
    body: Path
    hook: str = "validate"


Kind = Literal["replicas", "jobs", "strangers"]
Key = tuple[str, int, str]  # case, connections, server


async def main() -> list[str]:
    """The section's lines."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Registry() as registry:
            push(registry)
            return await asyncio.to_thread(_section, folder, registry.host)


def push(registry: Registry) -> None:
    """Give the registry the images of the reviews, on a base of Debian's size."""
    layer = accounts_layer(*DEBIAN, "app:x:1000:1000::/:/bin/sh")
    for reference, user in ((NUMERIC, "1000"), (NAMED, "app"), (ROOT, "")):
        registry.push(reference.partition("/")[2], image(layer, user=user))


def cases(folder: Path, host: str) -> list[Case]:
    """The reviews, with the registry's own address in them."""

    def local(name: str, kind: Kind = "replicas", namespace: str = "bench-capture") -> Path:
        body = (REVIEWS / f"{name}.json").read_text()
        body = body.replace(NUMERIC.partition("/")[0], host).replace('"bench-capture"', f'"{namespace}"')
        path = folder / f"{name}-{kind}.json"
        with path.open("w") as file:
            file.writelines(f"{each}\n" for each in _pods(body, kind))
        return path

    return [
        Case("compliant, 4 KB", local("good")),
        Case("compliant, names and commands of their own", local("good", "jobs")),
        Case("compliant, each unlike the others", local("good", "strangers")),
        Case("violating", local("violating")),
        Case("violating, names and commands of their own", local("violating", "jobs")),
        Case("violating, each unlike the others", local("violating", "strangers")),
        Case("13 containers, 31 KB", local("fat")),
        # In the namespace where nothing is injected: elsewhere such a Pod gets its uid before it is validated.
        Case("compliant by its image, warm", local("image", namespace="uninjected")),
        Case("mutate, full patch", local("mutate"), "mutate"),
        Case("mutate, names and commands of their own", local("mutate", "jobs"), "mutate"),
        Case("mutate, each unlike the others", local("mutate", "strangers"), "mutate"),
    ]


def _pods(body: str, kind: Kind) -> Iterator[str]:
    """The review of a Pod, and of others: each has the uid, the name and the token volume that the API server gave it.

    Jobs have a container's name and a command of their own as well, and strangers a group, which evaluation reads.
    """
    request = json.loads(body)["request"]
    (token,) = {each["name"] for each in request["object"]["spec"]["volumes"] if "projected" in each}
    uid, name = request["uid"], request["object"]["metadata"]["name"]
    for number in range(REPLICAS if kind == "replicas" else STRANGERS):
        text = body.replace(uid, f"{number:08x}{uid[8:]}").replace(token, f"kube-api-access-{number:05}")
        review = json.loads(text)
        asked = review["request"]
        asked["name"] = asked["object"]["metadata"]["name"] = f"{name}-{number:05}"
        spec = asked["object"]["spec"]
        if kind != "replicas":
            spec["containers"][0] |= {"name": f"app-{number:05}", "command": ["sh", "-ec", f"make job-{number:05}"]}
        if kind == "strangers":
            spec.setdefault("securityContext", {})["supplementalGroups"] = [10_000 + number]
        yield json.dumps(review, separators=(",", ":"), ensure_ascii=False)


@contextmanager
def running(folder: Path, host: str) -> Iterator[list[Server]]:
    """All servers at once, ours first."""
    with ExitStack() as stack:
        servers.certificate(folder)
        ports = iter(servers.ports(4))
        _namespaces(stack)
        yield [
            stack.enter_context(servers.ours(folder, next(ports), host)),
            stack.enter_context(servers.floor(folder, next(ports))),
            stack.enter_context(servers.short_floor(folder, next(ports))),
            stack.enter_context(servers.pod_security(folder, next(ports))),
        ]


def _namespaces(stack: ExitStack) -> None:
    """Those of the captured reviews, where the peer enforces `restricted`."""
    for name in ("peers", "bench-capture", "uninjected"):
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        kubectl(
            "apply",
            "-f",
            "-",
            given={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
        )
        stack.callback(kubectl, "delete", "namespace", name, "--wait=false")


def _section(folder: Path, host: str) -> list[str]:
    wanted = cases(folder, host)
    with running(folder, host) as found:
        idle = {server.name: server.rss for server in found}
        figures = _measure(found, wanted)
        loaded = {server.name: server.rss for server in found}
    memory = "; ".join(f"{name} {idle[name]:.0f} MiB idle, {loaded[name]:.0f} MiB after the load" for name in idle)
    return [*_table(figures), "", f"Memory: {memory}.", ""]


def _measure(found: list[Server], wanted: list[Case]) -> dict[Key, Figure]:
    runs: defaultdict[Key, list[Figure]] = defaultdict(list)
    targets = [(case, server, getattr(server, case.hook)) for case in wanted for server in found]
    for case, _, url in targets:
        if url:
            load.run(url, case.body, 16, 1)  # warm: images read, code compiled, connections tried
    for _ in range(ROUNDS):
        for connections in CONNECTIONS:
            for case, server, url in targets:
                if url:
                    figure = load.run(url, case.body, connections, SECONDS, cpu=server.cpu)
                    runs[case.name, connections, server.name].append(figure)
    return {key: load.median(each) for key, each in runs.items()}


def _table(figures: dict[Key, Figure]) -> list[str]:
    lines = [
        "| review | connections | server | reviews/s | p50 ms | p99 ms | CPU ms/review | ours against it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    names = list(dict.fromkeys(case for case, _, _ in figures))
    rows = sorted(figures.items(), key=lambda row: (names.index(row[0][0]), row[0][1]))
    for (case, connections, server), figure in rows:
        own = figures[case, connections, servers.OURS]
        ratio = against(own, figure)
        lines.append(
            f"| {case} | {connections} | {server} | {figure.rate:,.0f} | {figure.p50:.2f} | {figure.p99:.2f} | "
            f"{figure.cpu:.3f} | {ratio} |"
        )
    return [*lines, "", *_among_ours(figures)]


def against(own: Figure, other: Figure) -> str:
    """Our figures against another server's; empty for our own."""
    if other is own:
        return ""
    return f"{own.rate / other.rate:.2f} × rate, {own.cpu / other.cpu:.2f} × CPU, {own.p99 / other.p99:.2f} × p99"


def _among_ours(figures: dict[Key, Figure]) -> list[str]:
    """What a review costs that needs an image, or a patch, against one that needs neither; 16 connections."""
    compliant, image, patch = (
        figures[name, 16, servers.OURS]
        for name in ("compliant, 4 KB", "compliant by its image, warm", "mutate, full patch")
    )
    return [
        (
            f"At 16 connections, of our own CPU: compliant by its image {image.cpu / compliant.cpu:.2f} × the compliant "
            f"one, a full patch {patch.cpu / compliant.cpu:.2f} ×."
        )
    ]
