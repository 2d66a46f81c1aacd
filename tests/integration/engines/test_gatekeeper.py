"""The real Gatekeeper with the chart's Provider, template and constraint, in front of a real API server.

Its answers are not cached here, so that each one is the provider's.
"""

import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.bench import engines, servers
from tests.e2e.target import Target, eventually
from tests.integration.engines.admissions import AT_ONCE, a_thousand, everybody, in_turns, without_an_engine
from tests.integration.engines.conftest import UID, Images, Ours, pod, refusal
from tests.integration.engines.hooks import comes_to_one, encoded, for_a_while, hook, namespace, take
from tests.support.authority import Authority
from tests.support.helm import template
from tests.support.pods import DEFAULTS, Object
from tests.support.tables import table

NAMESPACE = "gatekept"
OPERATIONS = ("webhook", "status", "generate", "mutation-webhook", "mutation-status", "mutation-controller")


@pytest.fixture(scope="module")
def objects(ours: Ours) -> dict[str, Object]:
    """What the chart makes, by kind; the Provider with the address of this machine."""
    text = template(identityApi={"enabled": True}, engines={"gatekeeper": {"enabled": True}})
    rendered = [each for each in yaml.safe_load_all(text) if each]
    kinds = ("Provider", "ConstraintTemplate", "NonRootIdentity")
    found = {each["kind"]: each for each in rendered if each["kind"] in kinds}
    path = found["Provider"]["spec"]["url"].partition(":443")[2]
    found["Provider"]["spec"] |= {"url": ours.url + path, "caBundle": encoded(ours.ca)}
    return found


@pytest.fixture(scope="module", autouse=True)
def mutating(target: Target, ours: Ours, engine: Authority, objects: dict[str, Object]) -> Iterator[str]:
    """Gatekeeper, deciding by the constraint in its namespace; the URL of its mutation."""
    program = engines.built(engines.GATEKEEPER)
    engines.install(engines.GATEKEEPER)
    target.kubectl("create", "namespace", "gatekeeper-system")
    namespace(target, NAMESPACE, "gatekeeper")
    port, health = servers.ports(2)
    command = [str(program), "--host=127.0.0.1", f"--port={port}", f"--cert-dir={engine.certificate.parent}"]
    command += ["--disable-cert-rotation", f"--health-addr=127.0.0.1:{health}", "--debug-use-fake-pod"]
    command += ["--prometheus-port=0", "--external-data-provider-response-cache-ttl=0s"]
    command += [f"--operation={each}" for each in OPERATIONS]
    url = f"https://127.0.0.1:{port}"
    with servers.running("Gatekeeper", command, url):
        for kind in ("Provider", "ConstraintTemplate"):
            target.apply(objects[kind])
        take(target, objects["NonRootIdentity"])
        target.apply(hook(f"{url}/v1/admit", engine.pem, "gatekeeper"))
        root = pod("registry.example/app:1", runAsUser=0)
        eventually(lambda: "which is root" in refusal(target, NAMESPACE, root), "Gatekeeper to decide")
        yield f"{url}/v1/mutate"
    target.kubectl("delete", "validatingwebhookconfiguration", "gatekeeper")


def test_a_named_user_is_admitted(target: Target, images: Images) -> None:
    assert refusal(target, NAMESPACE, pod(images.named)) == ""
    assert refusal(target, NAMESPACE, pod(images.numeric, runAsNonRoot=True)) == ""


def test_a_named_user_that_the_kubelet_would_refuse_is_denied_with_its_uid(target: Target, images: Images) -> None:
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


def test_an_unknown_image_is_reported_and_left_to_the_kubelet(target: Target, images: Images) -> None:
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
    patch = f'{{"spec":{{"caBundle":"{encoded(bundle)}"}}}}'
    target.kubectl("patch", "provider.externaldata.gatekeeper.sh", name, "--type=merge", "-p", patch)


