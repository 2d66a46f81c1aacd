"""What a webhook adds to the creation of a Pod, through a real API server: dry runs, so that nothing is stored or run.

Webhooks are registered by URL, one after another in each round, for the creation of Pods in a namespace of the bench.
"""

import asyncio
import base64
import http.client
import json
import ssl
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.bench import capture, load, servers
from tests.bench.hooks import Recorder, kubectl, namespace, registered
from tests.bench.load import Figure
from tests.bench.servers import Server
from tests.support.helm import pick, template

NAMESPACE = "bench-apiserver"
ROUNDS, SECONDS = 3, 2
CONNECTIONS = (1, 8)
CORPUS = Path(__file__).parents[1] / "unit" / "check" / "corpus"
GOOD = capture.pod(
    capture.NUMERIC, "", capture.HARDENED, {"runAsUser": 10001, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
)  # fmt: skip


async def main() -> list[str]:
    """The section's lines."""
    return await asyncio.to_thread(_section)


def _section() -> list[str]:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        ca = servers.certificate(folder)
        ports = iter(servers.ports(2))
        ours = stack.enter_context(servers.ours(folder, next(ports), "127.0.0.1:1"))
        peer = stack.enter_context(servers.pod_security(folder, next(ports)))
        stack.enter_context(namespace(NAMESPACE))
        figures = _measure(folder, ca, ours, peer)
        share = _share(folder)
    lines = [
        "| webhook | connections | creations/s | p50 ms | p99 ms | p50 more than without |",
        "|---|---|---|---|---|---|",
    ]
    for (title, connections), figure in figures.items():
        more = figure.p50 - figures["none", connections].p50
        lines.append(
            f"| {title} | {connections} | {figure.rate:,.0f} | {figure.p50:.2f} | {figure.p99:.2f} | {more:+.2f} |"
        )
    return [*lines, "", share, ""]


def _measure(folder: Path, ca: bytes, ours: Server, peer: Server) -> dict[tuple[str, int], Figure]:
    body = folder / "pod.json"
    # generateName: the name of a Pod that exists is refused before a webhook sees it
    body.write_text(json.dumps(GOOD | {"metadata": {"generateName": "web-"}}))
    url, options = _door(folder)
    runs: defaultdict[tuple[str, int], list[Figure]] = defaultdict(list)
    hooks: dict[str, tuple[Server | None, list[dict[str, str]]]] = {
        "none": (None, []),
        "ours, skipped by matchConditions": (ours, _conditions()),
        "ours, called": (ours, []),
        "the Pod Security webhook, called": (peer, []),
    }
    for _ in range(ROUNDS):
        for title, (server, conditions) in hooks.items():
            with _hooked(ca, server, conditions):
                for connections in CONNECTIONS:
                    figure = load.run(url, body, connections, SECONDS, expected=201, options=options)
                    runs[title, connections].append(figure)
    return {key: load.median(each) for key, each in runs.items()}


@contextmanager
def _hooked(ca: bytes, server: Server | None, conditions: list[dict[str, str]]) -> Iterator[None]:
    if server is None:
        yield
        return
    before = server.cpu()
    with registered(
        "bench-apiserver", NAMESPACE, server.validate, ca, ready=lambda: server.cpu() > before, conditions=conditions
    ):
        time.sleep(1)  # an API server takes a new configuration up within a second
        yield


def _door(folder: Path, place: str = NAMESPACE) -> tuple[str, list[str]]:
    """Where Pods are created, and oha's options for the administrator's certificate."""
    config = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    for name, given in (("client.crt", "client-certificate"), ("client.key", "client-key")):
        content = Path(user[given]).read_bytes() if given in user else base64.b64decode(user[f"{given}-data"])
        (folder / name).write_bytes(content)
    options = ["--insecure", "--cert", str(folder / "client.crt"), "--key", str(folder / "client.key")]
    return f"{cluster['server']}/api/v1/namespaces/{place}/pods?dryRun=All", options


def _conditions(kind: str = "ValidatingWebhookConfiguration", name: str = "nonroot-webhook") -> list[dict[str, str]]:
    """The chart's own for Pods."""
    hooks: list[dict[str, Any]] = pick(template(), kind, name)["webhooks"]
    conditions: list[dict[str, str]] = hooks[0]["matchConditions"]
    return conditions


def _share(folder: Path) -> str:
    """Of the Pods of realistic manifests, how many the API server never sends us."""
    pods = list(corpus())
    kept = []
    for kind, name in (("Validating", "nonroot-webhook"), ("Mutating", "zz-nonroot-webhook")):
        conditions = _conditions(f"{kind}WebhookConfiguration", name)
        with Recorder(folder) as recorder:
            hook = ("bench-share", NAMESPACE, recorder.url, recorder.ca)
            with registered(*hook, ready=recorder.called, conditions=conditions):
                time.sleep(1)
                recorder.reviews.clear()
                taken = created(folder, pods)
            names = {json.loads(each)["request"]["name"] for each in recorder.reviews}
            kept.append(taken - len(names))
    return (
        f"Of {taken} Pods of the manifests in tests/unit/check/corpus, most of which say little about users, matchConditions "
        f"keep {kept[0]} from /validate and {kept[1]} from /mutate."
    )


def created(folder: Path, pods: list[dict[str, Any]], place: str = NAMESPACE) -> int:
    """How many the API server takes in a namespace; what it refuses by itself never reaches a webhook."""
    url = urlsplit(_door(folder, place)[0])
    context = ssl._create_unverified_context()  # noqa: S323  # loopback: the client's certificate is what counts
    context.load_cert_chain(folder / "client.crt", folder / "client.key")
    connection = http.client.HTTPSConnection(url.netloc, context=context)
    taken = 0
    for pod in pods:
        connection.request("POST", f"{url.path}?{url.query}", json.dumps(pod), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        taken += answer.status == 201
    connection.close()
    return taken


def corpus() -> Iterator[dict[str, Any]]:
    """A Pod for each workload in the corpus that is plain YAML."""
    number = 0
    for path in sorted(CORPUS.glob("*.yaml")):
        try:
            documents = [
                each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if isinstance(each, dict)
            ]
        except (yaml.YAMLError, UnicodeDecodeError):
            continue
        for document in documents:
            spec = _pod_spec(document)
            if spec is not None:
                number += 1
                spec.pop("serviceAccountName", None)
                metadata = {"name": f"corpus-{number}"}
                yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _pod_spec(document: dict[str, Any]) -> dict[str, Any] | None:
    spec = document.get("spec")
    for key in ("jobTemplate", "spec", "template", "spec"):
        if isinstance(spec, dict) and key in spec and "containers" not in spec:
            spec = spec[key]
    return spec if isinstance(spec, dict) and isinstance(spec.get("containers"), list) else None


if __name__ == "__main__":
    print("\n".join(asyncio.run(main())))
