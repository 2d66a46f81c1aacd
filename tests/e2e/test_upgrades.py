"""From earlier versions, and from the defaults to every other mode and back: what users rely on is still there.

Each upgrade is Helm's own, on the real cluster, waited for as an operator would; then the new controller scans, and Pods are
asked for. What is kept is compared: policies, exceptions and identities by uid and content, reports by uid, and where the
controller makes the certificates, its CA and every caBundle.
"""

import base64
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy import release
from deploy.dev.images.build import Pushed, push
from deploy.local import build
from deploy.release import CONFIGURATIONS, NAMESPACE, RELEASE
from tests.e2e import earlier, issuers
from tests.e2e.conftest import registries
from tests.e2e.controller import mismatches, scan
from tests.e2e.replies import ADMISSION
from tests.e2e.target import Target, deployment, eventually, outcomes
from tests.e2e.test_audit import reporting
from tests.resilience.conftest import long
from tests.support.api_server import Refused
from tests.support.pods import minimal
from tests.unit.server.test_asgi import review
from webhook.server import certificates

__all__ = ["reporting"]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

Address = tuple[str, int]
# Every mode that is not the default; who else may make certificates has tests of its own.
MODES: dict[str, dict[str, Any]] = {
    "on the node's network": {"hostNetwork": True, "webhook": {"port": 10260}, "replicaCount": 1},
    "with every optional object": {
        "networkPolicy": {"enabled": True},
        "dashboards": {"enabled": True},
        "reportPage": {"enabled": True},
        "podDisruptionBudget": {"minAvailable": 1},
        "criticalPodQuota": 0,
        "policies": [{"name": "of-the-release", "spec": {"mode": "Warn", "priority": -1}}],
    },
    "failing open, and hardly reading": {
        "webhook": {"enforce": {"failurePolicy": "Ignore"}, "timeoutSeconds": 3},
        "certificates": {"caLifetimeDays": 30, "leafLifetimeDays": 10},
        "registry": {"pullSecrets": {"scope": "none"}},
        "crds": {"keep": False},
    },
}


class State(msgspec.Struct, frozen=True):
    """What an upgrade must not lose."""

    kept: dict[str, list[Any]]  # uid and content, by kind
    bundles: tuple[str, ...]  # of each hook
    authority: str  # the controller's CA, with its key


