"""Programs with file capabilities under the real kernel, kubelet and runtime: what ran before our patch runs after it.

Each image is a static busybox that carries a capability and copies its own /proc/self/status into the termination message:
so the process itself says who it is and what it may. What only the layers could tell, and nobody has read, is shown to
fail, too.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonpatch
import msgspec
import pytest

from deploy.dev import oci
from tests.conformance import images, runner
from tests.conformance.cluster import Api, Refused
from tests.conformance.model import Files, Node
from tests.conformance.ours import ENFORCE, NOW, workload
from webhook.admission.decision import advise
from webhook.check.surveying import Surveying
from webhook.evaluation.evaluator import evaluate
from webhook.evaluation.patch import operations
from webhook.evaluation.verdict import Verdict
from webhook.image.source import Images
from webhook.policy.selection import EffectivePolicy
from webhook.registry.client import RegistryClient
from webhook.registry.settings import RegistrySettings

pytestmark = pytest.mark.e2e

BIND, RAW = 10, 13  # linux/capability.h
REPORT = ("cp", "/proc/self/status", "/dev/termination-log")
POD_SECONDS = 300.0  # on a busy machine

Json = dict[str, Any]


class Ended(msgspec.Struct, frozen=True):
    """How a container ended that ran: its uid, its effective capabilities and its no_new_privs flag."""

    uid: str
    effective: int
    no_new_privs: str


STOPPED = None  # it could not be executed: the runtime, or the shell that should, has failed


def carrying(name: str, capability: int, entrypoint: Sequence[str]) -> oci.Content:
    """The image whose program /NAME carries the capability, +ep, and whose USER is a name."""
    value = b"\1\0\0\2" + (1 << capability).to_bytes(4, "little") + bytes(12)
    program = oci.owned(oci.file(name, images.BUSYBOX.read_bytes()), 0, 0, 0o755)
    program = msgspec.structs.replace(program, pax={"SCHILY.xattr.security.capability": value.decode("ascii")})
    return oci.image(
        images.base(),
        oci.accounts_layer("root:x:0:0::/:/bin/sh", "app:x:1500:1500::/:/bin/sh"),
        oci.layer(program),
        user="app",
        architecture=images.ARCHITECTURE,
        settings={"Entrypoint": list(entrypoint)},
    )


SETUID = Path("/sbin/ldconfig")  # a static program that every Debian has; it writes its cache where it is told to
WRITER = oci.image(
    images.base(),
    oci.accounts_layer("root:x:0:0::/:/bin/sh", "app:x:1500:1500::/:/bin/sh"),
    oci.layer(
        oci.owned(oci.file("setuid", SETUID.read_bytes()), 0, 0, 0o4755), oci.owned(oci.directory("safe"), 0, 0, 0o700)
    ),
    user="app",
    architecture=images.ARCHITECTURE,
    settings={"Entrypoint": ["/setuid", "-X", "-C", "/safe/cache"]},
)
"""The image whose setuid program /setuid writes where root alone may."""

FIRST = carrying("busybox-bind", BIND, ("/busybox-bind", *REPORT))
STARTED = carrying("busybox-bind", BIND, ("/bin/busybox", "sh", "-c", f"exec /busybox-bind {' '.join(REPORT)}"))
MORE = carrying("busybox-raw", RAW, ("/busybox-raw", *REPORT))


def pod(image: str) -> Json:
    """A Pod that says nothing about users."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "privileges-"},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [{"name": "app", "image": image}],
        },
    }


async def evaluated(written: Json, source: Images, policy: EffectivePolicy) -> Verdict:
    return await evaluate(workload(written), policy, source, namespace="x", budget=60.0, now=NOW)


async def injected(written: Json, source: Images, policy: EffectivePolicy = ENFORCE) -> Json:
    """The Pod as admission would store it."""
    work, verdict = workload(written), await evaluated(written, source, policy)
    patched: Json = jsonpatch.apply_patch(written, msgspec.json.encode(operations(verdict, work)).decode())
    return patched


async def terminated(api: Api, namespace: str, body: Json) -> Json:
    """How the Pod's container ends, in the kubelet's words."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    name = (await api.call("POST", pods, body))["metadata"]["name"]
    until = time.monotonic() + POD_SECONDS
    while time.monotonic() < until:
        status = (await api.call("GET", f"{pods}/{name}"))["status"]
        for each in status.get("containerStatuses", ()):
            if over := each["state"].get("terminated"):
                found: Json = over
                return found
        await asyncio.sleep(0.5)
    raise AssertionError(f"{name} did not end: {status}")


async def ended(api: Api, namespace: str, body: Json) -> Ended | None:
    """How the Pod's container ends, in its own words."""
    over = await terminated(api, namespace, body)
    if over["exitCode"]:
        return STOPPED
    lines = dict(line.split(":", 1) for line in over["message"].splitlines() if ":\t" in line)
    return Ended(lines["Uid"].split()[1], int(lines["CapEff"].strip(), 16), lines["NoNewPrivs"].strip())


