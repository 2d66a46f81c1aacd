"""`python -m tests.bench.large`: the memory of both our processes in a large cluster, and what scans of it ask and write.

A real API server with a store of its own, thrown away afterwards; no kubelet, no controllers. The Pods name their
ReplicaSets, those their Deployments, and no node. Images are read from a registry on loopback.
"""

import argparse
import asyncio
import contextlib
import json
import os
import re
import sys
import time
import urllib.request
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kubernetes.aio.config import kube_config

from deploy.dev.oci import accounts_layer, image
from deploy.dev.registry import Registry
from tests.support import cluster, control_plane, reports
from tests.support.distribution import free_port
from webhook.cluster.client import Cluster
from webhook.cluster.errors import Conflict, Unreachable
from webhook.cluster.image_identities import PATH as IDENTITIES
from webhook.image.image_identity import ImageIdentity, ImageIdentitySpec

AT_ONCE = 32
LOOKS = 3  # Deployments that are made after the scans
CAPTURED = Path(__file__).parent / "reviews" / "good.json"
OURS = "nonroot.dev/v1alpha1"
Object = dict[str, Any]


class Size(msgspec.Struct, frozen=True):
    """How much of everything; Pods are spread over Deployments, these over namespaces and images."""

    namespaces: int = 5_000
    pods: int = 50_000
    workloads: int = 10_000
    images: int = 200
    identities: int = 10_000
    policies: int = 10
    exceptions: int = 100


SHORT = Size(namespaces=100, pods=1_000, workloads=200, images=20, identities=200, exceptions=10)


async def main(size: Size = Size()) -> list[str]:  # noqa: B008 - it never changes
    """The lines of the results."""
    return [f"- {line}" async for line in measure(size)]


async def measure(size: Size, quiet: float = 10.0) -> AsyncIterator[str]:
    """What was measured, line by line. Nothing more is expected once nothing was written for `quiet` seconds.

    Raises AssertionError where the second scan, of a cluster in which nothing has changed, writes a report.
    """
    with control_plane.alone("127.0.0.1") as layout, _reached_by(str(layout.kubeconfig)):
        async with Registry() as registry, contextlib.aclosing(Cluster()) as api:
            async for line in _measure(api, registry, size, quiet):
                yield line


