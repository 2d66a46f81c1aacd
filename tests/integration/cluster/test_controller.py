"""The controller on a real API server: with exactly its RBAC, through twenty changes of CA, and leaving no trace of kopf."""

import asyncio
import base64
import contextlib
import json
import secrets
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from deploy.local import build
from tests.e2e.target import Target
from tests.support import cluster, helm
from tests.support.api_server import Refused
from tests.support.controller import controller
from webhook.cluster.client import Cluster
from webhook.cluster.errors import ClusterError, Conflict
from webhook.controller.certificate_objects import CertificateObjects
from webhook.controller.certificate_rotation import Names, Pending, Plan, Rotation, UpToDate
from webhook.controller.manager import PERIOD
from webhook.server.certificates import authority

pytestmark = pytest.mark.timeout(600)

ID = secrets.token_hex(4)
NAMESPACE = f"operate-{ID}"
MUTATING, VALIDATING = f"zz-operate-{ID}", f"operate-{ID}"
FLAGS = (
    f"--namespace={NAMESPACE}",
    "--service=hook",
    "--ca-secret=hook-ca",
    "--tls-secret=hook-tls",
    f"--mutating-configuration={MUTATING}",
    f"--validating-configuration={VALIDATING}",
)


def configuration(kind: str, name: str, client: dict[str, Any]) -> dict[str, Any]:
    """A configuration for ConfigMaps of our namespace alone, of the same shape as the chart's: no caBundle in it."""
    webhook = {
        "clientConfig": client,
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
        "objectSelector": {"matchLabels": {"operate-test": ID}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 5,
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": {"operate-test": ID}},
        "webhooks": [webhook | {"name": f"{each}.operate.nonroot.dev"} for each in ("one", "two")],
    }


@pytest.fixture(scope="module")
def target() -> Iterator[Target]:
    """A cluster with a namespace of ours."""
    found = cluster.reach()
    found.kubectl("create", "namespace", NAMESPACE)
    try:
        yield found
    finally:
        found.delete("namespaces", NAMESPACE)


@pytest.fixture
def configurations(target: Target) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Makes both configurations for some clientConfig; they and both Secrets go afterwards."""

    def make(client: dict[str, Any]) -> None:
        for kind, name in (("MutatingWebhookConfiguration", MUTATING), ("ValidatingWebhookConfiguration", VALIDATING)):
            target.apply(configuration(kind, name, client))

    yield make
    target.delete("mutatingwebhookconfigurations", MUTATING)
    target.delete("validatingwebhookconfigurations", VALIDATING)
    target.kubectl("delete", "secret", "-n", NAMESPACE, "-l", "app.kubernetes.io/managed-by=nonroot-operate")


def rbac() -> list[dict[str, Any]]:
    """The controller's permissions, as the chart grants them."""
    group = "rbac.authorization.k8s.io"
    subject = [{"kind": "ServiceAccount", "name": "controller", "namespace": NAMESPACE}]

    def rule(group: str, resource: str, verbs: list[str], *names: str) -> dict[str, Any]:
        made: dict[str, Any] = {"apiGroups": [group], "resources": [resource], "verbs": verbs}
        return made | ({"resourceNames": list(names)} if names else {})

    def objects(kind: str, metadata: dict[str, str], rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
        reference = {"apiGroup": group, "kind": kind, "name": metadata["name"]}
        api = {"apiVersion": f"{group}/v1", "metadata": metadata | {"labels": {"operate-test": ID}}}
        return [
            api | {"kind": kind, "rules": rules},
            api | {"kind": f"{kind}Binding", "roleRef": reference, "subjects": subject},
        ]

    registration = "admissionregistration.k8s.io"
    verbs = ["get", "list", "watch", "patch"]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "controller", "namespace": NAMESPACE}},
        *objects(
            "ClusterRole",
            {"name": f"operate-{ID}"},
            [
                rule(registration, "mutatingwebhookconfigurations", verbs, MUTATING),
                rule(registration, "validatingwebhookconfigurations", verbs, VALIDATING),
                *helm.controllers_rights(fullnameOverride="hook"),
            ],
        ),
        *objects(
            "Role",
            {"name": "controller", "namespace": NAMESPACE},
            [rule("", "secrets", ["create"]), rule("", "secrets", ["get", "update"], "hook-ca", "hook-tls")],
        ),
    ]


