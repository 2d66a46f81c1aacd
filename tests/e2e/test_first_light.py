"""Real images under a real kubelet: without the webhook, then with it, and the two compared."""

import secrets

import pytest

from deploy.dev.images.build import Built, Pushed
from tests.e2e.replies import in_force
from tests.e2e.target import Outcome, Target, deployment, eventually, outcomes, runtime_user
from tests.support.api_server import Refused
from tests.support.pods import DEFAULTS

pytestmark = pytest.mark.e2e

NON_NUMERIC = "container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is non-root"
ROOT = "container has runAsNonRoot and image will run as root"

# What the kubelet itself makes of runAsNonRoot with each image: its sentence, or None where it starts the container.
ALONE = {
    "a-useradd-uid": NON_NUMERIC.format("appuser"),
    "b-groupadd-system": NON_NUMERIC.format("invtl"),
    "c-adduser-busybox": NON_NUMERIC.format("appuser"),
    "d-addgroup-system": NON_NUMERIC.format("app"),
    "e-numeric": None,
    "f-no-user": ROOT,
    "g-root": NON_NUMERIC.format("root"),
    "h-no-such-user": NON_NUMERIC.format("nosuch"),
    "i-numeric-group": None,
    "j-named-root": NON_NUMERIC.format("toor"),
    "k-supplementary": NON_NUMERIC.format("web"),
    "l-writer": NON_NUMERIC.format("writer"),
}

# What the webhook must say where it refuses: its rule's reason.
REFUSED = {
    "f-no-user": "image runs as root",
    "g-root": "image runs as root",
    "h-no-such-user": "image's user does not exist",
    "j-named-root": "image runs as root",
}
ADMITTED = ALONE.keys() - REFUSED.keys()


def _deploy(target: Target, namespace: str, images: dict[str, Pushed], *, non_root: bool) -> dict[str, Outcome]:
    made = (deployment(name, image.reference, non_root=non_root) for name, image in images.items())
    target.apply(*made, namespace=namespace)
    return outcomes(target, namespace, set(images))


@pytest.fixture(scope="module")
def by_name(target: Target, images: dict[str, Pushed]) -> dict[str, Outcome]:
    """Who each image's process is when nobody demands anything: the identity that must be preserved."""
    namespace = target.namespace(f"by-name-{secrets.token_hex(2)}")
    try:
        return _deploy(target, namespace, images, non_root=False)
    finally:
        target.delete("namespaces", namespace)


def test_the_kubelet_alone_refuses_every_name(target: Target, images: dict[str, Pushed], namespace: str) -> None:
    """The problem: runAsNonRoot with a USER name never starts, and says so only on the node."""
    target.namespace(namespace)
    found = _deploy(target, namespace, images, non_root=True)
    for name, sentence in ALONE.items():
        if sentence is None:
            assert found[name].uid == 1001, name
        else:
            assert found[name].reason == "CreateContainerConfigError", name
            assert found[name].message.startswith(sentence), name


def test_the_webhook_lets_each_image_run_as_who_it_is(
    installed: Target, images: dict[str, Pushed], built: dict[str, Built], by_name: dict[str, Outcome], namespace: str
) -> None:
    """The cure: the same Deployments, admitted with the image's own uid or refused with a reason."""
    target = installed
    target.namespace(namespace, **{"nonroot.dev/mode": "enforce"})
    found = _deploy(target, namespace, images, non_root=True)
    for name in sorted(ADMITTED):
        assert found[name].reason == "", f"{name}: {found[name].message}"
        same = (by_name[name].uid, by_name[name].gid, by_name[name].groups)
        assert (found[name].uid, found[name].gid, found[name].groups) == same, name
        assert found[name].run_as_user == built[name].uid == found[name].uid, name
    for name, reason in REFUSED.items():
        assert found[name].reason == "FailedCreate", name
        assert reason in found[name].message, name
        assert "runAsUser" in found[name].message, name
        assert images[name].reference in found[name].message, name


def test_the_runtime_says_the_same_as_the_status(installed: Target, images: dict[str, Pushed], namespace: str) -> None:
    """The runtime's own record of the process, beside what the kubelet reports."""
    target = installed
    if not target.containerd:
        pytest.skip("the runtime's socket is not reachable from here (CONTAINERD_ADDRESS)")
    target.namespace(namespace, **{"nonroot.dev/mode": "enforce"})
    chosen = {name: images[name] for name in ("b-groupadd-system", "k-supplementary")}
    found = _deploy(target, namespace, chosen, non_root=True)
    if not any(outcome.told for outcome in found.values()):
        pytest.skip("no status says who runs: the kubelet or the runtime is too old for that")
    for name, outcome in found.items():
        assert outcome.told, name
        assert runtime_user(target, outcome.container) == (outcome.uid, outcome.gid, outcome.groups), name