def test_its_own_certificate_may_be_of_another_ca(
    target: Target, images: Images, ours: Ours, engine: Authority, mutating: str, tmp_path: Path
) -> None:
    """What its webhook serves with is what its client shows us: we believe both CAs for a while, as the API server does."""
    new = Authority(tmp_path, "engine")
    former = [Path(shutil.copy(file, tmp_path / f"former-{file.name}")) for file in (engine.certificate, engine.key)]

    def believe(bundle: str) -> None:
        ours.callers.write_text(bundle)
        patch = f'[{{"op":"replace","path":"/webhooks/0/clientConfig/caBundle","value":"{encoded(bundle.encode())}"}}]'
        target.kubectl("patch", "validatingwebhookconfiguration", "gatekeeper", "--type=json", "-p", patch)

    def reported() -> bool:
        root = "it runs as root" in refusal(target, NAMESPACE, pod(images.root))
        return root and refusal(target, NAMESPACE, pod(images.named)) == ""

    believe(engine.pem + new.pem)
    eventually(lambda: ours.status(new.certificate, new.key) == 200, "the new CA to be believed")
    assert reported()
    for file, replaced in ((new.key, engine.key), (new.certificate, engine.certificate)):
        shutil.copy(file, replaced)
    address = urlsplit(mutating)
    served = (str(address.hostname), address.port or 443)
    eventually(lambda: ssl.get_server_certificate(served).split() == new.pem.split(), "Gatekeeper to serve the new one")
    assert reported()
    believe(new.pem)
    eventually(lambda: ours.status(*former) == 401, "the former CA to be believed no more")
    eventually(reported, "Gatekeeper to connect anew")
    for _ in range(10):
        assert reported(), refusal(target, NAMESPACE, pod(images.root)) + refusal(target, NAMESPACE, pod(images.named))
    engine.pem = new.pem


def test_a_thousand_admissions(target: Target, images: Images, ours: Ours, engine: Authority, mutating: str) -> None:
    """All right, and none lost; what each costs is printed, beside Gatekeeper where no constraint matches, and us without it."""
    pods, alone = a_thousand(images), "gatekeeper-alone"
    namespace(target, alone, alone)
    theirs = hook(mutating.replace("/mutate", "/admit"), engine.pem, alone)
    with for_a_while(target, theirs), without_an_engine(target, images, ours, "gatekeeper") as (with_ours, without):
        found = in_turns(target, {NAMESPACE: pods, **dict.fromkeys((alone, with_ours, without), everybody(pods))})
    print(
        f"1,000 admissions, {AT_ONCE} at once, median ms each: Gatekeeper that asks us {found[NAMESPACE]:.1f}, Gatekeeper alone "
        f"{found[alone]:.1f}, our /mutate alone {found[with_ours]:.1f}, no webhook {found[without]:.1f}"
    )


@pytest.mark.parametrize("name", ["aa-ours", "zz-ours"], ids=["after ours", "before ours"])
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
    mutating: str,
    name: str,
    field: str,
    value: object,
    uid: int,
) -> None:
    """Whoever is first: the Pod is admitted to Pod Security restricted, has both, and a second pass changes nothing."""
    where = f"gatekept-{name[:2]}-{field.lower()}"
    namespace(target, where, where, restricted=True)
    assign = {
        "apiVersion": "mutations.gatekeeper.sh/v1",
        "kind": "Assign",
        "metadata": {"name": where},
        "spec": {
            "applyTo": [{"groups": [""], "versions": ["v1"], "kinds": ["Pod"]}],
            "match": {"scope": "Namespaced", "namespaces": [where]},
            "location": f"spec.containers[name:*].securityContext.{field}",
            "parameters": {"assign": {"value": value}},
        },
    }
    with for_a_while(target, assign, hook(mutating, engine.pem, where, "Mutating", "mm-gatekeeper")):
        found = comes_to_one(target, ours, where, name, pod(images.named), {field: value})
    assert found == {**DEFAULTS, "runAsUser": uid, field: value}