@pytest.fixture
def kubeconfig(target: Target, tmp_path: Path) -> Iterator[Path]:
    """The controller's own way in: a token of its ServiceAccount, and nothing more."""
    target.apply(*rbac())
    token = target.token("controller", NAMESPACE)
    config = json.loads(target.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    config["users"][0]["user"] = {"token": token}
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    yield path
    target.kubectl("delete", "clusterrole,clusterrolebinding", "-l", f"operate-test={ID}")


def secret(target: Target, name: str) -> dict[str, Any]:
    return target.api.read("secrets", name, NAMESPACE)


def until(probe: Callable[[], object], seconds: float = 60) -> float:
    """The seconds until `probe` is true."""
    began = time.monotonic()
    while time.monotonic() < began + seconds:
        with contextlib.suppress(Refused, OSError):
            if probe():
                return time.monotonic() - began
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


def bundles(target: Target) -> list[str]:
    found = [
        target.api.read("mutatingwebhookconfigurations", MUTATING),
        target.api.read("validatingwebhookconfigurations", VALIDATING),
    ]
    return [each["clientConfig"].get("caBundle", "") for one in found for each in one["webhooks"]]


def test_the_controller_with_exactly_its_rbac(
    target: Target, configurations: Callable[[dict[str, Any]], None], kubeconfig: Path
) -> None:
    configurations({"service": {"name": "hook", "namespace": NAMESPACE, "path": "/mutate"}})
    with controller(kubeconfig, *FLAGS) as running:
        until(lambda: running.answer("/readyz") == "ok\n")
        tls = secret(target, "hook-tls")
        assert (tls["type"], sorted(tls["data"])) == ("kubernetes.io/tls", ["ca.crt", "tls.crt", "tls.key"])
        assert bundles(target) == [tls["data"]["ca.crt"]] * 4
        assert 'nonroot_certificate_expiry_timestamp_seconds{certificate="serving"}' in running.answer("/metrics")

        managers = target.api.read("validatingwebhookconfigurations", VALIDATING)
        (ours,) = [each for each in managers["metadata"]["managedFields"] if each["manager"] == "nonroot-operate"]
        owned = [each["f:clientConfig"] for each in ours["fieldsV1"]["f:webhooks"].values()]
        assert owned == [{"f:caBundle": {}}] * 2

        wipe = [{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]
        for _ in range(2):
            target.kubectl("patch", "mutatingwebhookconfiguration", MUTATING, "--type=json", "-p", json.dumps(wipe))
            seconds = until(lambda: bundles(target) == [tls["data"]["ca.crt"]] * 4)
            print(f"a wiped caBundle was back after {seconds:.1f} s")
        assert (
            seconds < PERIOD - 1
        )  # by the stream: the next look would only have been a whole period after the last repair
        target.kubectl("delete", "secret", "-n", NAMESPACE, "hook-tls")
        print(f"a deleted Secret was back after {until(lambda: secret(target, 'hook-tls')):.1f} s")
        target.kubectl("delete", "secret", "-n", NAMESPACE, "hook-ca")
        until(lambda: len(set(bundles(target))) == 1 and bundles(target)[0] != tls["data"]["ca.crt"])
        until(lambda: running.answer("/readyz") == "ok\n")
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(15) == 0
        print(f"it ended {time.monotonic() - began:.1f} s after SIGTERM")
    _assert_no_trace_of_kopf(target)


def by_kubectl(target: Target, wanted: dict[str, Any], *flags: str) -> None:
    target.kubectl("apply", *flags, "-f", "-", text=json.dumps(wanted))


def by_helm(tool: str, chart: Path, wanted: dict[str, Any]) -> None:
    (chart / "templates").mkdir(exist_ok=True)
    (chart / "Chart.yaml").write_text("{apiVersion: v2, name: hooks, version: 0.1.0}")
    (chart / "templates" / "hooks.yaml").write_text(json.dumps(wanted))
    build.ensure([tool])
    helm.run(build.program(tool, "helm"), "upgrade", "--install", f"hooks-{ID}", chart, "--namespace", NAMESPACE)


SERVER_SIDE = "--server-side"
TOOLS: dict[str, Callable[[Target, Path, dict[str, Any]], None]] = {
    "Helm 3": lambda _, chart, wanted: by_helm("helm", chart, wanted),
    "Helm 4": lambda _, chart, wanted: by_helm("helm4", chart, wanted),
    "kubectl": lambda target, _, wanted: by_kubectl(target, wanted, SERVER_SIDE, "--field-manager=helm"),
    "Argo CD": lambda target, _, wanted: by_kubectl(target, wanted),
    "Argo CD, server-side": lambda target, _, wanted: by_kubectl(
        target, wanted, SERVER_SIDE, "--force-conflicts", "--field-manager=argocd-controller"
    ),
    "Flux": lambda target, _, wanted: by_kubectl(
        target, wanted, SERVER_SIDE, "--force-conflicts", "--field-manager=kustomize-controller"
    ),
}


@pytest.mark.parametrize("applied_before", [False, True], ids=["new", "upgraded"])
@pytest.mark.parametrize("tool", TOOLS)
async def test_another_manager_may_remove_rename_and_add_webhooks(
    target: Target, tool: str, tmp_path: Path, *, applied_before: bool
) -> None:
    """By a merge or by server-side apply; also after a version that applied the caBundle itself."""
    wanted = configuration("ValidatingWebhookConfiguration", VALIDATING, {"url": "https://127.0.0.1:1/validate"})

    def apply(*names: str) -> None:
        webhooks = [wanted["webhooks"][0] | {"name": f"{name}.operate.nonroot.dev"} for name in names]
        TOOLS[tool](target, tmp_path, wanted | {"webhooks": webhooks})

    connection = Cluster()
    objects = CertificateObjects(connection)

    async def inject(bundle: bytes) -> None:
        found = await objects.webhook_configuration("ValidatingWebhookConfiguration", VALIDATING)
        assert found is not None
        await objects.inject_ca_bundle(found, bundle)

    def bundles() -> dict[str, str | None]:
        found = target.api.read("validatingwebhookconfigurations", VALIDATING)["webhooks"]
        return {each["name"].partition(".")[0]: each["clientConfig"].get("caBundle") for each in found}

    try:
        apply("one", "two")
        first, second = (authority(datetime.now(UTC), timedelta(days=1)).certificate for _ in range(2))
        if applied_before:
            _apply_as_before(target, wanted, first)
            if tool in {"Helm 4", "kubectl"}:
                with pytest.raises((Refused, helm.ProgramError), match="clientConfig"):  # what had to be cured
                    apply("one")
        await inject(second)
        apply("one")
        assert bundles() == {"one": _encoded(second)}
        apply("renamed")
        assert bundles().keys() == {"renamed"}
        apply("renamed", "added")
        await inject(first)
        assert bundles() == dict.fromkeys(("renamed", "added"), _encoded(first))
    finally:
        await connection.aclose()
        target.delete("validatingwebhookconfigurations", VALIDATING)
        target.kubectl("delete", "secret", "-n", NAMESPACE, "-l", f"owner=helm,name=hooks-{ID}")


def _apply_as_before(target: Target, wanted: dict[str, Any], bundle: bytes) -> None:
    """Write the caBundle as 0.1 did, by applying the hooks' names with it."""
    parts = [
        {"name": each["name"], "clientConfig": {"caBundle": _encoded(bundle)}}
        for each in target.api.read("validatingwebhookconfigurations", VALIDATING)["webhooks"]
    ]
    earlier = wanted | {"metadata": {"name": VALIDATING}, "webhooks": parts}
    by_kubectl(target, earlier, SERVER_SIDE, "--field-manager=nonroot-operate", "--force-conflicts")


def _encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


def _assert_no_trace_of_kopf(target: Target) -> None:
    """No object in the cluster has an annotation or finalizer of kopf's, and there is no peering."""
    kinds = target.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    everything = [each for kind in kinds for each in target.get(kind)]
    assert len(everything) > 20
    for each in everything:
        metadata = each["metadata"]
        marks = [*metadata.get("annotations", {}), *metadata.get("finalizers", [])]
        assert not [mark for mark in marks if "kopf" in mark], f"{each['kind']} {metadata['name']}"
    assert not [kind for kind in kinds if "kopf" in kind]


class Hook:
    """An admission server where the API server reaches it that allows everything, with whichever certificate it was given last."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._listener = socket.create_server((cluster.own_address(), 0))
        self.host, self.port = self._listener.getsockname()

    def load(self, certificate: bytes, key: bytes) -> None:
        """Serve another certificate from the next connection on."""
        (self._folder / "tls.crt").write_bytes(certificate)
        (self._folder / "tls.key").write_bytes(key)
        self._context.load_cert_chain(self._folder / "tls.crt", self._folder / "tls.key")

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Answer meanwhile."""
        config = uvicorn.Config(
            self._answer,
            interface="asgi3",
            log_level="error",
            lifespan="off",
            ssl_context_factory=lambda *_: self._context,
        )
        server = _Server(config)
        task = asyncio.create_task(server.serve([self._listener]))
        try:
            yield
        finally:
            server.should_exit = True
            await task

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        response = {"uid": json.loads(body)["request"]["uid"], "allowed": True}
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        # Each answer closes its connection: every call then checks the certificate of the moment.
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(review).encode()})


