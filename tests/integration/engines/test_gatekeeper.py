"""The real Gatekeeper with the chart's Provider, template and constraint, in front of a real API server.

Its answers are not cached here, so that each one is the provider's.
"""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml

from tests.bench import engines, servers
from tests.e2e.target import Refused, Target, eventually
from tests.integration.engines.admissions import ADMISSIONS_AT_ONCE, admissions
from tests.integration.engines.conftest import UID, Images, Ours, pod, refusal
from tests.support.authority import Authority
from tests.support.helm import template
from tests.support.pods import DEFAULTS, Object
from tests.support.tables import table

NAMESPACE = "gatekept"
OPERATIONS = ("webhook", "status", "generate", "mutation-webhook", "mutation-status", "mutation-controller")


def _encoded(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


@pytest.fixture(scope="module")
def objects(ours: Ours) -> dict[str, Object]:
    """What the chart makes, by kind; the Provider with the address of this machine."""
    text = template(identityApi={"enabled": True}, engines={"gatekeeper": {"enabled": True}})
    rendered = [each for each in yaml.safe_load_all(text) if each]
    kinds = ("Provider", "ConstraintTemplate", "NonRootIdentity")
    found = {each["kind"]: each for each in rendered if each["kind"] in kinds}
    path = found["Provider"]["spec"]["url"].partition(":443")[2]
    found["Provider"]["spec"] |= {"url": ours.url + path, "caBundle": _encoded(ours.ca)}
    return found


@pytest.fixture(scope="module", autouse=True)
def gatekeeper(target: Target, ours: Ours, engine: Authority, objects: dict[str, Object]) -> Iterator[None]:
    """Gatekeeper, and its webhook for the namespace; it judges by the constraint when this is done."""
    program = engines.built(engines.GATEKEEPER)
    engines.install(engines.GATEKEEPER)
    target.kubectl("create", "namespace", "gatekeeper-system")
    for name, engine_ in ((NAMESPACE, "gatekeeper"), ("ours", "ours"), ("nobodys", "none")):
        labels = {"nonroot.dev/engine": engine_, "nonroot.dev/mode": "enforce"}
        target.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        target.kubectl("create", "serviceaccount", "default", "-n", name)  # there is no controller that makes it
    port, health = servers.ports(2)
    command = [str(program), "--host=127.0.0.1", f"--port={port}", f"--cert-dir={engine.certificate.parent}"]
    command += ["--disable-cert-rotation", f"--health-addr=127.0.0.1:{health}", "--debug-use-fake-pod"]
    command += ["--prometheus-port=0", "--external-data-provider-response-cache-ttl=0s"]
    command += [f"--operation={each}" for each in OPERATIONS]
    url = f"https://127.0.0.1:{port}"
    with servers.running("Gatekeeper", command, url):
        for kind in ("Provider", "ConstraintTemplate"):
            target.apply(objects[kind])
        eventually(lambda: _applied(target, objects["NonRootIdentity"]), "the constraint to be taken")
        target.apply(_webhook(f"{url}/v1/admit", engine.pem))
        objects["mutating"] = _webhook(f"{url}/v1/mutate", engine.pem, "both", "Mutating")
        root = pod("registry.example/app:1", runAsUser=0)
        eventually(lambda: "which is root" in refusal(target, NAMESPACE, root), "Gatekeeper to judge")
        yield
    target.kubectl("delete", "validatingwebhookconfiguration", "gatekeeper")


def _applied(target: Target, given: Object) -> bool:
    try:
        target.apply(given)
    except Refused:  # its kind is not there yet
        return False
    return True


def _webhook(url: str, ca: str, name: str = "gatekeeper", kind: str = "Validating") -> Object:
    """Where Pods of the namespaces of that engine are sent."""
    hook = {
        "name": f"{name}.nonroot.dev",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "timeoutSeconds": 5,
        "clientConfig": {"url": url, "caBundle": _encoded(ca.encode())},
        "namespaceSelector": {"matchLabels": {"nonroot.dev/engine": name}},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [hook],
    }


def test_a_named_user_is_admitted(target: Target, images: Images) -> None:
    assert refusal(target, NAMESPACE, pod(images.named)) == ""
    assert refusal(target, NAMESPACE, pod(images.numeric, runAsNonRoot=True)) == ""


def test_a_named_user_that_the_kubelet_would_refuse_is_told_its_uid(target: Target, images: Images) -> None:
    said = refusal(target, NAMESPACE, pod(images.named, runAsNonRoot=True))
    assert (
        f"its USER is a name, which the kubelet refuses beside runAsNonRoot: write securityContext.runAsUser: {UID}"
        in said
    )
    assert refusal(target, NAMESPACE, pod(images.named, runAsNonRoot=True, runAsUser=UID)) == ""


def test_a_root_image_is_refused(target: Target, images: Images) -> None:
    said = refusal(target, NAMESPACE, pod(images.root))
    assert f"container app: image {images.root}: it runs as root" in said
    assert refusal(target, NAMESPACE, pod(images.root, runAsUser=7)) == ""


def test_what_is_not_known_is_told_and_left_to_the_kubelet(target: Target, images: Images) -> None:
    said = refusal(target, NAMESPACE, pod(images.missing))
    assert "who it runs as is not known: notFound: " in said
    said = refusal(target, NAMESPACE, pod(images.nobody))
    assert "who it runs as is not known: the image's /etc/passwd has no user 'gone'; write" in said
    assert refusal(target, NAMESPACE, pod(images.missing, runAsNonRoot=True)) == ""


def test_an_image_cannot_ask_for_another_namespace(target: Target) -> None:
    """It is a name that is none, however much it looks like a key."""
    said = refusal(target, NAMESPACE, pod('{"image":"a","namespace":"kube-system"}'))
    assert "who it runs as is not known: invalid: " in said


def test_while_the_webhook_is_away_only_what_the_kubelet_decides_is_admitted(
    target: Target, images: Images, ours: Ours
) -> None:
    ours.stop()
    try:
        said = refusal(target, NAMESPACE, pod(images.named))
        assert "who it runs as is not known: " in said
        assert "connection refused" in said
        assert refusal(target, NAMESPACE, pod(images.named, runAsNonRoot=True)) == ""
        assert refusal(target, NAMESPACE, pod(images.root, runAsUser=7)) == ""
    finally:
        ours.start()
    assert refusal(target, NAMESPACE, pod(images.named)) == ""


def test_our_certificate_may_be_of_another_ca(
    target: Target, images: Images, ours: Ours, objects: dict[str, Object]
) -> None:
    """The Provider trusts both for a while, as the controller writes it."""
    former = ours.ca
    ours.ca = ours.renew()
    _trust(target, objects, former + ours.ca)
    eventually(lambda: refusal(target, NAMESPACE, pod(images.named)) == "", "both to be trusted")
    for _ in range(10):
        assert refusal(target, NAMESPACE, pod(images.named)) == ""
    _trust(target, objects, ours.ca)
    eventually(lambda: refusal(target, NAMESPACE, pod(images.named)) == "", "the new CA alone to be trusted")


def _trust(target: Target, objects: dict[str, Object], bundle: bytes) -> None:
    name = objects["Provider"]["metadata"]["name"]
    patch = f'{{"spec":{{"caBundle":"{_encoded(bundle)}"}}}}'
    target.kubectl("patch", "provider.externaldata.gatekeeper.sh", name, "--type=merge", "-p", patch)


def test_a_thousand_admissions(target: Target, images: Images, ours: Ours, objects: dict[str, Object]) -> None:
    """All right, and none lost; what each costs is printed, beside Gatekeeper without the constraint, and us without Gatekeeper."""
    given = [(images.named, True), (images.root, False), (images.numeric, True), (images.missing, False)]
    pods = [(pod(image, f"web-{number}"), good) for number, (image, good) in enumerate(given * 250)]
    with_us = admissions(target, NAMESPACE, pods)
    assert with_us.wrong == []
    target.kubectl("delete", "nonrootidentity", objects["NonRootIdentity"]["metadata"]["name"])
    try:
        eventually(lambda: refusal(target, NAMESPACE, pod(images.root)) == "", "the constraint to be gone")
        alone = admissions(target, NAMESPACE, [(given, True) for given, _ in pods])
        assert alone.wrong == []
    finally:
        target.apply(objects["NonRootIdentity"])
        eventually(lambda: refusal(target, NAMESPACE, pod(images.root)), "the constraint to be back")
    target.apply(_webhook(f"{ours.url}/mutate", ours.ca.decode(), "ours", "Mutating"))
    everybody = [(given, True) for given, _ in pods]
    try:
        eventually(lambda: _patched(target, images), "our hook to be called")
        ours_alone = admissions(target, "ours", everybody)
    finally:
        target.kubectl("delete", "mutatingwebhookconfiguration", "ours")
    nobody = admissions(target, "nobodys", everybody)
    assert ours_alone.wrong == nobody.wrong == []
    print(
        f"1,000 admissions, {ADMISSIONS_AT_ONCE} at once, median ms each: Gatekeeper that asks us {with_us.median:.1f}, "
        f"Gatekeeper alone {alone.median:.1f}, our /mutate alone {ours_alone.median:.1f}, no webhook {nobody.median:.1f}"
    )


def _patched(target: Target, images: Images) -> bool:
    made = target.kubectl(
        "create", "--dry-run=server", "-n", "ours", "-o", "json", "-f", "-", text=json.dumps(pod(images.named))
    )
    return bool(json.loads(made)["spec"]["containers"][0]["securityContext"].get("runAsUser") == UID)


@contextmanager
def _applied_for_a_while(target: Target, *objects: Object) -> Iterator[None]:
    try:
        for each in objects:
            target.apply(each)
        yield
    finally:
        for each in objects:
            target.kubectl("delete", each["kind"], each["metadata"]["name"], "--wait=false")


def _beside(hook: Object, name: str) -> Object:
    """A webhook configuration under another name: the API server calls mutating ones in the order of their names."""
    hook["metadata"]["name"] = name
    hook["webhooks"][0]["reinvocationPolicy"] = "IfNeeded"
    return hook


@pytest.mark.parametrize("name", ["aa-gatekeeper", "zz-gatekeeper"], ids=["before ours", "after ours"])
@table(
    ("field", "value", "uid"),
    {
        "it demands what we inject": ("runAsNonRoot", True, UID),
        "it says another uid than the image": ("runAsUser", 2000, 2000),
        "it says a field that we leave alone": ("readOnlyRootFilesystem", True, UID),
    },
)
def test_its_mutation_and_ours_come_to_one_pod(
    target: Target,
    images: Images,
    ours: Ours,
    engine: Authority,
    objects: dict[str, Object],
    name: str,
    field: str,
    value: object,
    uid: int,
) -> None:
    """Whoever is first: the Pod is admitted to Pod Security restricted, has both, and a second pass changes nothing."""
    namespace = f"beside-{name[:2]}-{field.lower()}"
    labels = {
        "nonroot.dev/engine": namespace,
        "nonroot.dev/mode": "enforce",
        "pod-security.kubernetes.io/enforce": "restricted",
    }
    target.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    target.kubectl("create", "serviceaccount", "default", "-n", namespace)
    url, ca = objects["mutating"]["webhooks"][0]["clientConfig"]["url"], ours.ca.decode()
    theirs = _webhook(url, engine.pem, namespace, "Mutating")
    mutate = _webhook(f"{ours.url}/mutate", ca, namespace, "Mutating")
    enforce = _webhook(f"{ours.url}/validate/enforce", ca, namespace)
    assign = {
        "apiVersion": "mutations.gatekeeper.sh/v1",
        "kind": "Assign",
        "metadata": {"name": namespace},
        "spec": {
            "applyTo": [{"groups": [""], "versions": ["v1"], "kinds": ["Pod"]}],
            "match": {"scope": "Namespaced", "namespaces": [namespace]},
            "location": f"spec.containers[name:*].securityContext.{field}",
            "parameters": {"assign": {"value": value}},
        },
    }

    def made(given: Object) -> Object | None:
        try:
            said = target.kubectl(
                "create", "--dry-run=server", "-n", namespace, "-o", "json", "-f", "-", text=json.dumps(given)
            )
        except Refused:
            return None
        spec: Object = json.loads(said)["spec"]
        context = spec["containers"][0]["securityContext"]
        return spec if context.get(field) == value and "capabilities" in context else None

    with _applied_for_a_while(target, assign, _beside(theirs, name), _beside(mutate, "mm-ours")):
        spec = eventually(lambda: made(pod(images.named)), "both to be called")
        with _applied_for_a_while(target, enforce):
            context = spec["containers"][0]["securityContext"]
            assert context == {**DEFAULTS, "runAsUser": uid, field: value}
            assert made({**pod(images.named), "spec": spec}) == spec
            judged = made(pod(images.named))
            assert judged is not None
            assert judged["containers"][0]["securityContext"] == context
            assert (made(pod(images.root)) is None) is (uid == UID)  # with a uid of Gatekeeper's it is no root any more