class Upgrades:
    """The release under test, and a namespace that enforces: changes the one, and asks for Pods in the other."""

    def __init__(self, target: Target, product: Pushed, images: dict[str, Pushed], namespace: str) -> None:
        self.target, self.product, self.namespace = target, product, namespace
        self.environment = target.environment
        self.named, self.root, self.excepted = (images[name] for name in ("a-useradd-uid", "f-no-user", "g-root"))

    def to(self, image: Pushed | None = None, chart: Path = release.CHART, **values: Any) -> list[str]:
        """`helm upgrade --install`, without values to the defaults; what became of Pods that were not patched meanwhile."""
        began = time.monotonic()
        asked = registries(self.target) | values.pop("registry", {})
        pinned = release.Image.parse((image or self.product).pinned)
        with self._asking() as lost:
            release.install(pinned, self.environment, asked, chart=chart, **values)
        print(f"{sorted(values) or 'defaults'}: {time.monotonic() - began:.0f} s, {len(lost)} Pods lost")
        return lost

    def by(self, tool: str) -> None:
        """Take the Helm of `deploy.local.build` with that name from now on."""
        build.ensure([tool])
        path = os.pathsep.join([str(build.tools()[tool].folder), self.target.environment["PATH"]])
        self.environment = {**self.target.environment, "PATH": path}

    @contextmanager
    def _asking(self) -> Iterator[list[str]]:
        """Ask for one Pod after the other."""
        lost: list[str] = []
        over = threading.Event()

        def ask() -> None:
            while not over.wait(0.2):
                try:
                    if self._uid(self.named) != 1000:
                        lost.append("created as it was")
                except Refused as error:
                    lost.append(str(error))

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield lost
        finally:
            over.set()
            thread.join()

    def keep(self) -> None:
        """What users leave behind: a policy and an exception."""
        selector = {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}}
        policy = {"mode": "Enforce", "namespaceSelector": selector}
        exception = {"reason": "the upgrade must not lose it", "images": [self.excepted.reference]}
        made = {"apiVersion": "nonroot.dev/v1alpha1", "metadata": {"name": self.namespace}}
        self.target.apply(
            made | {"kind": "NonRootPolicy", "spec": policy},
            made | {"kind": "NonRootException", "spec": exception},
            namespace=self.namespace,
        )

    def run(self) -> None:
        """A workload of a named user, with a report, and its image's identity stored."""
        self.target.apply(deployment("web", self.named.reference, non_root=True), namespace=self.namespace)
        assert outcomes(self.target, self.namespace, {"web"})["web"].uid == 1000
        scan(self.target, self.namespace)
        eventually(
            lambda: {"Report", "ImageIdentity"} <= self.state().kept.keys(), "its report and its image's identity"
        )

    def state(self) -> State:
        """What there is now of all that is kept."""
        kinds = ("nonrootpolicies", "nonrootexceptions", "imageidentities")
        found = [each for kind in kinds for each in self.target.get(kind, self.namespace)]
        image = self.named.digest  # former versions have it in the names of what they store
        found = [
            each
            for each in found
            if each["metadata"]["name"].startswith((self.namespace, image.replace(":", "-")))
            or each["spec"].get("digest") == image
        ]
        found = [each for each in found if each["spec"].get("source") != "observed"]  # the same, as a node has shown it
        found += self.target.get("reports", self.namespace)
        for each in found:
            each.get("spec", {}).pop("facts", None)  # the controller reads them in the background, some time later
        hooks = [hook for each in CONFIGURATIONS for hook in self.target.api.read(*each.split("/"))["webhooks"]]
        authority = self.target.get("secrets", NAMESPACE, fields="metadata.name=nonroot-webhook-ca")
        return State(
            {each["kind"]: [each["metadata"]["uid"], each.get("spec")] for each in found},
            tuple(hook["clientConfig"].get("caBundle", "") for hook in hooks),
            json.dumps([each["data"] for each in authority], sort_keys=True),
        )

    def exempts_root(self) -> tuple[str, str]:
        """What the controller says in the policy's status of root that it lets run: the condition's status, and its message."""

        def said() -> list[dict[str, str]]:
            status = self.target.api.read("nonrootpolicies", self.namespace).get("status", {})
            return [each for each in status.get("conditions", ()) if each["type"] == "ExemptsRoot"]

        (found,) = eventually(said, "the policy's condition ExemptsRoot")
        return found["status"], found["message"]

    def works(self) -> None:
        """A name is patched, a root image is refused, and the exception still lets its own through."""

        def answered() -> bool:
            try:
                return self._uid(self.named) == 1000
            except Refused as error:  # its policy, or its maker's CA, may not have come yet
                if "failed calling webhook" not in str(error):
                    raise
                return False

        eventually(answered, "an answer of the new release")
        with pytest.raises(Refused, match="runs as root"):
            self._uid(self.root)

        def excepted() -> bool:
            try:
                return self._uid(self.excepted) is None
            except Refused as error:  # a replica may not have seen it yet
                if "runs as root" not in str(error):
                    raise
                return False

        eventually(excepted, "the exception")

    def scanned(self) -> State:
        """What there is once the new controller has scanned, and has had the opportunity to lose something."""
        eventually(lambda: mismatches(self.target) is not None, "a scan by the new controller")
        return self.state()

    def _uid(self, image: Pushed) -> int | None:
        """The uid that a Pod of an image gets, asked in a dry run."""
        pod: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "asked"}}
        pod["spec"] = {"containers": [{"name": "app", "image": image.reference}]}
        made = self.target.api.create(pod, self.namespace, dry_run=True).object
        uid: int | None = made["spec"]["containers"][0].get("securityContext", {}).get("runAsUser")
        return uid

    def helm_test(self) -> None:
        """`helm test`: a review by the Service's own name and address, trusting only the CA of the mode."""
        log = self.target.run("helm", "test", RELEASE, "-n", NAMESPACE, "--logs", "--timeout", "120s").stdout
        assert '"allowed":true' in log

    def hurry(self) -> None:
        """Have the kubelet look at the replicas, and so at their Secrets, at once instead of within a minute or two."""
        self.target.kubectl(
            "annotate", "pods", "--overwrite", f"test/now={time.time()}", "-n", NAMESPACE, "-l", ADMISSION
        )

    @contextmanager
    def connected(self) -> Iterator[tuple[Address, http.client.HTTPSConnection]]:
        """One replica's port, forwarded to an address here, and a connection to it that is not yet open."""
        pods = [each["metadata"] for each in self.target.get("pods", NAMESPACE, labels=ADMISSION)]
        (name, *_) = [each["name"] for each in pods if "deletionTimestamp" not in each]
        command = ["kubectl", "port-forward", "-n", NAMESPACE, name, ":10250"]
        with subprocess.Popen(
            command, env=dict(self.target.environment), stdout=subprocess.PIPE, text=True
        ) as forwarding:
            try:
                assert forwarding.stdout is not None
                port = int(re.findall(r"127\.0\.0\.1:(\d+)", forwarding.stdout.readline())[0])
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # the API server verifies it
                with closing(http.client.HTTPSConnection("127.0.0.1", port, context=context)) as connection:
                    yield ("127.0.0.1", port), connection
            finally:
                forwarding.terminate()