async def test_what_ran_before_injection_runs_after_it(api: Api, registry: str) -> None:
    """As the same user and with the same capabilities in effect, wherever the layers were read or NET_BIND_SERVICE is all."""
    shapes: Mapping[str, oci.Content] = {"first": FIRST, "started": STARTED, "more": MORE}
    await images.push(registry, shapes.values())
    namespace = await runner.namespace(api)
    client = RegistryClient(RegistrySettings(insecure=frozenset({registry})))
    try:
        found: dict[tuple[str, str], Ended | None] = {}

        async def run(shape: str, how: str, body: Json) -> None:
            found[shape, how] = await ended(api, namespace, body)

        plans = []
        for shape, content in shapes.items():
            written = pod(images.reference(registry, content))
            dropping = pod(images.reference(registry, content))
            dropping["spec"]["containers"][0]["securityContext"] = {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
            plans += [
                (shape, "as written", written),
                (shape, "drop ALL", dropping),
                (shape, "layers read", await injected(written, Surveying(client))),
                (shape, "nothing known", await injected(written, client)),
            ]
        own = pod(images.reference(registry, MORE))
        own["spec"]["securityContext"] = {"runAsUser": 1500}
        plans += [("own uid", "as written", own), ("own uid", "layers read", await injected(own, Surveying(client)))]
        await asyncio.gather(*(run(*plan) for plan in plans))
    finally:
        await client.aclose()
        await api.call("DELETE", f"/api/v1/namespaces/{namespace}")

    bind, raw = 1 << BIND, 1 << RAW
    assert {how: each for (shape, how), each in found.items() if shape == "first"} == {
        "as written": Ended("1500", bind, "0"),
        "drop ALL": STOPPED,  # the runtime itself cannot start it
        "layers read": Ended("1500", bind, "1"),
        "nothing known": Ended("1500", bind, "1"),
    }
    assert {how: each for (shape, how), each in found.items() if shape == "started"} == {
        "as written": Ended("1500", bind, "0"),
        "drop ALL": STOPPED,  # the shell cannot
        "layers read": Ended("1500", bind, "0"),
        "nothing known": Ended("1500", 0, "1"),  # it starts, without the capability
    }
    assert {how: each for (shape, how), each in found.items() if shape == "more"} == {
        "as written": Ended("1500", raw, "0"),
        "drop ALL": STOPPED,
        "layers read": Ended("1500", raw, "0"),
        "nothing known": STOPPED,
    }
    assert {how: each for (shape, how), each in found.items() if shape == "own uid"} == {
        "as written": Ended("1500", raw, "0"),
        "layers read": Ended("1500", raw, "0"),
    }


async def test_where_pod_security_demands_the_fields_they_are_injected_and_the_warning_says_what_stops(
    api: Api, registry: str
) -> None:
    """Without them the API server refuses the Pod; one that needs no more than NET_BIND_SERVICE runs with them."""
    await images.push(registry, [FIRST, MORE])
    namespace = await runner.namespace(api, {"pod-security.kubernetes.io/enforce": "restricted"})
    client = RegistryClient(RegistrySettings(insecure=frozenset({registry})))
    policy = msgspec.structs.replace(ENFORCE, restricted=True)
    try:
        written = {name: pod(images.reference(registry, each)) for name, each in (("bind", FIRST), ("raw", MORE))}
        with pytest.raises(Refused, match="violates PodSecurity"):
            await terminated(api, namespace, written["raw"])
        source = Surveying(client)
        verdicts = {name: await evaluated(each, source, policy) for name, each in written.items()}
        bodies = [await injected(each, source, policy) for each in written.values()]
        ends = await asyncio.gather(*(ended(api, namespace, body) for body in bodies))
    finally:
        await client.aclose()
        await api.call("DELETE", f"/api/v1/namespaces/{namespace}")
    assert dict(zip(written, ends, strict=True)) == {"bind": Ended("1500", 1 << BIND, "1"), "raw": STOPPED}
    assert advise(verdicts["bind"]) == ()
    (warning,) = advise(verdicts["raw"])
    assert 'a program will not work: container "app"' in warning
    assert "the namespace enforces Pod Security restricted, which demands them" in warning


async def test_a_setuid_program_that_the_start_needs_keeps_its_power_where_the_layers_were_read(
    api: Api, registry: str
) -> None:
    """Where nobody has read them allowPrivilegeEscalation: false is injected, and it cannot do its work."""
    await images.push(registry, [WRITER])
    namespace = await runner.namespace(api)
    client = RegistryClient(RegistrySettings(insecure=frozenset({registry})))
    try:
        written = pod(images.reference(registry, WRITER))
        bodies = {
            "as written": written,
            "layers read": await injected(written, Surveying(client)),
            "nothing known": await injected(written, client),
        }
        ends = await asyncio.gather(*(terminated(api, namespace, body) for body in bodies.values()))
    finally:
        await client.aclose()
        await api.call("DELETE", f"/api/v1/namespaces/{namespace}")
    context = bodies["layers read"]["spec"]["containers"][0]["securityContext"]
    assert (context["runAsUser"], "allowPrivilegeEscalation" in context) == (1500, False)
    codes = {how: over["exitCode"] for how, over in zip(bodies, ends, strict=True)}
    assert codes == {"as written": 0, "layers read": 0, "nothing known": 1}


async def test_a_port_below_1024_needs_net_bind_service_where_the_runtime_leaves_the_kernels_setting(
    api: Api, runtime: Node, registry: str
) -> None:
    """A numeric user's server, which puts itself into the background once it listens."""
    server = images.content("1500", Files(None, None))
    await images.push(registry, [server])
    namespace = await runner.namespace(api)
    body = pod(images.reference(registry, server))
    body["spec"]["containers"][0]["command"] = ["/bin/busybox", "httpd", "-p", "80"]
    try:
        over = await terminated(api, namespace, body)
    finally:
        await api.call("DELETE", f"/api/v1/namespaces/{namespace}")
    assert over["exitCode"] == (0 if runtime.opens_low_ports else 1), over
