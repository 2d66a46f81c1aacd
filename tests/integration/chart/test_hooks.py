"""What a real API server makes of the chart: which requests each hook's rules and matchConditions let through to us.

Each hook is registered by itself, for a namespace of its own, with failurePolicy Fail and an address where nobody
listens. A request that would be sent to us is then refused, with the hook's name; one that is skipped succeeds. The
webhook need not run, everything is a dry run, and whatever else uses the cluster is not touched.
"""

import copy
import json
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from deploy.local import build
from tests.support.api_server import MERGE, STRATEGIC, Answer, Refused
from tests.support.cluster import reach
from tests.support.helm import CHART, NAMESPACE, TOOLS, Manifest, manifests, pick, run, template
from tests.support.pods import DEFAULTS

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif("not os.environ.get('KUBECONFIG')", reason="needs KUBECONFIG: make test starts a cluster"),
]

Hook = Literal["mutate", "enforce", "advise", "templates"]
NOBODY = "https://127.0.0.1:1/"
HOOKS_SECONDS = 20.0  # until an API server must have noticed a new configuration
COMPLETE = {"runAsUser": 1000, **DEFAULTS}


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    """Helm and kubectl, built if they are not there."""
    build.ensure(TOOLS)


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    name = reach().namespace(f"hooks-{uuid.uuid4().hex[:8]}")
    yield name
    reach().delete("namespaces", name)


def _hook(hook: Hook) -> tuple[Manifest, Manifest]:
    """The configuration that holds a hook, and the hook."""
    kind, name = (
        ("MutatingWebhookConfiguration", "zz-nonroot-webhook")
        if hook == "mutate"
        else ("ValidatingWebhookConfiguration", "nonroot-webhook")
    )
    configuration = pick(template(), kind, name)
    (found,) = (each for each in configuration["webhooks"] if each["name"] == f"{hook}.nonroot.dev")
    return configuration, found


@pytest.fixture
def registered(namespace: str) -> Iterator[Callable[[Hook], None]]:
    """Register one hook for the namespace and wait until the API server calls it."""
    made: list[tuple[str, str]] = []

    def register(hook: Hook) -> None:
        configuration, found = copy.deepcopy(_hook(hook))
        name = f"{namespace}-{hook}"
        configuration["metadata"] = {"name": name}
        found["clientConfig"] = {"url": NOBODY}
        found["failurePolicy"] = "Fail"
        names = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [namespace]}
        found["namespaceSelector"] = {"matchExpressions": [names]}
        configuration["webhooks"] = [found]
        reach().apply(configuration)
        made.append((f"{configuration['apiVersion']}/{configuration['kind']}", name))
        probe = _deployment("probe") if hook == "templates" else _pod({})
        path = path_of(namespace, probe)
        deadline = time.monotonic() + HOOKS_SECONDS
        while not called(lambda: create(path, probe)):
            assert time.monotonic() < deadline, f"the API server never called {hook}"
            time.sleep(0.1)

    yield register
    for kind, name in made:
        reach().delete(kind, name)


def called(request: Callable[[], object]) -> bool:
    """Whether a request was meant for the hook: True where it was refused because nobody answers."""
    try:
        request()
    except Refused as error:
        if "failed calling webhook" not in str(error):
            raise
        return True
    return False


def path_of(namespace: str, given: Manifest, subresource: str = "") -> str:
    """The address of an object's collection, or of a part of the object, for a dry run."""
    version = given["apiVersion"]
    root = f"/api/{version}" if version == "v1" else f"/apis/{version}"
    tail = f"/{given['metadata']['name']}/{subresource}" if subresource else ""
    return f"{root}/namespaces/{namespace}/{given['kind'].lower()}s{tail}?dryRun=All"


def create(path: str, given: Manifest) -> Answer:
    return reach().api.call("POST", path, given)


def _container(name: str = "main", context: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "image": "registry.invalid/app:1"} | ({} if context is None else {"securityContext": context})