@contextlib.contextmanager
def _reached_by(kubeconfig: str) -> Iterator[None]:
    """Let our processes and our own client find this cluster, meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", kubeconfig)
        patch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", kubeconfig)  # read when it was imported
        yield


async def _measure(api: Cluster, registry: Registry, size: Size, quiet: float) -> AsyncIterator[str]:
    yield ", ".join(f"{count:,} {name}" for name, count in msgspec.structs.asdict(size).items())
    for number in range(size.images):
        passwd = f"app{number}:x:{2000 + number}:{2000 + number}::/:/bin/sh"
        user = "" if number % 20 == 0 else f"app{number}" if number % 3 else str(2000 + number)
        registry.push(f"team/app{number}:1", image(accounts_layer("root:x:0:0::/root:/bin/sh", passwd), user=user))
    began = time.monotonic()
    await _fill(api, size, registry.host)
    yield f"filled the API server in {time.monotonic() - began:.0f} s"
    async with _process("serve", "--self-signed", "--port=0") as (process, port):
        seconds = await _until(process, port, "/readyz")
        await asyncio.sleep(2 * quiet)  # for the garbage of the first listing
        yield f"admission: ready after {seconds:.1f} s, {_memory(process.pid)}"
    flags = ("--namespace=default", "--no-manage-certificates", "--insecure-registry", registry.host)
    before = await _written(api)
    async with _process("operate", *flags) as (process, port):
        asked, stamp = 0, 0.0
        # Between two scans layers may be read in the background: what they say is stored, and the reports say it once more.
        for scan in ("first", "second", "third"):
            stamp = await _settled(process, port, quiet, stamp)
            writes, result = await _written(api), await asyncio.to_thread(_metrics, port)
            new = _more(before, writes)
            yield (
                f"controller, {scan} scan: {result['nonroot_scan_duration_seconds']:.1f} s until all is evaluated, "
                f"{_memory(process.pid)}; {new} written; {len(registry.requests) - asked} requests to the registry; "
                f"{_states(result)}"
            )
            before, asked = writes, len(registry.requests)
            if not new["reports"]:
                break
            one_more = _named("NonRootPolicy", f"after-{scan}") | {"apiVersion": OURS, "spec": _selecting(-1)}
            await api.call("POST", f"/apis/{OURS}/nonrootpolicies", "one more", one_more)
        else:
            raise AssertionError(f"a scan of what has not changed wrote {new}")
        for number in range(LOOKS):
            seconds, cpu = await _look(api, size, registry.host, number, process)
            yield f"a new Deployment: reported after {seconds:.1f} s, {cpu:.2f} s of CPU"
        yield f"controller, in the end: {_memory(process.pid)}; {_more(before, await _written(api))} written"


async def _look(api: Cluster, size: Size, registry: str, number: int, process: Process) -> tuple[float, float]:
    """Make one more Deployment: the seconds until there is a report about it, and those of CPU that the controller took."""
    made = _holder("Deployment", "", number, size, registry)
    namespace = made["metadata"]["namespace"]
    made["metadata"]["name"] = f"late-{number}"
    reports_path = f"/apis/openreports.io/v1alpha1/namespaces/{namespace}/reports"

    async def reports_there() -> int:
        body = await api.call("GET", reports_path, "reports")
        return len(msgspec.json.decode(body or b"")["items"])

    former, cpu, began = await reports_there(), _cpu(process.pid), time.monotonic()
    await api.call("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", "one more", made)
    while await reports_there() == former:
        _must_run(process)
        await asyncio.sleep(0.05)
    return time.monotonic() - began, _cpu(process.pid) - cpu


async def _fill(api: Cluster, size: Size, registry: str) -> None:
    """Create everything, kind by kind."""
    for path in sorted([*cluster.CRDS.iterdir(), reports.crd("openreports.io/v1alpha1")]):
        await _kubectl("apply", "--server-side", "-f", str(path))
    await asyncio.to_thread(cluster.served, cluster.reach(), "crd")
    for collection, made in _objects(size, registry):
        work = iter(made)

        async def create(collection: str = collection, work: Iterator[Object] = work) -> None:
            for each in work:
                await _create(api, collection, each)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(create())


async def _create(api: Cluster, collection: str, made: Object) -> None:
    """Once more where the API server had no time to answer."""
    place = f"/namespaces/{made['metadata']['namespace']}" if "namespace" in made["metadata"] else ""
    base, _, plural = collection.rpartition("/")
    while True:
        try:
            await api.call("POST", f"{base}{place}/{plural}", made["metadata"]["name"], made)
        except Conflict:
            return  # it had created it, without a word
        except Unreachable:
            await asyncio.sleep(1)
        else:
            return


def _objects(size: Size, registry: str) -> Iterator[tuple[str, Iterable[Object]]]:
    """What is created, by the path of its list."""
    yield "/api/v1/namespaces", (_named("Namespace", f"team-{number}") for number in range(size.namespaces))
    places = [f"team-{number}" for number in range(size.namespaces)]
    yield "/api/v1/serviceaccounts", (_named("ServiceAccount", "default", each) for each in places)
    kinds = (("Deployment", "deployments", ""), ("ReplicaSet", "replicasets", "-5d4f"))
    for kind, plural, suffix in kinds:
        yield (
            f"/apis/apps/v1/{plural}",
            (_holder(kind, suffix, number, size, registry) for number in range(size.workloads)),
        )
    yield "/api/v1/pods", (_pod(number, size, registry) for number in range(size.pods))
    policies = (
        _named("NonRootPolicy", f"policy-{each}") | {"apiVersion": OURS, "spec": _selecting(each)}
        for each in range(size.policies)
    )
    yield f"/apis/{OURS}/nonrootpolicies", policies
    exceptions = (
        _named("NonRootException", "one", f"team-{each}") | {"apiVersion": OURS, "spec": {"reason": "because"}}
        for each in range(size.exceptions)
    )
    yield f"/apis/{OURS}/nonrootexceptions", exceptions
    yield IDENTITIES, (_identity(number) for number in range(size.identities))


def _named(kind: str, name: str, namespace: str = "") -> Object:
    metadata = {"name": name, "labels": {"team": name[:63]}} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


def _selecting(number: int) -> Object:
    return {"priority": number, "namespaceSelector": {"matchLabels": {"team": f"team-{number}"}}}


def _identity(number: int) -> Object:
    now = datetime.now(UTC).replace(microsecond=0)
    spec = ImageIdentitySpec(
        f"registry.example.com/other/app{number}:1", "linux/amd64", 1000, "registry", now, now, "app", 1000, (1000,)
    )
    spec = msgspec.structs.replace(spec, digest=f"sha256:{number:064x}")
    name = ImageIdentity("", spec).proper_name
    return _named("ImageIdentity", name) | {"apiVersion": OURS, "spec": msgspec.to_builtins(spec)}


def _template(number: int, size: Size, registry: str) -> Object:
    """A real Pod's spec, which says nothing of users, with an image of the registry."""
    spec: Object = json.loads(CAPTURED.read_text())["request"]["object"]["spec"]
    spec.pop("securityContext", None)
    for container in spec["containers"]:
        container.pop("securityContext", None)
        container["image"] = f"{registry}/team/app{number % size.images}:1"
    return {"metadata": {"labels": {"app": f"app-{number}"}}, "spec": spec}


