"""Every row of the table as Pass, as Fail and as Not applicable, each with its comment and its line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from webhook.check.manifest.decode import plain
from webhook.check.manifest.objects import objects, workloads
from webhook.check.manifest.parser import documents
from webhook.check.practices import BuildContext, Row, compose, dockerfile, nginx
from webhook.check.practices import workload as manifest
from webhook.dockerfile import Evaluation, evaluate

P, F, N = "Pass", "Fail", "Not applicable"
_GO = "FROM golang:1.23 AS b\nRUN go build\n"


def row(rows: tuple[Row, ...], practice: str) -> Row:
    """The one row of that name."""
    found = [row for row in rows if row.practice == practice]
    assert len(found) == 1, [row.practice for row in rows]
    return found[0]


IMAGE = [
    ("Slim or distroless base", "FROM python:3.12", F, "line 1"),
    ("Slim or distroless base", "FROM python:3.12-slim AS a\nFROM a", P, "line 1"),
    ("Slim or distroless base", "FROM scratch", P, "line 1"),
    ("Slim or distroless base", "FROM registry.example/team/base:7", N, ""),
    ("Exact base tag or digest", "FROM python:3.12-slim", F, "line 1"),
    ("Exact base tag or digest", "FROM golang:1.23.1 AS b\nFROM debian\nCOPY --from=b /a /a", F, "line 2"),
    ("Exact base tag or digest", "ARG V=3.12.7\nFROM python:$V-slim-bookworm", P, "line 2"),
    ("Exact base tag or digest", f"FROM x@sha256:{'a' * 64}", P, "line 1"),
    ("Exact base tag or digest", "FROM debian:bookworm-20240612", P, "line 1"),
    ("Exact base tag or digest", "FROM python AS unused\nFROM debian:12.7.0", P, "line 2"),
    ("Exact base tag or digest", "FROM scratch", N, ""),
    ("Non-root numeric USER", "FROM a\nUSER 1000", P, "line 2"),
    ("Non-root numeric USER", "FROM a\nUSER app", F, "line 2"),
    ("Non-root numeric USER", "FROM a\nRUN useradd -u 1500 app\nUSER app", F, "line 3"),
    ("Non-root numeric USER", "FROM a\nUSER 0", F, "line 2"),
    ("Non-root numeric USER", "FROM a", F, "line 1"),
    ("UID of 1000 or above", "FROM a\nUSER 1000", P, "line 2"),
    ("UID of 1000 or above", "FROM nginx\nUSER nginx", F, "line 2"),
    ("UID of 1000 or above", "FROM a\nUSER app", N, ""),
    ("UID of 1000 or above", "FROM a\nUSER 0", N, ""),
    ("Multi-stage build", "FROM a AS b\nRUN make\nFROM c\nCOPY --from=b /x /x", P, "line 3"),
    ("Multi-stage build", "FROM a AS b\nRUN make\nFROM c\nRUN make", F, "line 3"),
    ("Multi-stage build", "FROM a\nCOPY app /", N, ""),
    ("HEALTHCHECK", "FROM a\nHEALTHCHECK CMD x", P, "line 2"),
    ("HEALTHCHECK", "FROM a\nHEALTHCHECK CMD x\nHEALTHCHECK NONE", F, "line 3"),
    ("HEALTHCHECK", "FROM a", F, ""),
    ("COPY over ADD", "FROM a\nADD src /src", F, "line 2"),
    ("COPY over ADD", "FROM a\nADD rootfs.tar.gz /\nADD https://example.org/x /x", P, ""),
    ("Package lists cleaned in the same layer", "FROM a\nRUN apt-get update && apt-get install -y x", F, "line 2"),
    (
        "Package lists cleaned in the same layer",
        "FROM a\nRUN apt-get update && apt-get install -y x && rm -rf /var/lib/apt/lists/*",
        P,
        "line 2",
    ),
    (
        "Package lists cleaned in the same layer",
        "FROM a\nRUN --mount=type=cache,target=/var/lib/apt apt-get install -y x",
        P,
        "line 2",
    ),
    ("Package lists cleaned in the same layer", "FROM a\nRUN apk add x", F, "line 2"),
    ("Package lists cleaned in the same layer", "FROM a\nRUN apk --no-cache add x", P, "line 2"),
    ("Package lists cleaned in the same layer", "FROM a\nRUN dnf install -y x", F, "line 2"),
    ("Package lists cleaned in the same layer", "FROM a\nRUN dnf install -y x && dnf clean all", P, "line 2"),
    ("Package lists cleaned in the same layer", "FROM a\nRUN make", N, ""),
    ("Combined RUN steps", "FROM a\nRUN apt-get update\nRUN apt-get install -y x", F, "line 2"),
    ("Combined RUN steps", "FROM a\nRUN apk add x\nRUN apk add y", F, "line 3"),
    ("Combined RUN steps", "FROM a\nRUN apk add x y", P, ""),
    ("Combined RUN steps", "FROM a", N, ""),
    ("Sorted package arguments", "FROM a\nRUN apt-get install -y \\\n  b \\\n  a", F, "line 2"),
    ("Sorted package arguments", "FROM a\nRUN apt-get install -y a b", P, ""),
    ("Sorted package arguments", "FROM a\nRUN apt-get install -y a", N, ""),
    ("Dependencies before sources", "FROM a\nCOPY . .\nRUN pip install -r requirements.txt", F, "line 2"),
    ("Dependencies before sources", "FROM a\nCOPY go.mod .\nRUN go mod download\nCOPY . .", P, "line 3"),
    ("Dependencies before sources", "FROM a\nCOPY . .", N, ""),
    ("Bound to 0.0.0.0", 'FROM a\nCMD ["x", "--host=127.0.0.1"]', F, "line 2"),
    ("Bound to 0.0.0.0", "FROM a\nCMD gunicorn -b localhost:8000 app", F, "line 2"),
    ("Bound to 0.0.0.0", "FROM a\nENV HOST=127.0.0.1\nCMD x", F, "line 2"),
    ("Bound to 0.0.0.0", "FROM a\nCMD uvicorn app:app", F, "line 2"),
    ("Bound to 0.0.0.0", "FROM a\nCMD python -m flask run", F, "line 2"),
    ("Bound to 0.0.0.0", "FROM a\nCMD uvicorn app:app --host 0.0.0.0", P, "line 2"),
    ("Bound to 0.0.0.0", "FROM a\nCMD ./server", N, ""),
    ("Distroless where it pays", _GO + "FROM debian\nCOPY --from=b /a /a", F, "line 3"),
    ("Distroless where it pays", _GO + "FROM scratch\nCOPY --from=b /a /a", P, "line 3"),
    ("Distroless where it pays", _GO + 'FROM debian\nCOPY --from=b /a /bin/\nCMD ["/bin/a", "-v"]', F, "line 3"),
    ("Distroless where it pays", _GO + "FROM debian\nCOPY --from=b /a /opt/app\nCMD /opt/app/server", F, "line 3"),
    ("Distroless where it pays", _GO + 'FROM python\nCOPY --from=b /a /a\nCMD ["python", "a.py"]', N, ""),
    ("Distroless where it pays", "FROM python", N, ""),
    ("SUID bits removed", "FROM debian", F, ""),
    ("SUID bits removed", "FROM debian\nRUN find / -perm /6000 -type f -exec chmod a-s {} + || true", P, "line 2"),
    ("SUID bits removed", "FROM gcr.io/distroless/static", N, ""),
]


@pytest.mark.parametrize(("practice", "text", "status", "place"), IMAGE)
def test_a_row_about_a_dockerfile(practice: str, text: str, status: str, place: str) -> None:
    """Its status, its line, and a comment that is one short line."""
    evaluation = evaluate(text)
    assert isinstance(evaluation, Evaluation)
    found = row(dockerfile.rows(evaluation, BuildContext()), practice)
    assert (found.status, found.place) == (status, place)
    assert 0 < len(found.comment) <= 120
    assert found.comment.isprintable()


NEIGHBOURS = [
    (".dockerignore", BuildContext(), N),
    (".dockerignore", BuildContext(looked=True), F),
    (".dockerignore", BuildContext(looked=True, dockerignore="# nothing\n.git\n"), F),
    (".dockerignore", BuildContext(looked=True, dockerignore=".git\n.env\n"), F),
    (".dockerignore", BuildContext(looked=True, dockerignore="/.git/\n**/.env*\nnode_modules/**\n"), P),
    (".dockerignore", BuildContext(looked=True, dockerignore="*\n!src\n"), P),
    ("Image under 120 MB", BuildContext(), N),
    ("Image under 120 MB", BuildContext(image_bytes=119_999_999), P),
    ("Image under 120 MB", BuildContext(image_bytes=120_000_001), F),
    ("Image under 120 MB", BuildContext(base_bytes=119_999_999), N),  # what is built is larger, by who knows how much
    ("Image under 120 MB", BuildContext(base_bytes=120_000_001), F),
    ("Image under 120 MB", BuildContext(image_bytes=119_999_999, base_bytes=120_000_001), P),
    ("Image under 50 MB", BuildContext(image_bytes=60_000_000, image_limit=50_000_000), F),
]


@pytest.mark.parametrize(("practice", "neighbours", "status"), NEIGHBOURS)
def test_a_row_about_what_lies_beside_it(practice: str, neighbours: BuildContext, status: str) -> None:
    """The .dockerignore, and the size of what was built."""
    evaluation = evaluate("FROM a\nCOPY . .")
    assert isinstance(evaluation, Evaluation)
    assert row(dockerfile.rows(evaluation, neighbours), practice).status == status


def test_every_row_of_the_dockerfile_is_tried_three_ways() -> None:
    """As far as it has three ways."""
    evaluation = evaluate("FROM a")
    assert isinstance(evaluation, Evaluation)
    tried = {(practice, status) for practice, _, status, _ in IMAGE} | {
        (practice, status) for practice, _, status in NEIGHBOURS
    }
    two_ways = {"Non-root numeric USER", "HEALTHCHECK", "COPY over ADD"}
    for found in dockerfile.rows(evaluation, BuildContext()):
        expected = {P, F} if found.practice in two_ways else {P, F, N}
        assert {status for practice, status in tried if practice == found.practice} == expected, found.practice


def deployment(
    spec: dict[str, Any] | None = None, pod: dict[str, Any] | None = None, **container: Any
) -> dict[str, Any]:
    """A Deployment with one container that breaks no practice, changed."""
    whole = {
        "image": "registry.example/app:1.2.3",
        "readinessProbe": {"httpGet": {}},
        "livenessProbe": {"httpGet": {}},
        "securityContext": {"readOnlyRootFilesystem": True},
    } | container
    context = {"securityContext": {"runAsNonRoot": True, "runAsUser": 1000}}
    template = {"spec": {"containers": [whole], **context, **(pod or {})}}
    return {"kind": "Deployment", "spec": {"replicas": 2, "template": template, **(spec or {})}}


_CLAIM = {
    "volumes": [{"name": "data", "persistentVolumeClaim": {}}],
    "containers": [{"image": "a:1", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
}
MANIFEST = [
    ("Replicas and a rolling update", deployment(), P, "spec.replicas"),
    ("Replicas and a rolling update", deployment({"replicas": 1}), F, "spec.replicas"),
    ("Replicas and a rolling update", deployment({"strategy": {"type": "Recreate"}}), F, "spec.strategy.type"),
    (
        "Replicas and a rolling update",
        deployment({"strategy": {"rollingUpdate": {"maxUnavailable": 2}}}),
        F,
        "spec.strategy.rollingUpdate.maxUnavailable",
    ),
    ("Replicas and a rolling update", {"kind": "Pod", "spec": {"containers": [{"image": "a"}]}}, N, ""),
    ("runAsNonRoot with runAsUser", deployment(), P, ""),
    (
        "runAsNonRoot with runAsUser",
        deployment(securityContext={"runAsUser": 0}),
        F,
        "spec.template.spec.containers[0].securityContext.runAsUser",
    ),
    (
        "runAsNonRoot with runAsUser",
        deployment(pod={"securityContext": {}}),
        F,
        "spec.template.spec.containers[0].securityContext.runAsNonRoot",
    ),
    (
        "runAsNonRoot with runAsUser",
        deployment(pod={"securityContext": {"runAsNonRoot": True}}),
        F,
        "spec.template.spec.containers[0].securityContext.runAsUser",
    ),
    ("fsGroup with writable volumes", deployment(), N, ""),
    ("fsGroup with writable volumes", deployment(pod=_CLAIM), F, "spec.template.spec.securityContext.fsGroup"),
    (
        "fsGroup with writable volumes",
        deployment(pod=_CLAIM | {"securityContext": {"fsGroup": 1}}),
        P,
        "spec.template.spec.securityContext.fsGroup",
    ),
    (
        "fsGroup with writable volumes",
        deployment({"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}, _CLAIM | {"volumes": []})
        | {"kind": "StatefulSet"},
        F,
        "spec.template.spec.securityContext.fsGroup",
    ),
    (
        "Exact image tag or digest",
        {"kind": "PodTemplate", "template": {"spec": {"containers": [{"image": "app"}]}}},
        F,
        "template.spec.containers[0].image",
    ),
    ("Readiness and liveness probes", deployment(), P, ""),
    (
        "Readiness and liveness probes",
        deployment(readinessProbe=None),
        F,
        "spec.template.spec.containers[0].readinessProbe",
    ),
    (
        "Readiness and liveness probes",
        {
            "kind": "CronJob",
            "spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"image": "a"}]}}}}},
        },
        N,
        "",
    ),
    ("Read-only root filesystem", deployment(), P, ""),
    (
        "Read-only root filesystem",
        deployment(securityContext={}),
        F,
        "spec.template.spec.containers[0].securityContext.readOnlyRootFilesystem",
    ),
    ("Exact image tag or digest", deployment(), P, ""),
    ("Exact image tag or digest", deployment(image="app"), F, "spec.template.spec.containers[0].image"),
    ("Exact image tag or digest", deployment(image="app:latest"), F, "spec.template.spec.containers[0].image"),
    ("Exact image tag or digest", deployment(image="App"), F, "spec.template.spec.containers[0].image"),
]


@pytest.mark.parametrize(("practice", "workload", "status", "place"), MANIFEST)
def test_a_row_about_a_manifest(practice: str, workload: dict[str, Any], status: str, place: str) -> None:
    """Its status, and the field."""
    groups = {"Pod": "v1", "PodTemplate": "v1", "CronJob": "batch/v1"}
    text = json.dumps({"apiVersion": groups.get(workload["kind"], "apps/v1"), "metadata": {}} | workload)
    (found,) = (each for root in documents(text) for each in objects(root))
    ((place_of, decoded),) = workloads(found)
    result = row(manifest.rows(manifest.Manifest(place_of, decoded, plain(found.node))), practice)
    assert (result.status, result.place) == (status, place)


COMPOSE = [
    ("No bind mount of sources", {"volumes": ["./src:/app"]}, F),
    ("No bind mount of sources", {"volumes": [{"type": "bind", "source": ".", "target": "/app"}]}, F),
    ("No bind mount of sources", {"volumes": ["./data:/var/lib/postgresql/data", "./pg-data:/x", "./x:/data"]}, P),
    ("No bind mount of sources", {"volumes": ["${SOURCES:-./src}:/app"]}, F),
    ("No bind mount of sources", {"volumes": ["./datasource:/app"]}, F),
    ("No bind mount of sources", {"volumes": ["./src:/app:ro", "./nginx.conf:/etc/nginx.conf", "data:/data"]}, P),
    ("Replicas and a rolling update", {}, N),
    ("Replicas and a rolling update", {"deploy": {"replicas": 1}}, F),
    ("Replicas and a rolling update", {"deploy": {"replicas": 2}}, F),
    ("Replicas and a rolling update", {"deploy": {"replicas": 2, "update_config": {"parallelism": 0}}}, F),
    ("Replicas and a rolling update", {"deploy": {"replicas": 2, "update_config": {"order": "start-first"}}}, P),
    ("Non-root numeric user", {}, N),
    ("Non-root numeric user", {"user": "app"}, F),
    ("Non-root numeric user", {"user": 0}, F),
    ("Non-root numeric user", {"user": "1000:1000"}, P),
    ("Health checks", {}, N),
    ("Health checks", {"healthcheck": {"disable": True}}, F),
    ("Health checks", {"healthcheck": {"test": ["CMD", "x"]}}, P),
]


@pytest.mark.parametrize(("practice", "service", "status"), COMPOSE)
def test_a_row_about_a_compose_file(practice: str, service: dict[str, Any], status: str) -> None:
    """And a failing one names the service."""
    found = row(compose.rows({"services": {"web": service}}), practice)
    assert found.status == status
    assert found.place.startswith("services.web.") == (status == F)


@pytest.mark.parametrize("document", [{}, {"services": []}, {"services": {}}, {"services": {"a": None}}])
def test_a_compose_file_without_services_has_no_rows(document: dict[str, Any]) -> None:
    """Nor does a broken one raise."""
    assert compose.rows(document) == ()


_UPSTREAM = "http {\n upstream app {\n  server a;\n }\n}\n"
NGINX = [
    (
        "Rate limits",
        "limit_req_zone $binary_remote_addr zone=a:1m rate=9r/s;\nserver {\n limit_req zone=a;\n}",
        P,
        "line 3",
    ),
    ("Rate limits", "limit_req_zone $binary_remote_addr zone=a:1m rate=9r/s;", F, "line 1"),
    ("Rate limits", "# limit_req_zone x\n# limit_req y", F, ""),
    ("Upstream health", _UPSTREAM, P, "line 2"),
    ("Upstream health", _UPSTREAM.replace("a;", "a max_fails=3 fail_timeout=5s;"), P, "line 2"),
    ("Upstream health", _UPSTREAM.replace("a;", "a max_fails=0;"), F, "line 3"),
    ("Upstream health", _UPSTREAM + "proxy_next_upstream off;", F, "line 6"),
    ("Upstream health", "server { listen 8080; }", N, ""),
]


@pytest.mark.parametrize(("practice", "text", "status", "place"), NGINX)
def test_a_row_about_an_nginx_configuration(practice: str, text: str, status: str, place: str) -> None:
    """Its status, and the line; comments do not count."""
    found = row(nginx.rows(text), practice)
    assert (found.status, found.place) == (status, place)
