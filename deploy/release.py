"""Put our own image and chart into a cluster, and take them out again: for `make cluster` and the end-to-end tests alike."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "nonroot-webhook"
NAMESPACE = "nonroot-system"
RELEASE = "nonroot"
CONFIGURATIONS = ("mutatingwebhookconfiguration/zz-nonroot-webhook", "validatingwebhookconfiguration/nonroot-webhook")
TIMEOUT = 300  # seconds until every replica must be ready, also on a busy machine


class ReleaseError(Exception):
    """Helm or kubectl refused; the text is theirs."""


class Image(msgspec.Struct, frozen=True):
    """Our image as the cluster pulls it: by digest, so that a new build is a new rollout."""

    registry: str
    repository: str
    digest: str

    @classmethod
    def parse(cls, pinned: str) -> "Image":
        """`HOST:PORT/repository@sha256:…` in parts."""
        registry, _, rest = pinned.partition("/")
        repository, _, digest = rest.partition("@")
        return cls(registry, repository, digest)


def install(
    image: Image,
    environment: Mapping[str, str],
    registries: Mapping[str, object],
    *,
    chart: Path = CHART,
    **values: object,
) -> None:
    """`helm upgrade --install`, waiting until the webhooks have their CA, and every replica is new and ready.

    Helm waits for as many replicas as may not be unavailable (helm pkg/kube/ready.go): on the node's network for none, so
    that the former replica answers until it is stopped.

    `registries` are the chart's values under `registry`, `values` any others; `chart` is another version of it.
    """
    given = {"image": msgspec.to_builtins(image), "registry": registries, **values}
    command = [
        "helm",
        "upgrade",
        "--install",
        "--take-ownership",
        RELEASE,
        str(chart),
        "--namespace",
        NAMESPACE,
        "--create-namespace",
    ]
    _run([*command, "--wait", "--timeout", f"{TIMEOUT}s", "--values", "-"], environment, json.dumps(given))
    ours = ["--namespace", NAMESPACE, "--selector", f"app.kubernetes.io/instance={RELEASE}"]
    _run(["kubectl", "rollout", "status", "deployment", *ours, "--timeout", f"{TIMEOUT}s"], environment)
    wait = ["kubectl", "wait", "--timeout", f"{TIMEOUT}s", "--for"]
    for each in CONFIGURATIONS:
        _run([*wait, "jsonpath={.webhooks[0].clientConfig.caBundle}", each], environment)


def uninstall(environment: Mapping[str, str]) -> None:
    """`helm uninstall`, and the namespace that held the release; where Helm cannot, at least what could refuse anything.

    Helm gives up where a kind of the release is gone, such as cert-manager's. Without hooks no replica is asked anything, so
    that none is given the time to answer.
    """
    try:
        _run(["helm", "uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--ignore-not-found"], environment)
    finally:
        _run(["kubectl", "delete", *CONFIGURATIONS, "--ignore-not-found"], environment)
        _run(
            ["kubectl", "delete", "deployments,replicasets,pods", "--all", "--namespace", NAMESPACE, "--now"],
            environment,
        )
        _run(["kubectl", "delete", "namespace", NAMESPACE, "--ignore-not-found"], environment)


def _run(command: list[str], environment: Mapping[str, str], text: str = "") -> str:
    done = subprocess.run(command, input=text, env=dict(environment), capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseError(f"{' '.join(command[:4])} …: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
