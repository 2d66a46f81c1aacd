"""`python -m tests.bench.scan`: the time and memory of `nonroot scan`, of a cluster that is made up and served on loopback.

The objects are as large as an API server's, the images are read from a registry over HTTP, all from a process of its own;
the scan is the command as people run it. The first run finds nothing on disk, the second everything that it may keep.
"""

import argparse
import asyncio
import copy
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploy.dev.oci import accounts_layer, image
from deploy.dev.registry import Registry
from tests.support.api import Api, serving
from tests.support.made_up_cluster import API, named
from tests.support.pods import Object

HERE = Path(__file__).parent
NAMESPACES = 100
OLD = 2  # former ReplicaSets of each Deployment, which are listed too


async def main() -> list[str]:
    """The section's lines, for the cluster that is made up by default."""
    command = [sys.executable, "-m", "tests.bench.scan"]
    done = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, text=True, check=True)
    return [f"- {line}" for line in done.stdout.splitlines()]


def _print() -> int:
    """Run, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workloads", type=int, default=10_000)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--pods", type=int, default=3, help="of each workload that has some at the moment")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(_serve(given.workloads, given.images, given.pods, given.serve))
        return 0
    with tempfile.TemporaryDirectory() as name:
        sizes = [f"--{each}={getattr(given, each)}" for each in ("workloads", "images", "pods")]
        command = [sys.executable, "-m", "tests.bench.scan", *sizes, "--serve", name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            try:
                _measure(server, Path(name))
            finally:
                server.communicate("")
    return 0


def _measure(server: "subprocess.Popen[str]", folder: Path) -> None:
    assert server.stdin is not None
    assert server.stdout is not None
    result = json.loads(server.stdout.readline())
    print(
        f"{result['workloads']:,} workloads, {result['pods']:,} Pods, {result['objects']:,} objects of "
        f"{result['bytes'] >> 20} MiB, "
        f"{result['images']} images; {len(os.sched_getaffinity(0))} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"
    )
    for run in ("first", "second"):
        output = folder / "scan.json"
        command = [sys.executable, "-m", "webhook", "scan", "-o", "json", "--output-file", str(output)]
        environment = os.environ | {"KUBECONFIG": str(folder / "kubeconfig"), "XDG_CACHE_HOME": str(folder)}
        began = time.perf_counter()
        with subprocess.Popen([*command, "--insecure-registry", result["registry"]], env=environment) as scan:
            _, status, used = os.wait4(scan.pid, 0)
            seconds = time.perf_counter() - began
            scan.returncode = os.waitstatus_to_exitcode(status)
        server.stdin.write("\n")
        server.stdin.flush()
        asked = json.loads(server.stdout.readline())
        document = json.loads(output.read_text())
        outcomes = {name: count for name, count in document["summary"]["workloads"].items() if count}
        if len(document["workloads"]) != result["workloads"] or document["skipped"]:
            raise SystemExit(f"it found {len(document['workloads'])} workloads and skipped {document['skipped'][:3]}")
        print(
            f"{run} run: {seconds:.1f} s, {used.ru_utime + used.ru_stime:.1f} s of CPU, at most {used.ru_maxrss >> 10} MiB; "
            f"{asked['api']} requests to the API server, {asked['registry']} to the registry; "
            f"{output.stat().st_size >> 20} MiB of JSON: {outcomes}"
        )


async def _serve(workloads: int, images: int, pods: int, folder: Path) -> None:
    """Serve until standard input ends; for each line on it say how much was asked since the one before."""
    async with Registry() as registry:
        for number in range(images):
            user = "" if number % 20 == 0 else f"app{number}" if number % 3 else str(2000 + number)
            accounts = accounts_layer(
                "root:x:0:0::/root:/bin/sh", f"app{number}:x:{2000 + number}:{2000 + number}::/:/bin/sh"
            )
            registry.push(f"team/app{number}:1", image(accounts, user=user))
        objects: dict[str, list[Object]] = {path: [] for path in _PATHS.values()}
        for kind, obj in _cluster(workloads, images, pods, registry.host):
            objects[_PATHS[kind]].append(obj)
        api = Api(objects)
        async with serving(api, folder):
            result = {
                "workloads": workloads,
                "pods": len(objects[_PATHS["Pod"]]),
                "objects": sum(map(len, objects.values())),
                "bytes": sum(len(json.dumps(each)) for those in objects.values() for each in those),
                "images": images,
                "registry": registry.host,
            }
            print(json.dumps(result), flush=True)
            while await asyncio.to_thread(sys.stdin.readline):
                print(json.dumps({"api": len(api.asked), "registry": len(registry.requests)}), flush=True)
                api.asked.clear()
                registry.requests.clear()


_PATHS = {
    kind: f"{'/api/' if version == 'v1' else '/apis/'}{version}/{kind.lower()}s"
    for kind, version in {**API, "Pod": "v1", "Node": "v1", "Namespace": "v1", "ServiceAccount": "v1"}.items()
}


def _cluster(workloads: int, images: int, pods: int, registry: str) -> Iterator[tuple[str, Object]]:
    """The objects with their kinds: of ten workloads eight Deployments, a StatefulSet and a CronJob that waits."""
    captured = json.loads((HERE / "reviews" / "good.json").read_text())["request"]["object"]
    info = {"operatingSystem": "linux", "architecture": "amd64"}
    yield "Node", {"metadata": {"name": "node-1"}, "status": {"nodeInfo": info}}
    for number in range(NAMESPACES):
        yield "Namespace", {"metadata": {"name": f"team-{number}", "labels": {}}}
        yield "ServiceAccount", {"metadata": {"name": "default", "namespace": f"team-{number}"}}
    for number in range(workloads):
        kind = {8: "StatefulSet", 9: "CronJob"}.get(number % 10, "Deployment")
        which = number % images
        pod = _pod(captured, f"team-{number % NAMESPACES}", f"{registry}/team/app{which}:1", which)
        name = f"app-{number}"
        yield kind, _holder(kind, name, pod)
        maker = (kind, name)
        if kind == "CronJob":
            continue
        if kind == "Deployment":
            for old in range(OLD + 1):
                yield "ReplicaSet", named(_holder("ReplicaSet", "", pod), f"{name}-{old}", maker)
            maker = ("ReplicaSet", f"{name}-{OLD}")
        for copied in range(pods):
            yield "Pod", named(pod, f"{name}-{copied}", maker)


def _pod(captured: Object, namespace: str, reference: str, which: int) -> Object:
    """The captured Pod, running that image as whom it says."""
    pod: Object = copy.deepcopy(captured)
    spec: dict[str, Any] = pod["spec"]
    spec.pop("securityContext", None)
    pod["metadata"]["namespace"] = namespace
    spec["nodeName"] = "node-1"
    uid = 0 if which % 20 == 0 else 2000 + which
    user = {"linux": {"uid": uid, "gid": uid, "supplementalGroups": [uid]}}
    statuses = []
    for container in spec["containers"]:
        container.pop("securityContext", None)
        container["image"] = reference
        digest = f"{reference.rpartition(':')[0]}@sha256:{which:064x}"
        statuses.append({"name": container["name"], "imageID": digest, "user": user})
    pod["status"] = {"phase": "Running", "containerStatuses": statuses}
    return pod


def _holder(kind: str, name: str, pod: Object) -> Object:
    """A workload with that Pod as its template, about as large as a stored one."""
    metadata = {**pod["metadata"], "name": name, "uid": f"uid-of-{name}", "ownerReferences": []}
    template = {"metadata": {"labels": pod["metadata"].get("labels", {})}, "spec": pod["spec"]}
    spec: Object = {"template": template}
    return {"metadata": metadata, "spec": {"jobTemplate": {"spec": spec}} if kind == "CronJob" else spec}


if __name__ == "__main__":
    sys.exit(_print())
