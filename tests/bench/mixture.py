"""Reviews as clusters send them: rate, p99, CPU and how many answers were kept, beside the Pod Security webhook.

The Pods are those of the public manifests in tests/unit/check/corpus, as a real API server sends them after our own /mutate has
patched them. How often each kind comes is an assumption, `SHARES`: nobody publishes the frequencies of a cluster. So what each kind
costs by itself is measured, too, in a loop in this process, for whoever knows his own.
"""

import asyncio
import base64
import copy
import json
import random
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import jsonpatch

from deploy.demo.images import DEBIAN
from deploy.dev.oci import accounts_layer, image
from deploy.dev.registry import Registry
from tests.bench import apiserver, load, servers, throughput
from tests.bench.hooks import Recorder, namespace, registered
from tests.bench.load import Figure
from tests.bench.scaling import _nobody
from webhook.admission.handler import Admission, WebhookKind
from webhook.admission.response_cache import CachedResponse, ResponseCache
from webhook.cli.policy_files import load_documents
from webhook.policy.cache import PolicySnapshot
from webhook.registry.client import RegistryClient
from webhook.registry.settings import RegistrySettings
from webhook.server.asgi import Reviews
from webhook.server.counters import Metrics

Object = dict[str, Any]

NAMESPACE = "bench-mixture"
SHARES = {
    "replicas of templates": 0.5,
    "single Pods": 0.2,
    "CI Pods of one image": 0.2,
    "updates": 0.08,
    "dry runs": 0.02,
}
LINES = 16384
TEMPLATES = 40  # with replicas, the n-th of them 1/n times as many as the first
SEED = 21
USERS = ("1000", "app", "1000", "app", "1000", "app", "1000", "")  # of the images: one in eight is root
ROUNDS, SECONDS, CONNECTIONS = 3, 2, 16


async def main() -> list[str]:
    """The section's lines."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Registry() as registry:
            captured = await asyncio.to_thread(_captured, folder)
            pods = [_local(each, registry) for each in captured]
            async with _Ours(folder, registry.host) as ours:
                patched = [await ours.patched(pod) for pod in pods]
                admitted = [pod for pod in patched if (await ours.ask("validate", pod))["allowed"]]
            reviews = list(_mixture(patched, admitted))
            async with _Ours(folder, registry.host) as ours:
                kinds = await ours.replay(reviews)
            body = folder / "mixture.json"
            with body.open("w") as file:
                file.writelines(f"{json.dumps(review, separators=(',', ':'))}\n" for _, review in reviews)
            figures = await asyncio.to_thread(_measured, folder, registry.host, body)
    size = sum(len(json.dumps(each)) for _, each in reviews) / len(reviews) / 1024
    return [
        (
            f"{len(reviews):,} reviews of {size:.1f} KB on average, of {len(patched)} Pods of public manifests; "
            f"{CONNECTIONS} connections, reviews drawn at random."
        ),
        "",
        *_table(figures),
        "",
        "The same in a loop, each once:",
        "",
        *kinds,
        "",
    ]


def _captured(folder: Path) -> list[Object]:
    """The reviews of the corpus' Pods, as the API server sends them."""
    with (
        namespace(NAMESPACE) as name,
        Recorder(folder) as recorder,
        registered(name, name, recorder.url, recorder.ca, ready=recorder.called),
    ):
        time.sleep(1)
        recorder.reviews.clear()
        apiserver.created(folder, list(apiserver.corpus()), name)
        return [json.loads(each) for each in recorder.reviews]


def _containers(pod: Object) -> Iterator[Object]:
    for kind in ("initContainers", "containers"):
        yield from pod["spec"].get(kind, ())


def _local(review: Object, registry: Registry) -> Object:
    """The review with the local registry in its images' names, which has them from now on."""
    for each in _containers(review["request"]["object"]):
        path = "corpus/" + "".join(char if char.isalnum() else "-" for char in each["image"].lower()).strip("-")
        user = USERS[zlib.crc32(path.encode()) % len(USERS)]
        registry.push(f"{path}:1", image(accounts_layer(*DEBIAN, "app:x:1000:1000::/:/bin/sh"), user=user))
        each["image"] = f"{registry.host}/{path}:1"
    return review