def _pod(context: dict[str, Any], *containers: dict[str, Any], init: list[dict[str, Any]] | None = None) -> Manifest:
    """A Pod that no scheduler takes."""
    spec: dict[str, Any] = {
        "schedulerName": "none",
        "automountServiceAccountToken": False,
        "securityContext": context,
        "containers": list(containers) or [_container()],
    }
    if init:
        spec["initContainers"] = init
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"}, "spec": spec}


def _without(*fields: str) -> dict[str, Any]:
    return {key: value for key, value in COMPLETE.items() if key not in fields}


# What each Pod is, whether /mutate has to see it, whether /validate has to.
PODS: dict[str, tuple[Manifest, bool, bool]] = {
    "says nothing": (_pod({}), True, True),
    "says all there is to say": (_pod({}, _container(context=COMPLETE)), False, False),
    "says it for the whole Pod where that can be": (
        _pod(
            {"runAsUser": 1000, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            _container(context={"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}),
        ),
        False,
        False,
    ),
    "gives a user and nothing else": (_pod({"runAsUser": 7}), True, False),
    "gives a user for the container alone": (_pod({}, _container(context={"runAsUser": 7})), True, False),
    "asks for runAsNonRoot and gives no user": (_pod({"runAsNonRoot": True}), True, True),
    "gives the user 0": (_pod({"runAsUser": 0}), True, True),
    "gives 0 to the container of a Pod with 7": (
        _pod({"runAsUser": 7}, _container(context={"runAsUser": 0})),
        True,
        True,
    ),
    "gives 7 to the container of a Pod with 0": (
        _pod({"runAsUser": 0}, _container(context={"runAsUser": 7})),
        True,
        False,
    ),
    "denies runAsNonRoot": (_pod({"runAsUser": 7, "runAsNonRoot": False}), True, True),
    "denies runAsNonRoot for the container of a Pod that asks for it": (
        _pod({"runAsUser": 7, "runAsNonRoot": True}, _container(context={"runAsNonRoot": False})),
        True,
        True,
    ),
    "has a silent container beside a complete one": (
        _pod({}, _container("one", COMPLETE), _container("two")),
        True,
        True,
    ),
    "has a silent init container": (_pod({}, _container(context=COMPLETE), init=[_container("first")]), True, True),
    "has a complete init container": (
        _pod({}, _container(context=COMPLETE), init=[_container("first", COMPLETE)]),
        False,
        False,
    ),
    "has a root sidecar": (
        _pod(
            {},
            _container(context=COMPLETE),
            init=[_container("side", COMPLETE | {"runAsUser": 0, "runAsNonRoot": False}) | {"restartPolicy": "Always"}],
        ),
        True,
        True,
    ),
    "leaves privilege escalation open": (
        _pod({}, _container(context=_without("allowPrivilegeEscalation"))),
        True,
        False,
    ),
    "leaves capabilities open": (_pod({}, _container(context=_without("capabilities"))), True, False),
    "drops one capability only": (
        _pod({}, _container(context=COMPLETE | {"capabilities": {"drop": ["KILL"]}})),
        True,
        False,
    ),
    "drops all in small letters": (
        _pod({}, _container(context=COMPLETE | {"capabilities": {"drop": ["all"]}})),
        True,
        False,
    ),
    "leaves seccomp open": (_pod({}, _container(context=_without("seccompProfile"))), True, False),
    "asks for no seccomp": (
        _pod({}, _container(context=COMPLETE | {"seccompProfile": {"type": "Unconfined"}})),
        True,
        False,
    ),
    "brings a seccomp profile of its own": (
        _pod(
            {}, _container(context=COMPLETE | {"seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"}})
        ),
        False,
        False,
    ),
    "is for Windows, where a uid means nothing": (
        _pod({"runAsUser": 7})
        | {"spec": _pod({"runAsUser": 7})["spec"] | {"nodeSelector": {"kubernetes.io/os": "windows"}}},
        True,
        True,
    ),
    "is bound to Windows by affinity": (
        _pod({"runAsUser": 7})
        | {
            "spec": _pod({"runAsUser": 7})["spec"]
            | {
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {
                                    "matchExpressions": [
                                        {"key": "kubernetes.io/os", "operator": "In", "values": ["windows"]}
                                    ]
                                }
                            ]
                        }
                    }
                }
            }
        },
        True,
        True,
    ),
    "is bound to Linux": (
        _pod({"runAsUser": 7})
        | {"spec": _pod({"runAsUser": 7})["spec"] | {"nodeSelector": {"kubernetes.io/os": "linux"}}},
        True,
        False,
    ),
    "has four hundred complete containers": (
        _pod({}, *(_container(f"c{number}", COMPLETE) for number in range(400))),
        False,
        False,
    ),
}


