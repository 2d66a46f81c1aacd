"""Wrong injections under the real kubelet and runtime: each is reported within a minute, by the field that is to blame.

Every image runs unpatched first. Then it runs with fields as we would inject them if we knew nothing of the image, or the
wrong thing, and with the annotation that says so.
"""

import asyncio
import json
import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.dev import oci
from tests.conformance import images, runner
from tests.conformance.cluster import Api
from tests.conformance.test_privileges import FIRST, MORE, POD_SECONDS, STARTED, WRITER, pod, terminated
from tests.e2e.target import Target
from tests.integration.cluster.test_patched_pods import counted
from tests.support import cluster, helm
from tests.support.controller import Controller, controller
from webhook.cluster import image_identities
from webhook.cluster.client import Cluster
from webhook.image import image_identity, reference
from webhook.image.source import Image, Query
from webhook.registry.client import RegistryClient
from webhook.registry.settings import RegistrySettings
from webhook.workload.annotations import ANNOTATION

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

REPORT_TIMEOUT = 60.0  # seconds from the failure until it is reported
START = 60.0  # seconds for a controller and its first scan
DROPS = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}

Json = dict[str, Any]


class Shape(msgspec.Struct, frozen=True):
    """An image, the fields that are injected, and which of them is reported; "" where nothing is."""

    content: oci.Content
    fields: Json
    noted: str = ""
    environment: Mapping[str, str] = {}


def image(entrypoint: Sequence[str], *entries: oci.Entry, user: str | None = "app", **settings: object) -> oci.Content:
    return oci.image(
        images.base(),
        oci.accounts_layer("root:x:0:0::/:/bin/sh", "app:x:1500:1500::/:/bin/sh"),
        *((oci.layer(*entries),) if entries else ()),
        user=user,
        architecture=images.ARCHITECTURE,
        settings={"Entrypoint": list(entrypoint), **settings},
    )


