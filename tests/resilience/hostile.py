"""`python -m tests.resilience.hostile ADDRESS NAMESPACE [RATES]`: a tenant that does its worst, in a process of its own.

It prints a line when it has begun, stops when its input ends, and then prints how many Pods of each kind it sent. Each kind has
clients of its own that send one dry run after the other through the API server, with images in a registry at ADDRESS. RATES is
JSON: no more Pods a second of each kind than that.
"""

import asyncio
import contextlib
import gzip
import hashlib
import itertools
import json
import logging
import math
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deploy.dev.oci import Blob, Content, Layer, file, image, layer, tar
from deploy.dev.registry import Hang, Registry, Slow
from tests.conformance.cluster import Api, Refused, connect
from tests.support.pods import Object

PAUSE = 0.1  # seconds between two Pods of a client
CLIENTS = 3  # of each kind
LONG = 1 << 20  # characters
RECORDS = 990  # PAX records of a header: nearly as many as one may have
HEADERS = 2000  # and nearly as many records as a layer may have
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def records() -> bytes:
    """A header of a tar archive that holds nothing but PAX records."""
    data = b"11 aaaa=bb\n" * RECORDS
    header = tarfile.TarInfo("h")
    header.size, header.type = len(data), tarfile.XGLTYPE
    return header.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


class Tenant:
    """Its images and Pods, of each kind any number."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        archive = records() * HEADERS
        self._packed, self._hash = gzip.compress(archive), hashlib.sha256(archive)
        registry.lie(Hang(), path="hangs.*/manifests")
        self.kinds: dict[str, Callable[[int], Object]] = {
            "values of a MiB": self._long,
            "manifests that hang": lambda number: _spec(f"{registry.host}/hangs{number}:1"),
            "layers that hang": self._slow,
            "layers of PAX records": self._bomb,
            "names that do not resolve": lambda number: _spec(f"x{number}.slow.invalid/a:1"),
        }

    def _pushed(self, name: str, content: Content) -> Object:
        self._registry.push(f"{name}:1", content)
        return _spec(f"{self._registry.host}/{name}:1")

    def _slow(self, number: int) -> Object:
        held = layer(file("etc/passwd", f"app:x:{number}:7::/:"))
        self._registry.lie(Slow(), path=held.blob.digest)
        return self._pushed(f"slow{number}", image(held, user="app"))

    def _bomb(self, number: int) -> Object:
        """Another layer each time, of which only the end is made anew."""
        end, whole = tar(file("etc/passwd", f"{number}")), self._hash.copy()
        whole.update(end)
        held = Layer(Blob(self._packed + gzip.compress(end), LAYER), f"sha256:{whole.hexdigest()}")
        return self._pushed(f"bomb{number}", image(held, user="app"))

    def _long(self, number: int) -> Object:
        """The longest value of a field, each in turn."""
        value = f"{number}-".ljust(LONG, "a")
        spec = _spec(f"{self._registry.host}/long:1")
        match number % 5:
            case 0:
                spec["containers"][0]["image"] = value
            case 1:
                spec["containers"][0]["name"] = value
            case 2:
                spec["imagePullSecrets"] = [{"name": value}]
            case 3:
                spec["serviceAccountName"] = value
            case _:
                spec["nodeSelector"] = {"kubernetes.io/arch": value}
        return spec


def _spec(image: str) -> Object:
    return {"containers": [{"name": "app", "image": image}]}


async def send(
    api: Api, namespace: str, kind: Callable[[int], Object], first: int, period: float, stop: asyncio.Event
) -> int:
    """One Pod after the other, whatever is answered, each client with numbers of its own; how many."""
    for sent in itertools.count():
        if stop.is_set():
            return sent
        began = time.monotonic()
        spec = kind(first + sent * CLIENTS)
        pod: Any = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "evil-"}, "spec": spec}
        with contextlib.suppress(Refused):
            await api.call("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", pod)
        rest = began + period - time.monotonic()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), max(rest, PAUSE))
    return 0


async def main(address: str, namespace: str, rates: Mapping[str, float]) -> None:
    """All kinds at once."""
    logging.disable()  # of a registry whose clients give up
    stop = asyncio.Event()
    async with Registry(address=address) as registry:
        tenant = Tenant(registry)
        with tempfile.TemporaryDirectory() as folder:
            async with connect(os.environ, Path(folder)) as api, asyncio.TaskGroup() as clients:
                sent = {
                    name: [
                        clients.create_task(send(api, namespace, kind, each, CLIENTS / rates.get(name, math.inf), stop))
                        for each in range(CLIENTS)
                    ]
                    for name, kind in tenant.kinds.items()
                }
                print("begun", flush=True)
                await asyncio.to_thread(sys.stdin.read)
                stop.set()
    print(json.dumps({name: sum(task.result() for task in tasks) for name, tasks in sent.items()}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]) if sys.argv[3:] else {}))