@pytest.mark.parametrize("hook", ["mutate", "enforce", "advise"])
def test_a_new_pod_is_sent_to_us_only_where_there_is_something_to_do(
    hook: Hook, registered: Callable[[Hook], None], namespace: str
) -> None:
    registered(hook)
    path = path_of(namespace, _pod({}))
    seen = {sentence: called(partial(create, path, pod)) for sentence, (pod, _, _) in PODS.items()}
    assert seen == {
        sentence: mutate if hook == "mutate" else validate for sentence, (_, mutate, validate) in PODS.items()
    }


@pytest.fixture(scope="module")
def pods(namespace: str) -> tuple[Manifest, Manifest]:
    """A silent Pod and a complete one, in the cluster before any hook."""
    silent, complete = _pod({}), _pod({}, _container(context=COMPLETE))
    complete["metadata"]["name"] = "complete"
    for pod in (silent, complete):
        reach().apply(pod, namespace=namespace)
    return silent, complete


def _patch(namespace: str, kind: str, name: str, patch: object, by: str = MERGE) -> Callable[[], object]:
    api = reach().api
    path = f"{api.resource(kind.lower()).path(namespace, name)}?dryRun=All"
    return lambda: api.call("PATCH", path, patch, content_type=by)


def _new_image(namespace: str, name: str) -> Callable[[], object]:
    container = {"name": "main", "image": "registry.invalid/app:2"}
    return _patch(namespace, "pod", name, {"spec": {"containers": [container]}}, STRATEGIC)


def _debug(namespace: str, pod: Manifest, context: dict[str, Any] | None) -> Callable[[], object]:
    """Add an ephemeral container, as kubectl debug does."""
    ephemeral = [_container("debug", context)]
    changed = pod | {"spec": pod["spec"] | {"ephemeralContainers": ephemeral}}
    return lambda: reach().api.call("PUT", path_of(namespace, pod, "ephemeralcontainers"), changed)


@pytest.mark.parametrize("hook", ["mutate", "enforce", "advise"])
def test_a_pod_is_seen_again_only_with_another_image_or_an_ephemeral_container(
    hook: Hook, registered: Callable[[Hook], None], namespace: str, pods: tuple[Manifest, Manifest]
) -> None:
    silent, complete = pods
    registered(hook)
    validating = hook != "mutate"
    assert not called(_patch(namespace, "pod", "probe", {"metadata": {"labels": {"a": "b"}}}))
    assert called(_new_image(namespace, "probe")) is validating
    assert not called(_new_image(namespace, "complete"))
    assert called(_debug(namespace, silent, None))
    assert called(_debug(namespace, complete, None))
    assert called(_debug(namespace, complete, {"runAsUser": 0}))
    assert not called(_debug(namespace, complete, COMPLETE))


def _template(labels: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"labels": labels}, "spec": {"containers": [_container()], "schedulerName": "none"}}


def _workload(kind: str, version: str, spec: dict[str, Any], name: str = "probe") -> Manifest:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def _deployment(name: str) -> Manifest:
    labels = {"app": "probe"}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": _template(labels)}
    return _workload("Deployment", "apps/v1", spec, name)