def test_pod_security_restricted_admits_what_we_patched(
    installed: Target, images: dict[str, Pushed], namespace: str
) -> None:
    """A bare Pod that says nothing passes the API server's own restricted policy by what we injected."""
    target = installed
    labels = {"nonroot.dev/mode": "enforce", "pod-security.kubernetes.io/enforce": "restricted"}
    target.namespace(namespace, **labels)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bare"},
        "spec": {"containers": [{"name": "app", "image": images["a-useradd-uid"].reference}]},
    }
    target.apply(pod, namespace=namespace)
    context = target.get("pods", namespace)[0]["spec"]["containers"][0]["securityContext"]
    # Without a program that carries NET_BIND_SERVICE the capability is left out, once the controller has read the layers.
    assert context["capabilities"] in (DEFAULTS["capabilities"], {"drop": ["ALL"]})
    assert context == {"runAsUser": 1000, **DEFAULTS, "capabilities": context["capabilities"]}
    pod["metadata"] = {"name": "root"}
    pod["spec"] = {"containers": [{"name": "app", "image": images["g-root"].reference}]}
    with pytest.raises(Refused, match="runs as root"):
        target.apply(pod, namespace=namespace)


def test_kube_system_and_our_own_namespace_are_never_touched(installed: Target, images: dict[str, Pushed]) -> None:
    """A root Pod in kube-system is created whatever we think of it."""
    target = installed
    name = "root-in-kube-system"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "containers": [{"name": "app", "image": images["g-root"].reference}],
            "terminationGracePeriodSeconds": 0,
        },
    }
    target.apply(pod, namespace="kube-system")
    made = next(each for each in target.get("pods", "kube-system") if each["metadata"]["name"] == name)
    assert "securityContext" not in made["spec"]["containers"][0]
    target.kubectl("-n", "kube-system", "delete", "pod", name, "--now", "--wait=false")
    ours = target.get("pods", "nonroot-system")
    assert len(ours) >= 3  # two admission replicas and the controller
    assert all("nonroot.dev/injected" not in each["metadata"].get("annotations", {}) for each in ours)


def test_a_volume_that_a_non_root_process_cannot_write(
    installed: Target, images: dict[str, Pushed], namespace: str
) -> None:
    """It is reported as a warning; with the policy's fsGroup the process can write it."""
    target = installed
    target.namespace(namespace, **{"nonroot.dev/mode": "enforce"})
    image = images["l-writer"].reference
    for name in ("told", "cured"):
        path, node = _prepare(target, name, images["g-root"].reference)
        target.apply(*_volume(namespace, name, path, node), namespace=namespace)
    result = target.apply(_writer("told", image), namespace=namespace)
    assert "volume may not be writable" in result
    assert "fsGroup" in result
    policy = {
        "apiVersion": "nonroot.dev/v1alpha1",
        "kind": "NonRootPolicy",
        "metadata": {"name": namespace},
        "spec": {"fsGroup": 2000, "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
    }
    target.apply(policy)

    try:
        in_force(target, namespace, namespace)
        assert "volume may not be writable" not in target.apply(_writer("cured", image), namespace=namespace)
        (cured,) = (each for each in target.get("pods", namespace) if each["metadata"]["name"] == "cured")
        assert cured["spec"]["securityContext"]["fsGroup"] == 2000
        eventually(lambda: _wrote(target, namespace, "cured") is True, "the cured Pod's word that it can write")
        eventually(lambda: _wrote(target, namespace, "told") is False, "the other Pod's word that it cannot write")
    finally:
        target.delete("nonrootpolicies", namespace)


def _wrote(target: Target, namespace: str, pod: str) -> bool | None:
    """Whether the image says that it could write its volume; None while it has said nothing."""
    try:
        log = target.kubectl("-n", namespace, "logs", pod)
    except Refused:
        return None
    return None if not log.strip() else "cannot" not in log


def _prepare(target: Target, name: str, root_image: str) -> tuple[str, str]:
    """A folder on a node that belongs to root, made by a Pod in kube-system; the folder's path, and the node's name."""
    path = f"/var/lib/nonroot-e2e/{name}"
    target.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"prepare-{name}"},
            "spec": {
                "restartPolicy": "Never",
                "containers": [
                    {
                        "name": "app",
                        "image": root_image,
                        "command": ["sh", "-c", "chown 0:0 /made && chmod 0755 /made && rm -rf /made/*"],
                        "volumeMounts": [{"name": "made", "mountPath": "/made"}],
                    }
                ],
                "volumes": [{"name": "made", "hostPath": {"path": path, "type": "DirectoryOrCreate"}}],
            },
        },
        namespace="kube-system",
    )

    def done() -> str | None:
        (pod,) = target.get("pods", "kube-system", fields=f"metadata.name=prepare-{name}")
        return pod["spec"]["nodeName"] if pod["status"]["phase"] == "Succeeded" else None

    node = eventually(done, f"the folder {path} on a node")
    target.kubectl("-n", "kube-system", "delete", "pod", f"prepare-{name}", "--now", "--wait=false")
    return path, node


def _volume(namespace: str, name: str, path: str, node: str) -> list[dict[str, object]]:
    """A local PersistentVolume on that folder of that node, and its claim."""
    hostname = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [hostname]}]}}
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeName": f"{namespace}-{name}"[:60]}
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": common["volumeName"]},
            "spec": {
                "capacity": {"storage": "1Mi"},
                "accessModes": common["accessModes"],
                "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": "",
                "local": {"path": path},
                "nodeAffinity": affinity,
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": {**common, "resources": {"requests": {"storage": "1Mi"}}},
        },
    ]


def _writer(name: str, image: str, claim: str = "") -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "app", "image": image, "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim or name}}],
        },
    }