TRUE = ("/bin/busybox", "true")
PRIVATE = (
    oci.owned(oci.directory("home"), 1500, 1500, 0o700),
    oci.owned(oci.symlink("home/true", "/bin/busybox"), 1500, 1500),
)
CLOSED = image(("/bin/busybox", "ls"), *PRIVATE, user=None, WorkingDir="/home")
SHAPES = {
    "first": Shape(FIRST, DROPS, "capabilities"),
    "started": Shape(STARTED, DROPS, "capabilities"),
    "more": Shape(MORE, DROPS | {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}, "capabilities"),
    "setuid": Shape(WRITER, {"allowPrivilegeEscalation": False}, "allowPrivilegeEscalation"),
    # runc 1.1 changes to it as root, and the container cannot list it.
    "directory": Shape(CLOSED, {"runAsUser": 4242}, "runAsUser"),
    # With its default capabilities runc still has DAC_OVERRIDE where it looks for the program, and finds it.
    "program": Shape(image(("/home/true",), *PRIVATE, user=None), DROPS | {"runAsUser": 4242}, "runAsUser"),
    "named": Shape(image(TRUE), {"runAsNonRoot": True}, "runAsNonRoot"),
    "right": Shape(FIRST, DROPS | {"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}),
    "by itself": Shape(
        image(("/bin/busybox", "sh", "-c", "exit ${CODE:-0}")), DROPS | {"runAsUser": 1500}, environment={"CODE": "3"}
    ),
}


def patched(shape: Shape, registry: str) -> Json:
    """The Pod as it would be stored."""
    made = pod(images.reference(registry, shape.content))
    (container,) = made["spec"]["containers"]
    container["securityContext"] = shape.fields
    container["env"] = [{"name": name, "value": value} for name, value in shape.environment.items()]
    made["metadata"]["annotations"] = {ANNOTATION: json.dumps([{"container": "app", "fields": sorted(shape.fields)}])}
    return made


async def survey(registry: str, content: oci.Content) -> None:
    """Store what the image's layers say, as the controller does in the background."""
    name = images.reference(registry, content)
    client, api = RegistryClient(RegistrySettings(insecure=frozenset({registry}))), Cluster()
    try:
        found = await client.find(Query(name, accounts=True, survey=True, budget=60.0))
        assert isinstance(found, Image)
        (made,) = image_identity.of_image(reference.parse(name), found, None, datetime.now(UTC))
        spec = msgspec.structs.replace(made.spec, facts=image_identity.facts(found.platforms[0]))
        await image_identities.create(api, msgspec.structs.replace(made, spec=spec))
    finally:
        await client.aclose()
        await api.aclose()


async def events(api: Api, namespace: str) -> dict[str, str]:
    """What was reported, by the name of the Pod."""
    path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events?fieldSelector=reason%3DInjectionStopsContainer"
    return {each["regarding"]["name"]: each["note"] for each in (await api.call("GET", path))["items"]}


async def scanned(running: Controller) -> None:
    until = time.monotonic() + START
    while "nonroot_scan_timestamp_seconds " not in await asyncio.to_thread(running.answer, "/metrics"):
        assert time.monotonic() < until, "there was no scan"
        await asyncio.sleep(0.5)


async def over(api: Api, pod: str) -> None:
    """Wait until its container has ended, or the kubelet has refused to start it."""
    until = time.monotonic() + POD_SECONDS
    while time.monotonic() < until:
        for each in (await api.call("GET", pod))["status"].get("containerStatuses", ()):
            state = each["state"]
            if "terminated" in state or state.get("waiting", {}).get("reason") == "CreateContainerConfigError":
                return
        await asyncio.sleep(0.5)
    raise AssertionError(f"{pod} came to nothing")


async def test_each_wrong_field_is_reported_within_a_minute_and_nothing_else_is(
    api: Api, registry: str, tmp_path: Path
) -> None:
    await images.push(registry, (each.content for each in SHAPES.values()))
    namespace = await runner.namespace(api)
    target = Target(os.environ, registry)
    pods = f"/api/v1/namespaces/{namespace}/pods"
    flags = ("--namespace=default", "--no-manage-certificates", "--no-reports", f"--insecure-registry={registry}")
    with cluster.crds(target), cluster.access(target, tmp_path, *helm.controllers_rights()) as kubeconfig:
        for each in (WRITER, CLOSED):
            await survey(registry, each)
        references = {images.reference(registry, each.content) for each in SHAPES.values()}
        ends = await asyncio.gather(*(terminated(api, namespace, pod(each)) for each in references))
        assert [each for each in ends if each["exitCode"]] == []
        with controller(kubeconfig, *flags, "--survey-rate=0") as running:
            await scanned(running)
            names = {
                (await api.call("POST", pods, patched(shape, registry)))["metadata"]["name"]: name
                for name, shape in SHAPES.items()
            }
            for each in names:
                await over(api, f"{pods}/{each}")
            began = time.monotonic()
            wanted = {name for name, shape in SHAPES.items() if shape.noted}
            noted: dict[str, str] = {}
            while wanted - noted.keys() and time.monotonic() < began + REPORT_TIMEOUT:
                await asyncio.sleep(1)
                noted = {names[each]: note for each, note in (await events(api, namespace)).items() if each in names}
            print(f"after {time.monotonic() - began:.0f} s: {noted}")
            states = {name: (await api.call("GET", f"{pods}/{each}"))["status"] for each, name in names.items()}
            print({name: states[name]["containerStatuses"] for name in wanted - noted.keys()})
            assert noted.keys() == wanted
            await asyncio.sleep(2 * 10)  # two more looks
            noted = {names[each]: note for each, note in (await events(api, namespace)).items() if each in names}
            metrics = await asyncio.to_thread(running.answer, "/metrics")
    await api.call("DELETE", f"/api/v1/namespaces/{namespace}")
    fields = {name: note.partition("the injected ")[2].split()[0].strip(".;") for name, note in noted.items()}
    assert fields == {name: shape.noted for name, shape in SHAPES.items() if shape.noted}
    for field, count in (("capabilities", 3), ("allowPrivilegeEscalation", 1), ("runAsUser", 2), ("runAsNonRoot", 1)):
        assert counted(metrics, field) >= count
