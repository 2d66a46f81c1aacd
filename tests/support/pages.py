"""Scans to make pages of: forecasts of small clusters, with images of every outcome."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from tests.support.evaluation import NOW
from tests.support.images import Table, image, unknown
from tests.support.made_up_cluster import named, of, running, take
from tests.support.pods import DEFAULTS, Object, tweak
from webhook.image.source import Image, Unknown
from webhook.policy.cache import PolicySnapshot
from webhook.policy.loader import load
from webhook.policy.types import Documents
from webhook.scan.document import Document, Sample, Skip, document
from webhook.scan.evaluate import predict

IMAGES: dict[str, Image | Unknown] = {
    "registry.example/number:1": image("7"),
    "registry.example/name:1": image("app"),
    "registry.example/root:1": image(""),
    "registry.example/secret:1": unknown("unauthorized"),
}
HOSTILE = "\x1b[31m\u202e\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"
SAFE = {"runAsUser": 5, **DEFAULTS}
EXCEPTION = {
    "apiVersion": "nonroot.dev/v1alpha1",
    "kind": "NonRootException",
    "metadata": {"name": "migration", "namespace": "shop"},
    "spec": {"workloads": [{"kind": "Deployment", "name": "excused"}], "reason": "moves in May"},
}


def workload(kind: str, namespace: str, name: str, image: str, **fields: Any) -> Object:
    """A workload of one container; `fields` are its security context's."""
    path = {"Pod": "spec", "CronJob": "spec.jobTemplate.spec.template.spec"}.get(kind, "spec.template.spec")
    obj = named(of(kind, **fields), name)
    return tweak(obj, {"metadata.namespace": namespace, f"{path}.containers.0.image": f"registry.example/{image}:1"})


async def scanned(*objects: Object, cluster: str = "prod-eu", skipped: tuple[Skip, ...] = ()) -> Document:
    """The document of a scan over some objects, made at noon in UTC."""
    found, _ = take(*objects)
    view = PolicySnapshot(Documents(exceptions=load([EXCEPTION], "a test").exceptions))
    result = [await predict(each, view, Table(IMAGES), NOW) for each in found.values()]
    return document(cluster, "2026-11-21T12:00:00+00:00", result, skipped)


async def small() -> Document:
    """Every outcome once, in two namespaces, and one container that runs as root now."""
    return await scanned(
        workload("Deployment", "shop", "web", "name"),
        workload("StatefulSet", "shop", "store", "root"),
        workload("DaemonSet", "shop", "agent", "secret"),
        workload("Deployment", "shop", "excused", "root"),
        running(workload("Pod", "shop", "loose", "root"), 0),
        workload("CronJob", "billing", "nightly", "number", **SAFE),
        workload("Deployment", "billing", "ledger", "name", runAsNonRoot=True),
        skipped=(Skip("Deployment shop/broken", "it has no containers"),),
    )


HISTORY = (
    Sample(datetime(2026, 11, 1, 12, tzinfo=UTC), 1, 1, 4, 1, 1, 2),
    Sample(datetime(2026, 11, 6, 12, tzinfo=UTC), 1, 2, 2, 1, 1, 1),
)


async def followed() -> Document:
    """The same as a controller shows it that has seen other counts."""
    return msgspec.structs.replace(await small(), history=HISTORY)


async def large(count: int = 450) -> Document:
    """More workloads than a table shows at once, in as many namespaces as there are tens of them."""
    kinds = ("name", "root", "number")
    return await scanned(
        *(workload("Deployment", f"team-{each // 10}", f"web-{each}", kinds[each % 3]) for each in range(count))
    )


async def hostile() -> Document:
    """What strangers may name, with a script in every name."""
    obj = workload("Deployment", HOSTILE, HOSTILE, "root")
    container = obj["spec"]["template"]["spec"]["containers"][0]
    container["name"] = container["image"] = HOSTILE
    return await scanned(obj, cluster=HOSTILE, skipped=(Skip(HOSTILE, HOSTILE),))