def _holder(kind: str, suffix: str, number: int, size: Size, registry: str) -> Object:
    made = _named(kind, f"app-{number}{suffix}", f"team-{number % size.namespaces}") | {"apiVersion": "apps/v1"}
    if suffix:
        made["metadata"]["ownerReferences"] = [_owner("Deployment", f"app-{number}")]
    selector = {"matchLabels": {"app": f"app-{number}"}}
    return made | {"spec": {"selector": selector, "template": _template(number, size, registry)}}


def _pod(number: int, size: Size, registry: str) -> Object:
    which = number % size.workloads
    made = _named("Pod", f"app-{which}-5d4f-{number}", f"team-{which % size.namespaces}")
    made["metadata"]["ownerReferences"] = [_owner("ReplicaSet", f"app-{which}-5d4f")]
    return made | {"spec": _template(which, size, registry)["spec"]}


def _owner(kind: str, name: str) -> Object:
    return {"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": f"uid-of-{name}", "controller": True}


async def _kubectl(*arguments: str) -> None:
    process = await asyncio.create_subprocess_exec("kubectl", *arguments, stdout=asyncio.subprocess.DEVNULL)
    if await process.wait():
        raise SystemExit(f"kubectl {arguments[0]} failed")


@contextlib.asynccontextmanager
async def _process(command: str, *flags: str) -> AsyncIterator[tuple[Process, int]]:
    """One of our programs, and the port of its metrics."""
    port = free_port()
    words = [sys.executable, "-m", "webhook", command, "--host=127.0.0.1", f"--metrics-port={port}", *flags]
    process = await asyncio.create_subprocess_exec(*words)
    try:
        yield process, port
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def _must_run(process: Process) -> None:
    """Stop the bench where the process has ended: nothing more is to be waited for."""
    if process.returncode is not None:
        raise SystemExit(f"our process ended with {process.returncode}")


async def _until(process: Process, port: int, path: str) -> float:
    """The seconds until the process answers at a path."""
    began = time.monotonic()
    while True:
        _must_run(process)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(_get, port, path)
            return time.monotonic() - began
        await asyncio.sleep(0.1)


def _get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        text: str = answer.read().decode()
    return text


def _metrics(port: int) -> dict[str, float]:
    lines = (line.rpartition(" ") for line in _get(port, "/metrics").splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}


async def _settled(process: Process, port: int, quiet: float, former: float) -> float:
    """When the last scan was made, once there is one after `former` and nothing was written for a while after it."""
    last: tuple[float, float] = (0, 0)
    since = time.monotonic()
    while True:
        await asyncio.sleep(quiet / 5)
        _must_run(process)
        try:
            result = await asyncio.to_thread(_metrics, port)
        except OSError:
            continue
        now = (result.get("nonroot_scan_timestamp_seconds", 0), result["nonroot_report_writes_total"])
        if now != last or now[0] <= former:
            last, since = now, time.monotonic()
        elif time.monotonic() - since >= quiet:
            return now[0]


def _states(result: dict[str, float]) -> dict[str, int]:
    """The workloads by what becomes of them, over all namespaces."""
    states: Counter[str] = Counter()
    for name, value in result.items():
        if name.startswith("nonroot_workloads{"):
            states[re.findall(r'verdict="(\w+)"', name)[0]] += int(value)
    return dict(states)


def _cpu(pid: int) -> float:
    """The seconds of CPU that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


_REQUEST = re.compile(
    r'apiserver_request_total\{.*,resource="(\w+)".*verb="(POST|PUT|PATCH|APPLY|DELETE)"[^}]*\} (\S+)'
)


async def _written(api: Cluster) -> dict[str, float]:
    """The writes that the API server has counted, by resource."""
    body = await api.call("GET", "/metrics", "its metrics")
    found: dict[str, float] = {}
    for resource, _, count in _REQUEST.findall((body or b"").decode()):
        found[resource] = found.get(resource, 0) + float(count)
    return found


def _more(before: dict[str, float], after: dict[str, float]) -> dict[str, int]:
    ours = ("reports", "nonrootpolicies", "nonrootexceptions", "imageidentities", "events")
    return {each: int(after.get(each, 0) - before.get(each, 0)) for each in ours}


def _memory(pid: int) -> str:
    status = Path(f"/proc/{pid}/status").read_text()
    now, most = (int(re.findall(rf"{key}:\s+(\d+)", status)[0]) >> 10 for key in ("VmRSS", "VmHWM"))
    return f"{now} MiB resident, {most} MiB at most"


async def _print(size: Size) -> None:
    async for line in measure(size):
        print(line, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in msgspec.structs.asdict(Size()).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    asyncio.run(_print(Size(**vars(parser.parse_args()))))