def _mixture(pods: list[Object], admitted: list[Object]) -> Iterator[tuple[str, Object]]:
    """So many reviews, each with its kind. What has replicas was admitted; of single Pods some are refused."""
    chance = random.Random(SEED)  # noqa: S311  # the same reviews in every run
    templates = chance.sample(admitted, TEMPLATES)
    weights = [1 / number for number in range(1, len(templates) + 1)]
    for number in range(LINES):
        (kind,) = chance.choices(list(SHARES), list(SHARES.values()))
        (template,) = chance.choices(templates, weights)
        review = copy.deepcopy(chance.choice(pods) if kind == "single Pods" else template)
        request = review["request"]
        pod, metadata = request["object"], request["object"]["metadata"]
        uid, name = f"00000000-0000-0000-0000-{number:012}", f"pod-{number:06}"
        request |= {"uid": uid, "name": name}
        metadata |= {"name": name, "uid": uid}
        for volume in pod["spec"].get("volumes", ()):
            if "projected" in volume:
                _rename(pod, volume, f"kube-api-access-{number:06}")
        match kind:
            case "single Pods":
                next(iter(pod["spec"]["containers"]))["name"] = f"app-{number:06}"
            case "CI Pods of one image":
                (build, *_) = pod["spec"]["containers"]
                others = templates[0]["request"]["object"]["spec"]["containers"]
                build |= {"name": "build", "image": others[0]["image"], "command": ["sh", "-ec", f"make job-{number}"]}
                build["env"] = [{"name": "JOB", "value": str(number)}]
                metadata["labels"] = {"job": str(number)}
            case "updates":
                old = copy.deepcopy(pod)
                metadata["labels"] = {**metadata.get("labels", {}), "seen": str(number)}
                request |= {"operation": "UPDATE", "oldObject": old}
            case "dry runs":
                request["dryRun"] = True
        yield kind, review


def _rename(pod: Object, volume: Object, name: str) -> None:
    for each in _containers(pod):
        for mount in each.get("volumeMounts", ()):
            if mount["name"] == volume["name"]:
                mount["name"] = name
    volume["name"] = name


class _Counted(ResponseCache):
    """The cache of `nonroot serve`, and whether it had the last answer."""

    hit = False

    async def find(self, *arguments: Any, **keywords: Any) -> CachedResponse | None:
        found = await super().find(*arguments, **keywords)
        self.hit = found is not None
        return found


class _Ours:
    """Everything of `nonroot serve` but the socket."""

    def __init__(self, folder: Path, host: str) -> None:
        (policy := folder / "policy.yaml").write_text(servers.POLICY)
        self._images = RegistryClient(RegistrySettings(insecure=frozenset({host})))
        admission = Admission(PolicySnapshot(load_documents((policy,))), self._images)
        self._cache = admission._responses = _Counted()
        self._reviews = Reviews(admission, Metrics(), _nobody)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._images.aclose()

    async def ask(self, hook: WebhookKind, review: Object) -> Object:
        """The response."""
        reply = await self._reviews.answer(hook, json.dumps(review).encode(), 5)
        response: Object = json.loads(reply.body)["response"]
        return response

    async def patched(self, review: Object) -> Object:
        """The review that /validate gets after /mutate."""
        response = await self.ask("mutate", review)
        operations = json.loads(base64.b64decode(response["patch"])) if "patch" in response else []
        review["request"]["object"] = jsonpatch.apply_patch(review["request"]["object"], operations)
        return review

    async def replay(self, reviews: list[tuple[str, Object]]) -> list[str]:
        """Each review once: what a kind costs, and how often the answer was kept."""
        count, hits, denied, spent = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
        for kind, review in reviews:
            body = json.dumps(review, separators=(",", ":")).encode()
            self._cache.hit = False
            started = time.process_time_ns()
            reply = await self._reviews.answer("validate", body, 5)
            reply.observe()
            spent[kind] += time.process_time_ns() - started
            count[kind] += 1
            hits[kind] += self._cache.hit
            denied[kind] += b'"allowed":false' in reply.body
        lines = ["| reviews | share | answers kept | denied | µs of CPU |", "|---|---|---|---|---|"]
        for kind in (*SHARES, "all"):
            own, kept, refused, cost = (
                each.total() if kind == "all" else each[kind] for each in (count, hits, denied, spent)
            )
            lines.append(
                f"| {kind} | {own / len(reviews):.0%} | {kept / own:.0%} | {refused / own:.0%} | {cost / own / 1000:.0f} |"
            )
        return lines


def _measured(folder: Path, host: str, body: Path) -> dict[str, Figure]:
    with ExitStack() as stack:
        stack.enter_context(namespace(NAMESPACE))
        found = stack.enter_context(throughput.running(folder, host))
        for server in found:
            load.run(server.validate, body, CONNECTIONS, SECONDS)  # warm
        rounds = [
            [load.run(server.validate, body, CONNECTIONS, SECONDS, cpu=server.cpu) for server in found]
            for _ in range(ROUNDS)
        ]
    return {server.name: load.median(list(each)) for server, each in zip(found, zip(*rounds, strict=True), strict=True)}


def _table(figures: dict[str, Figure]) -> list[str]:
    lines = [
        "| server | reviews/s | p50 ms | p99 ms | CPU ms/review | ours against it |",
        "|---|---|---|---|---|---|",
    ]
    own = figures[servers.OURS]
    for name, each in figures.items():
        ratio = throughput.against(own, each)
        lines.append(f"| {name} | {each.rate:,.0f} | {each.p50:.2f} | {each.p99:.2f} | {each.cpu:.3f} | {ratio} |")
    return lines


if __name__ == "__main__":
    print("\n".join(asyncio.run(main())))
