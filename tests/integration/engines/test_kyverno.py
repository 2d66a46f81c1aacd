"""The real Kyverno with the chart's policies of either form, in front of a real API server, with the rights of its own chart.

It calls us at a private address, which its default `--httpBlocklist` lets it, and keeps no answer.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import yaml

from tests.bench import engines, servers
from tests.e2e.target import Target, eventually
from tests.integration.engines.admissions import AT_ONCE, a_thousand, everybody, in_turns, without_an_engine
from tests.integration.engines.conftest import UID, Images, Ours, pod, refusal
from tests.integration.engines.hooks import comes_to_one, created, encoded, for_a_while, hook, namespace
from tests.support import helm
from tests.support.pods import DEFAULTS, Object
from tests.support.tables import table

NAMESPACE = "kyverned"
SERVICE = "https://nonroot-webhook.nonroot-system.svc:443"
CONFIGURATION = "zz-nonroot-webhook"  # whose CA the policies read
ACCOUNT, AUDIENCE = "kyverno-admission-controller", "kyverno-svc.kyverno.io"
ASKS = "nonroot-webhook-identities"  # the account whose token CEL policies send
RIGHTS = ("clusterrole", "clusterrolebinding", "role", "rolebinding", "serviceaccount")
CEL, CLASSIC = ("MutatingPolicy", "ValidatingPolicy"), ("ClusterPolicy",)


@pytest.fixture(scope="module")
def kyverno(target: Target, ours: Ours, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kyverno without a policy. It trusts our CA as CEL policies need it, and shows the token that its chart mounts."""
    program = engines.built(engines.KYVERNO)
    engines.install(engines.KYVERNO)
    target.kubectl("create", "namespace", "kyverno")
    folder = tmp_path_factory.mktemp("kyverno")
    target.apply(*_rights(folder), namespace="kyverno")
    namespace(target, NAMESPACE, "kyverno")
    (folder / "ca.crt").write_bytes(ours.ca)
    (folder / "token").write_text(_token(target, ACCOUNT))
    target.apply(hook(f"{ours.url}/mutate", ours.ca.decode(), "nobodys", "Mutating", CONFIGURATION))
    names = {"NAMESPACE": "kyverno", "SERVICEACCOUNT_NAME": ACCOUNT, "DEPLOYMENT": "kyverno", "POD_NAME": "kyverno"}
    settings = {"INIT_CONFIG": "kyverno", "METRICS_CONFIG": "kyverno-metrics"}
    for each in settings.values():
        target.kubectl("create", "configmap", each, "--namespace=kyverno")
    (port,) = servers.ports(1)
    address = f"127.0.0.1:{port}"
    command = [str(program), f"--serverIP={address}", "--webhookServerHost=127.0.0.1", f"--webhookServerPort={port}"]
    command += [f"--kubeconfig={_kubeconfig(target, folder)}", "--caSecretName=ca", "--tlsSecretName=tls"]
    command += ["--disableMetrics=true", "--v=0"]
    environment = settings | {f"KYVERNO_{name}": value for name, value in names.items()}
    environment |= {"SSL_CERT_FILE": str(folder / "ca.crt"), "KYVERNO_SCOPED_TOKEN_PATH": str(folder / "token")}
    with mock.patch.dict(os.environ, environment), servers.running("Kyverno", command, f"https://{address}"):
        yield
    target.kubectl("delete", "mutatingwebhookconfiguration", CONFIGURATION)
    for kind in ("mutating", "validating"):
        target.kubectl("delete", f"{kind}webhookconfiguration", "-l", "webhook.kyverno.io/managed-by=kyverno")


@pytest.fixture(scope="module", params=["cel", "classic"])
def policies(
    request: pytest.FixtureRequest, target: Target, ours: Ours, images: Images, kyverno: None
) -> Iterator[list[Object]]:
    """The chart's policies, with the address of this machine; Kyverno evaluates by them in its namespace."""
    form: str = request.param
    text = helm.template(identityApi={"enabled": True}, engines={"kyverno": {"enabled": True, "policies": form}})
    made = {(each["kind"], each["metadata"]["name"]): each for each in helm.manifests(text.replace(SERVICE, ours.url))}
    target.apply(made["ClusterRoleBinding", f"{ASKS}-kyverno"])
    if form == "cel":
        target.apply(made["ServiceAccount", ASKS], namespace="kyverno")
        token = encoded(_token(target, ASKS).encode())  # there is no controller that writes it
        target.apply(made["Secret", ASKS] | {"data": {"token": token}}, namespace="kyverno")
    found = [each for (kind, _), each in made.items() if kind in (*CEL, *CLASSIC)]
    entries = [each for (kind, _), each in made.items() if kind == "GlobalContextEntry"]
    with for_a_while(target, *entries, *found):
        eventually(lambda: refusal(target, NAMESPACE, pod("a:1", runAsUser=0)), "Kyverno to decide")
        eventually(lambda: created(target, NAMESPACE, pod(images.named)), "Kyverno to be answered")
        yield found
    target.kubectl("delete", "clusterrolebinding", f"{ASKS}-kyverno")
    eventually(lambda: not refusal(target, NAMESPACE, pod("a:1", runAsUser=0)), "Kyverno to decide no more")