def _workloads() -> dict[str, tuple[Manifest, list[str]]]:
    """Each kind that carries a Pod template, and where."""
    labels = {"app": "probe"}
    selected = {"selector": {"matchLabels": labels}, "template": _template(labels)}
    once = _template(labels)
    once["spec"]["restartPolicy"] = "Never"
    job = {"suspend": True, "template": once}
    pod_template = {
        "apiVersion": "v1",
        "kind": "PodTemplate",
        "metadata": {"name": "probe"},
        "template": _template(labels),
    }
    return {
        "Deployment": (_deployment("probe"), ["spec", "template"]),
        "ReplicaSet": (_workload("ReplicaSet", "apps/v1", {"replicas": 0, **selected}), ["spec", "template"]),
        "StatefulSet": (
            _workload("StatefulSet", "apps/v1", {"replicas": 0, "serviceName": "probe", **selected}),
            ["spec", "template"],
        ),
        "DaemonSet": (_workload("DaemonSet", "apps/v1", selected), ["spec", "template"]),
        "ReplicationController": (
            _workload(
                "ReplicationController", "v1", {"replicas": 0, "selector": labels, "template": _template(labels)}
            ),
            ["spec", "template"],
        ),
        "CronJob": (
            _workload("CronJob", "batch/v1", {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": job}}),
            ["spec", "jobTemplate", "spec", "template"],
        ),
        "Job": (_workload("Job", "batch/v1", job), ["spec", "template"]),
        "PodTemplate": (pod_template, ["template"]),
    }


def _nested(path: list[str], value: object) -> object:
    for key in reversed(path):
        value = {key: value}
    return value


def test_a_workload_is_seen_when_its_template_is_new(registered: Callable[[Hook], None], namespace: str) -> None:
    workloads = _workloads()
    for workload, _ in workloads.values():
        reach().apply(workload, namespace=namespace)
    registered("templates")
    annotated = {"metadata": {"annotations": {"a": "b"}}}
    for kind, (workload, path) in workloads.items():
        fresh = workload | {"metadata": {"name": "fresh"}}
        assert called(partial(create, path_of(namespace, fresh), fresh)), kind
        assert not called(_patch(namespace, kind, "probe", annotated)), kind
        assert not called(_patch(namespace, kind, "probe", _nested(path, annotated))), kind
        if kind != "Job":  # a Job's template cannot be changed
            changed = _nested(path, {"spec": {"containers": [_container() | {"image": "registry.invalid/app:2"}]}})
            assert called(_patch(namespace, kind, "probe", changed)), kind
    for kind in ("Deployment", "ReplicaSet", "StatefulSet", "ReplicationController"):
        assert not called(_patch(namespace, kind, "probe", {"spec": {"replicas": 3}})), kind


def test_what_a_controller_makes_is_not_seen(registered: Callable[[Hook], None], namespace: str) -> None:
    registered("templates")
    replica_set, _ = _workloads()["ReplicaSet"]
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "gone", "uid": str(uuid.uuid4())}
    for controller in (True, False):
        owned = replica_set | {"metadata": {"name": "owned", "ownerReferences": [owner | {"controller": controller}]}}
        assert called(partial(create, path_of(namespace, owned), owned)) is not controller


@pytest.mark.parametrize("values", sorted(CHART.glob("ci/*-values.yaml")), ids=lambda path: path.stem)
def test_the_configurations_are_accepted(values: Path) -> None:
    for each in manifests(template(values)):
        if each["kind"].endswith("WebhookConfiguration"):
            said = run("kubectl", "apply", "--dry-run=server", "-f", "-", stdin=json.dumps(each))
            assert "server dry run" in said


def test_excluded_namespaces_are_never_sent(namespace: str) -> None:
    """By name in the selector; the label it reads is the API server's own, and cannot be taken off."""
    for hook in ("mutate", "enforce", "advise", "templates"):
        _, found = _hook(hook)
        names = next(
            each
            for each in found["namespaceSelector"]["matchExpressions"]
            if each["key"] == "kubernetes.io/metadata.name"
        )
        assert {NAMESPACE, "kube-system", "kube-node-lease"} <= set(names["values"])
    reach().label(namespace, **{"kubernetes.io/metadata.name": None})
    labels = reach().api.read("namespaces", namespace)["metadata"]["labels"]
    assert labels["kubernetes.io/metadata.name"] == namespace