class _Server(uvicorn.Server):
    """A uvicorn server that leaves pytest's signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Traffic:
    """ConfigMaps, created without end and without effect; each passes four webhooks."""

    def __init__(self) -> None:
        self.done = 0
        self.failures: list[str] = []

    async def run(self, api: Cluster) -> None:
        """Create until cancelled."""
        metadata = {"generateName": "traffic-", "namespace": NAMESPACE, "labels": {"operate-test": ID}}
        document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        while True:
            try:
                await api.call("POST", f"/api/v1/namespaces/{NAMESPACE}/configmaps?dryRun=All", "traffic", document)
                self.done += 1
            except ClusterError as error:
                self.failures.append(str(error))


async def test_twenty_changes_of_ca_lose_no_admission(
    target: Target, configurations: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    """The clock runs ahead of the real one, by an hour at most: by so much are certificates backdated."""
    hook = Hook(tmp_path)
    configurations({"url": f"https://{hook.host}:{hook.port}/"})
    ahead = timedelta()
    names = Names(
        NAMESPACE,
        "hook-ca",
        "hook-tls",
        (("MutatingWebhookConfiguration", MUTATING), ("ValidatingWebhookConfiguration", VALIDATING)),
    )
    plan = Plan(
        (hook.host,),
        ca_lifetime=timedelta(seconds=150),
        leaf_lifetime=timedelta(seconds=50),
        settle=timedelta(seconds=5),
        overlap=timedelta(seconds=20),
    )
    api, traffic = Cluster(), Traffic()
    objects = CertificateObjects(api)
    cas: set[bytes] = set()
    leaves = 0
    served = b""
    try:
        rotation = Rotation(objects, names, plan, lambda: datetime.now(UTC) + ahead)

        async def advance() -> None:
            """One step, and what follows from it: the replica loads its leaf, time passes where there is nothing to do."""
            nonlocal ahead, leaves, served
            try:
                step = await rotation.step()
            except Conflict:
                return
            tls = await objects.secret(NAMESPACE, "hook-tls")
            if tls is not None and tls.data["tls.crt"] != served:
                served = tls.data["tls.crt"]
                leaves += 1
                hook.load(served, tls.data["tls.key"])
            ca = await objects.secret(NAMESPACE, "hook-ca")
            assert ca is not None
            cas.add(ca.data["tls.crt"])
            if isinstance(step, Pending | UpToDate):
                await asyncio.sleep(0.1)  # the API server's own time to see a bundle, however fast our clock
                ahead += timedelta(seconds=6 if isinstance(step, Pending) else 20)

        while not served:
            await advance()
        async with hook.serving():
            sending = asyncio.create_task(traffic.run(api))
            while len(cas) < 21:
                await advance()
            await asyncio.sleep(1)
            sending.cancel()
        assert ahead < timedelta(hours=1)
    finally:
        await api.aclose()
    print(f"{len(cas) - 1} changes of CA, {leaves} leaves, {traffic.done} admissions through four webhooks each")
    assert traffic.failures == []
    assert traffic.done > 100
    found = base64.b64decode(secret(target, "hook-ca")["data"]["tls.crt"])
    assert found in cas