def _rights(folder: Path) -> list[Object]:
    """Those of the admission controller in Kyverno's chart, which is rendered without the charts that it would download."""
    chart = Path(shutil.copytree(engines.source(engines.KYVERNO) / "charts" / "kyverno", folder / "chart"))
    for each in (chart, *chart.rglob("*")):
        each.chmod(0o755)
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    del about["dependencies"]
    (chart / "Chart.yaml").write_text(json.dumps(about))
    shown = [word for name in RIGHTS for word in ("--show-only", f"templates/admission-controller/{name}.yaml")]
    return helm.manifests(helm.run("helm", "template", "kyverno", chart, "--namespace", "kyverno", *shown))


def _kubeconfig(target: Target, folder: Path) -> Path:
    """That of Kyverno's account. There is no controller that adds up its role of other roles."""
    role = "kyverno:admission-controller"
    core = json.loads(target.kubectl("get", "clusterrole", f"{role}:core", "-o", "json"))
    target.kubectl("patch", "clusterrole", role, "--type=merge", "-p", json.dumps({"rules": core["rules"]}))
    config = json.loads(target.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    config["users"][0]["user"] = {"token": target.kubectl("create", "token", ACCOUNT, "-n", "kyverno").strip()}
    file = folder / "kubeconfig"
    file.write_text(json.dumps(config))
    return file


def _token(target: Target, account: str) -> str:
    return target.kubectl("create", "token", account, "-n", "kyverno", "--audience", AUDIENCE).strip()


def _uid(target: Target, given: Object) -> int | None:
    """What the Pod's container is made to run as; the Pod is admitted."""
    spec = created(target, NAMESPACE, given)
    assert spec is not None, refusal(target, NAMESPACE, given)
    found: int | None = spec["containers"][0].get("securityContext", {}).get("runAsUser")
    return found


@pytest.mark.usefixtures("policies")
def test_a_named_user_is_admitted_with_its_uid(target: Target, images: Images) -> None:
    assert _uid(target, pod(images.named)) == UID
    assert _uid(target, pod(images.named, runAsNonRoot=True)) == UID
    assert _uid(target, pod(images.numeric)) == UID
    silent = {"name": "init", "image": images.named}
    given = pod(images.named)
    given["spec"] = {"initContainers": [silent], "containers": [{**silent, "name": "app"}, {**silent, "name": "log"}]}
    spec = created(target, NAMESPACE, given)
    assert spec is not None
    assert [each["securityContext"] for each in spec["initContainers"] + spec["containers"]] == [{"runAsUser": UID}] * 3


@pytest.mark.usefixtures("policies")
def test_a_uid_that_is_written_stays(target: Target, images: Images) -> None:
    assert _uid(target, pod(images.named, runAsUser=7)) == 7
    given = pod(images.named)
    given["spec"]["securityContext"] = {"runAsUser": 8}
    assert _uid(target, given) is None
    given["spec"]["securityContext"] = {"runAsUser": 0}
    assert "which is root" in refusal(target, NAMESPACE, given)


@pytest.mark.usefixtures("policies")
def test_a_root_image_is_refused(target: Target, images: Images) -> None:
    said = refusal(target, NAMESPACE, pod(images.root))
    assert (
        f"image {images.root}: it runs as root: rebuild it with another USER, or write securityContext.runAsUser"
        in said
    )
    assert _uid(target, pod(images.root, runAsUser=7)) == 7
    given = pod(images.named)
    given["spec"]["initContainers"] = [{"name": "init", "image": images.root}]
    assert "it runs as root" in refusal(target, NAMESPACE, given)


@pytest.mark.usefixtures("policies")
def test_an_unknown_image_is_reported_and_left_to_the_kubelet(target: Target, images: Images) -> None:
    said = refusal(target, NAMESPACE, pod(images.missing))
    assert "is not known: " in said
    assert "notFound: " in said
    said = refusal(target, NAMESPACE, pod(images.nobody))
    assert "the image's /etc/passwd has no user 'gone'; write securityContext.runAsUser" in said.replace("''", "'")
    assert _uid(target, pod(images.missing, runAsNonRoot=True)) is None
    given = pod(images.missing)
    given["spec"]["securityContext"] = {"runAsNonRoot": True}
    assert _uid(target, given) is None


@pytest.mark.usefixtures("policies")
def test_an_image_cannot_ask_for_another_namespace(target: Target) -> None:
    said = refusal(target, NAMESPACE, pod('{"image":"a","namespace":"kube-system"}'))
    assert "invalid: " in said


@pytest.mark.usefixtures("policies")
def test_while_the_webhook_is_away_a_pod_that_needs_an_answer_is_refused(
    target: Target, images: Images, ours: Ours
) -> None:
    """As the policies' failurePolicy: Fail says; who says a uid needs none."""
    ours.stop()
    try:
        assert "connection refused" in refusal(target, NAMESPACE, pod(images.named))
        assert "connection refused" in refusal(target, NAMESPACE, pod(images.named, runAsNonRoot=True))
        assert _uid(target, pod(images.root, runAsUser=7)) == 7
    finally:
        ours.start()
    assert _uid(target, pod(images.named)) == UID


def test_another_token_counts_at_once(target: Target, images: Images, policies: list[Object]) -> None:
    """And one that may not ask is told which binding it lacks."""
    if policies[0]["kind"] not in CEL:
        pytest.skip("classic policies send Kyverno's own token, which it reads from its file each time")
    good = json.loads(target.kubectl("get", "secret", ASKS, "-n", "kyverno", "-o", "json"))["data"]["token"]
    target.kubectl("create", "serviceaccount", "stranger", "-n", "kyverno")

    def write(token: str) -> None:
        target.kubectl("patch", "secret", ASKS, "-n", "kyverno", "-p", json.dumps({"data": {"token": token}}))

    write(encoded(_token(target, "stranger").encode()))
    try:
        eventually(
            lambda: "add a RoleBinding" in refusal(target, NAMESPACE, pod(images.root)), "the stranger to be refused"
        )
    finally:
        write(good)
    eventually(lambda: refusal(target, NAMESPACE, pod(images.named)) == "", "the token to be back")


def test_a_thousand_admissions(target: Target, images: Images, ours: Ours, policies: list[Object]) -> None:
    """All right, and none lost; what each costs is printed, beside Kyverno with policies that ask nobody, and us without it."""
    pods, kinds = a_thousand(images), " and ".join(each["kind"] for each in policies)
    form = policies[0]["kind"].lower()
    alone = f"alone-{form}"
    namespace(target, alone, alone)
    theirs = (_asking_nobody(each, alone) for each in policies)
    with for_a_while(target, *theirs), without_an_engine(target, images, ours, form) as (with_ours, without):
        eventually(lambda: refusal(target, alone, pod(images.root, runAsUser=0)), "Kyverno to decide without us")
        found = in_turns(target, {NAMESPACE: pods, **dict.fromkeys((alone, with_ours, without), everybody(pods))})
    print(
        f"1,000 admissions, {AT_ONCE} at once, median ms each: Kyverno that asks us by {kinds} {found[NAMESPACE]:.1f}, Kyverno "
        f"alone {found[alone]:.1f}, our /mutate alone {found[with_ours]:.1f}, no webhook {found[without]:.1f}"
    )


def _asking_nobody(policy: Object, where: str) -> Object:
    """The policy for the namespaces of one label, without what it asks: it writes a field and looks at the uid that is written."""
    made = _of(policy, where)
    spec = made["spec"]
    if made["kind"] == "ClusterPolicy":
        (evaluating,) = (rule for rule in spec["rules"] if rule["name"] == "root-user")
        context = {"readOnlyRootFilesystem": True}
        merge = {"spec": {"containers": [{"(name)": "*", "securityContext": context}]}}
        spec["rules"] = [
            {"name": "writes", "match": evaluating["match"], "mutate": {"patchStrategicMerge": merge}},
            evaluating,
        ]
        return made
    spec["variables"] = [each for each in spec["variables"] if each["name"] in {"pod", "former", "evaluated", "root"}]
    if "mutations" in spec:
        spec["mutations"] = [_writes("readOnlyRootFilesystem", True)]
    else:
        spec["validations"] = spec["validations"][:1]
    return made


def _of(policy: Object, where: str) -> Object:
    """The policy under another name, for the namespaces of one label."""
    label = '"nonroot.dev/engine": "{}"'
    made: Object = json.loads(json.dumps(policy).replace(label.format("kyverno"), label.format(where)))
    made["metadata"]["name"] = where
    return made


def _writes(field: str, value: object) -> Object:
    """A mutation that writes a field into every container's securityContext."""
    written = f"Object.spec.containers.securityContext{{{field}: {json.dumps(value)}}}"
    expression = (
        "Object{spec: Object.spec{containers: object.spec.containers.map(c, "
        f"Object.spec.containers{{name: c.name, securityContext: {written}}})}}}}"
    )
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


BESIDE = pytest.mark.parametrize("name", ["aa-ours", "zz-ours"], ids=["after ours", "before ours"])


@BESIDE
def test_the_uid_that_it_injects_is_the_one_that_we_would(
    target: Target, images: Images, ours: Ours, policies: list[Object], name: str
) -> None:
    """Whoever is first: the Pod is admitted to Pod Security restricted, and a second pass changes nothing."""
    where = f"{name}-{policies[0]['kind'].lower()}"
    namespace(target, where, where, restricted=True)
    with for_a_while(target, *(_of(each, where) for each in policies)):
        eventually(lambda: _gets(target, where, images.named, {"runAsUser": UID}), "Kyverno to inject")
        found = comes_to_one(target, ours, where, name, pod(images.named), {"runAsUser": UID})
        assert created(target, where, pod(images.root)) is None
    assert found == {**DEFAULTS, "runAsUser": UID}


@BESIDE
@table(
    ("field", "value", "uid"),
    {
        "it demands what we inject": ("runAsNonRoot", True, UID),
        "it says another uid than the image": ("runAsUser", 2000, 2000),
        "it says a field that we leave alone": ("readOnlyRootFilesystem", True, UID),
    },
)
@pytest.mark.usefixtures("kyverno")
def test_its_mutation_and_ours_come_to_one_pod(
    target: Target, images: Images, ours: Ours, name: str, field: str, value: object, uid: int
) -> None:
    """Whoever is first: the Pod is admitted to Pod Security restricted, has both, and a second pass changes nothing."""
    where = f"{name}-{field.lower()}"
    namespace(target, where, where, restricted=True)
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    constraints = {
        "namespaceSelector": {"matchLabels": {"nonroot.dev/engine": where}},
        "resourceRules": [rule],
    }
    policy = {
        "apiVersion": "policies.kyverno.io/v1",
        "kind": "MutatingPolicy",
        "metadata": {"name": where},
        "spec": {"matchConstraints": constraints, "mutations": [_writes(field, value)]},
    }
    with for_a_while(target, policy):
        eventually(lambda: _gets(target, where, images.named, {field: value}), "Kyverno to write")
        found = comes_to_one(target, ours, where, name, pod(images.named), {field: value})
    assert found == {**DEFAULTS, "runAsUser": uid, field: value}


def _gets(target: Target, where: str, image: str, fields: Object) -> bool:
    """Whether Kyverno gives a Pod of the image these fields; Pod Security refuses one that lacks any other."""
    said: Object = {key: value for key, value in {**DEFAULTS, "runAsUser": 7}.items() if key not in fields}
    spec = created(target, where, pod(image, **said))
    return spec is not None and spec["containers"][0]["securityContext"].items() >= fields.items()


def test_our_certificate_may_be_of_another_ca(
    target: Target, images: Images, ours: Ours, policies: list[Object]
) -> None:
    """The webhook configuration trusts both for a while, as the controller writes it; classic policies read it there."""
    if policies[0]["kind"] in CEL:
        pytest.skip("CEL policies trust what Kyverno has read at its start")
    former = ours.ca
    ours.ca = ours.renew()
    _trust(target, former + ours.ca)
    eventually(lambda: refusal(target, NAMESPACE, pod(images.named)) == "", "both to be trusted")
    for _ in range(10):
        assert _uid(target, pod(images.named)) == UID
    _trust(target, ours.ca)
    eventually(lambda: refusal(target, NAMESPACE, pod(images.named)) == "", "the new CA alone to be trusted")


def _trust(target: Target, bundle: bytes) -> None:
    patch = f'[{{"op":"replace","path":"/webhooks/0/clientConfig/caBundle","value":"{encoded(bundle)}"}}]'
    target.kubectl("patch", "mutatingwebhookconfiguration", CONFIGURATION, "--type=json", "-p", patch)