def _served(address: Address) -> bytes:
    """The certificate that a new connection is shown."""
    return ssl.get_server_certificate(address).encode()


def _asked(connection: http.client.HTTPSConnection) -> int:
    """The status of the answer to a review over that connection."""
    connection.request("POST", "/validate", review(minimal()), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


@pytest.fixture
def upgrades(reporting: Target, product: Pushed, images: dict[str, Pushed], namespace: str) -> Iterator[Upgrades]:
    """The release as it is, and a namespace with something of everything; both as before afterwards."""
    reporting.namespace(namespace, **{"nonroot.dev/mode": "enforce"})
    made = Upgrades(reporting, product, images, namespace)
    yield made
    made.to()
    reporting.delete("nonrootpolicies", namespace)


@pytest.mark.parametrize(
    "tool", ["helm", pytest.param("helm4", marks=[pytest.mark.survive, long])], ids=["Helm 3", "Helm 4"]
)
def test_an_upgrade_from_each_earlier_version_keeps_everything(upgrades: Upgrades, tmp_path: Path, tool: str) -> None:
    """Their own charts with their own images, one after the other, then ours."""
    upgrades.by(tool)
    release.uninstall(upgrades.environment)
    upgrades.target.kubectl("delete", "imageidentities", "--all")  # those versions never stored any; other tests have
    before = None
    for revision in earlier.VERSIONS:
        source = earlier.source(revision, tmp_path / revision)
        if source is None:
            pytest.skip(f"needs the history of the repository, back to {revision}")
        built = earlier.build(revision, source)
        upgrades.to(push(built.reference, upgrades.target.registry), source / "charts" / "nonroot-webhook")
        if before is None:
            upgrades.keep()
            before = upgrades.state()
            assert before.kept.keys() == {"NonRootPolicy", "NonRootException"}
            assert all(before.bundles)
        upgrades.works()
        assert upgrades.state() == before
    upgrades.run()
    before = upgrades.state()
    assert before.kept.keys() == {"NonRootPolicy", "NonRootException", "ImageIdentity", "Report"}
    assert upgrades.to() == []
    upgrades.works()
    _assert_kept(before, upgrades.scanned())
    status, message = upgrades.exempts_root()  # what those versions stored in every policy, and is in force still
    assert status == "True"
    assert message.startswith("onUnknown.default: Warn: lets containers run as root in mode Enforce")
    upgrades.helm_test()
    # Their policy `default` says the same, and is in force until somebody deletes it: a controller makes one where there is none.
    release.uninstall(upgrades.environment)
    upgrades.target.delete("nonrootpolicies", "default")


def _assert_kept(before: State, after: State) -> None:
    """Nothing is lost; new fields have their defaults, and what has a readable name now is another object."""
    assert (after.bundles, after.authority) == (before.bundles, before.authority)
    assert after.kept.keys() == before.kept.keys()
    for kind, (uid, spec) in before.kept.items():
        kept_uid, kept_spec = after.kept[kind]
        assert kept_uid == uid or kind in {"Report", "ImageIdentity"}
        fields = (spec or {}).keys() - ({"firstSeen", "lastSeen"} if kept_uid != uid else set())
        assert {key: spec[key] for key in fields} == {key: kept_spec[key] for key in fields}


def test_every_mode_and_back_keeps_everything(upgrades: Upgrades) -> None:
    """From the defaults to each, from each to the next, and to the defaults again."""
    upgrades.keep()
    upgrades.run()
    before = upgrades.state()
    for name, values in (*MODES.items(), ("defaults", {})):
        lost = upgrades.to(**values)
        assert lost == [] or "hostNetwork" in values, name  # its one replica goes before the next one comes
        upgrades.works()
        assert upgrades.scanned() == before, name


def test_metrics_are_read_by_https_and_by_whom_rbac_lets(upgrades: Upgrades) -> None:
    """Of both components, which are ready: the kubelet probes them by HTTPS, too. Verified as the ServiceMonitor has it."""
    target, subject = upgrades.target, {"kind": "ServiceAccount", "name": upgrades.namespace, "namespace": "default"}
    target.kubectl("create", "serviceaccount", upgrades.namespace, "-n", "default")
    tokens = {name: target.token(name) for name in (upgrades.namespace, "default")}
    try:
        assert upgrades.to(metrics={"secure": True, "authentication": True, "subjects": [subject]}) == []
        where = ("secret", "nonroot-webhook-tls", "-n", NAMESPACE, "-o", r"jsonpath={.data.ca\.crt}")
        ca = base64.b64decode(target.kubectl("get", *where))
        context = ssl.create_default_context(cadata=ca.decode())
        pods = target.get("pods", NAMESPACE, labels="app.kubernetes.io/name=nonroot-webhook")
        lasting = [each for each in pods if "deletionTimestamp" not in each["metadata"]]
        assert len(lasting) > 1
        for each in lasting:
            address = each["status"]["podIP"], 8080
            assert _read_metrics(address, context, tokens[upgrades.namespace]) == (200, True)
            assert _read_metrics(address, context, tokens["default"]) == (403, False)
            assert _read_metrics(address, context, "") == (401, False)
    finally:
        target.kubectl("delete", "serviceaccount", upgrades.namespace, "-n", "default")


def _read_metrics(address: Address, context: ssl.SSLContext, token: str) -> tuple[int, bool]:
    """The status of /metrics, and whether there is one of ours in it."""
    with (
        socket.create_connection(address, timeout=10) as plain,
        closing(http.client.HTTPConnection(address[0])) as connection,
    ):
        connection.sock = context.wrap_socket(plain, server_hostname=f"nonroot-webhook.{NAMESPACE}.svc")
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, b"nonroot_build_info" in answer.read()


def test_a_certificate_of_the_users_serves_and_is_replaced_under_way(upgrades: Upgrades) -> None:
    """The chart publishes its CA, the controller makes none, and the next one is served while connections stay open."""
    upgrades.keep()
    upgrades.run()
    before = upgrades.state()
    ca = certificates.authority(datetime.now(UTC), timedelta(hours=2))
    first = issuers.put_certificate(upgrades.target, ca, timedelta(hours=1))
    both = base64.b64decode(before.bundles[0]) + ca.certificate  # the former one, too, as the chart's README advises
    mode = {"mode": "existing", "existingSecret": issuers.SECRET, "caBundle": both.decode()}
    assert upgrades.to(certificates=mode) == []
    upgrades.target.kubectl("delete", "secret", "-n", NAMESPACE, "nonroot-webhook-ca", "nonroot-webhook-tls")
    upgrades.works()
    upgrades.helm_test()
    with upgrades.connected() as (address, connection):
        assert _served(address) == first.certificate
        assert _asked(connection) == 200
        opened = connection.sock
        second = issuers.put_certificate(upgrades.target, ca, timedelta(minutes=30))
        upgrades.hurry()
        eventually(lambda: _served(address) == second.certificate, "the user's next certificate")
        assert _asked(connection) == 200
        assert connection.sock is opened
    upgrades.works()
    state = upgrades.scanned()
    assert {base64.b64decode(each) for each in state.bundles} == {both}
    assert (state.authority, state.kept) == ("[]", before.kept)
    upgrades.to()
    upgrades.works()
    assert upgrades.scanned().kept == before.kept


@pytest.mark.oracle
@pytest.mark.usefixtures("online")
def test_cert_manager_makes_the_certificate_and_publishes_its_ca(upgrades: Upgrades, tmp_path: Path) -> None:
    """Its own controllers and CA injector: a CA of its own, our certificate by it, every caBundle; and back."""
    upgrades.keep()
    upgrades.run()
    before = upgrades.state()
    with issuers.cert_manager(upgrades.target, tmp_path / "cert-manager.log"):
        try:
            _by_cert_manager(upgrades)
            assert upgrades.scanned().kept == before.kept
        finally:
            upgrades.to()  # before its kinds go: Helm cannot remove what the API server does not know
        upgrades.works()
    assert upgrades.scanned() == before  # the controller's CA, too


def _by_cert_manager(upgrades: Upgrades) -> None:
    assert upgrades.to(certificates={"mode": "certManager"}) == []
    upgrades.works()
    words = ("secret/nonroot-webhook-cert-manager", "-n", NAMESPACE, "-o", "json")
    secret = json.loads(upgrades.target.kubectl("get", *words))
    assert secret["metadata"]["annotations"]["cert-manager.io/certificate-name"] == "nonroot-webhook-cert-manager"
    ca, leaf = (base64.b64decode(secret["data"][name]) for name in ("ca.crt", "tls.crt"))

    def published() -> bool:
        """Beside the former one, which cert-manager does not take away."""
        return all(ca in base64.b64decode(each) for each in upgrades.state().bundles)

    eventually(published, "cert-manager's CA in every hook")
    with upgrades.connected() as (address, _):
        assert leaf.startswith(_served(address))
    upgrades.helm_test()
