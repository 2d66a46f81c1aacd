"""The number behind a name, from every step that can make it evident, and the reason where none does."""

from __future__ import annotations

import pytest

from webhook.dockerfile import Evaluation, evaluate

EVIDENT = {
    "RUN useradd -u 1500 app": 1500,
    "RUN useradd -u1500 app": 1500,
    "RUN useradd --uid=1500 -g staff -G wheel,adm -s /bin/sh -d /home/x -c 'The app' -m app": 1500,
    "RUN useradd -rmu 1500 -- app": 1500,
    "RUN useradd app -u 1500": 1500,
    "RUN bash -e <<EOF\nuseradd -u 1500 app\nEOF": 1500,
    "RUN python <<EOF\nuseradd -u 1 app\nEOF\nRUN useradd -u 1500 app": 1500,
    "RUN adduser -D -H -u 1500 -G app -h /app -g 'The App' -s /bin/sh app": 1500,
    "RUN adduser --system --uid 1500 --gecos '' --ingroup app --home /app app": 1500,
    "RUN id app || useradd -u 1500 app": 1500,
    "RUN useradd -u 1 app && usermod -u 1500 app": 1500,
    "RUN useradd -u 1500 old && usermod --login app old": 1500,
    "RUN useradd -u 1500 app && adduser app wheel": 1500,
    "RUN useradd -u 1500 app && usermod -aG wheel app": 1500,
    "RUN for n in a; do useradd -u 1 $n; done && useradd -u 1500 app": 1500,
    "RUN useradd -u 4 app && userdel -r app && useradd -u 1500 app": 1500,
    "RUN printf 'root:x:0:0::/:\\napp:x:1500:1500::/:\\n' > /etc/passwd": 1500,
    "RUN echo app:x:1500:1500::/: | cat && echo app:x:1500:1500::/: >> /etc/passwd": 1500,
    "RUN cat <<EOF >> /etc/passwd\napp:x:1500:1500::/:\nEOF": 1500,
    "COPY <<EOF /etc/passwd\nroot:x:0:0::/:\napp:x:1500:1500::/:\nEOF": 1500,
    "COPY <<passwd /etc/\napp:x:1500:1500::/:\npasswd": 1500,
    "ARG U=1500\nCOPY <<EOF /etc/passwd\napp:x:$U:1500::/:\nEOF": 1500,
}
OPEN = {
    "RUN true": "no step creates it",
    "RUN useradd app": "gives no number",
    "RUN adduser -S -G app app": "gives no number",
    "RUN useradd -u $(cat uid) app": "which is not known here",
    "RUN useradd -u -5 app": "which is not known here",
    "RUN useradd -u 4294967296 app": "which is not known here",
    "RUN useradd -u 5 app && userdel app": "no step creates it",
    "RUN usermod -l app old": "renames another account",
    "RUN useradd -u 5 app\nCOPY passwd /etc/passwd": "copies /etc/passwd from",
    "RUN useradd -u 5 app\nCOPY --from=busybox /etc/passwd /etc/": '"busybox"',
    "RUN useradd -u 5 app\nADD passwd group /etc/": "the build context",
    "RUN useradd -u 5 app\nRUN echo app:x:6:6::/: >> /etc/passwd": "may stand already",
    "COPY <<EOF /etc/passwd\nroot:x:0:0::/:\nEOF": "it is not in there",
    "COPY <<EOF /etc/passwd\napp:x:many:0::/:\nEOF": "writes it into /etc/passwd",
    f"ENV Y={'y' * 40_000}\nCOPY <<EOF /etc/passwd\napp:x:5:5::/:\n$Y$Y\nEOF": "longer than 64 KiB",
    'SHELL ["pwsh"]\nRUN useradd -u 5 app': "no step creates it",
}


def evaluated(text: str) -> Evaluation:
    """The evaluation of a text that builds."""
    found = evaluate(text)
    assert isinstance(found, Evaluation), found
    return found


@pytest.mark.parametrize(("steps", "uid"), EVIDENT.items())
def test_a_step_makes_the_number_evident(steps: str, uid: int) -> None:
    """And the evidence says which one."""
    evidence = evaluated(f"FROM a\n{steps}\nUSER app").evidence
    assert evidence.uid == uid, evidence
    assert f"line {evidence.line}" in evidence.reason


@pytest.mark.parametrize(("steps", "reason"), OPEN.items())
def test_no_number_without_evidence(steps: str, reason: str) -> None:
    """But a reason."""
    evidence = evaluated(f"FROM a\n{steps}\nUSER app").evidence
    assert evidence.uid is None
    assert reason in evidence.reason


KNOWN = {
    ("node:22", "node"): 1000,
    ("docker.io/library/node:lts-slim", "node"): 1000,
    ("docker.io/library/node@sha256:" + "a" * 64, "node"): None,
    ("node:7.10", "node"): None,
    ("nginx", "nginx"): 101,
    ("nginx:1", "nginx"): 101,
    ("nginx:stable-alpine", "nginx"): 101,
    ("nginx:1.27.3-alpine", "nginx"): 101,
    ("nginx:1.10", "nginx"): None,
    ("alpine@sha256:" + "a" * 64, "nobody"): 65534,
    ("mcr.microsoft.com/dotnet/runtime-deps:6.0-cbl-mariner2.0-distroless", "app"): None,
    ("mcr.microsoft.com/dotnet/aspnet:8.0-preview-alpine", "app"): None,
    ("mcr.microsoft.com/dotnet/aspnet:10.0-noble-chiseled", "app"): 1654,
    ("gcr.io/distroless/base", "nonroot"): 65532,
    ("cgr.dev/chainguard/python", "nonroot"): 65532,
    ("mcr.microsoft.com/dotnet/aspnet:8.0", "app"): 1654,
    ("alpine", "nobody"): 65534,
    ("ubuntu:24.04", "www-data"): 33,
    ("registry.example/node", "node"): None,
    ("node", "nginx"): None,
    ("scratch", "root"): 0,
}


@pytest.mark.parametrize(("place", "uid"), KNOWN.items())
def test_some_bases_are_known(place: tuple[str, str], uid: int | None) -> None:
    """By their normalised name and a tag whose releases have the account, never by their last part."""
    image, name = place
    assert evaluated(f"FROM {image}\nUSER {name}").evidence.uid == uid


def test_accounts_come_along_from_other_stages() -> None:
    """With their file, under another name, or with everything."""
    stage = "FROM alpine AS b\nRUN adduser -D -u 1500 app && addgroup -g 1600 team\n"
    for copy in (
        "COPY --from=b /etc/passwd /etc/passwd",
        "COPY --from=0 /etc/passwd /etc/group /etc/",
        "COPY --from=b / /",
    ):
        assert evaluated(f"{stage}FROM scratch\n{copy}\nUSER app").evidence.uid == 1500
    assert evaluated(f"{stage}FROM scratch\nCOPY --from=b /etc/shadow /etc/\nUSER app").evidence.uid is None
    written = "FROM alpine AS b\nRUN echo app:x:1500:1500::/: > /tmp/passwd\nFROM scratch\n"
    assert evaluated(f"{written}COPY --from=b /tmp/passwd /etc/\nUSER app").evidence.uid == 1500
    assert evaluated(f"{stage}FROM b\nUSER app:team").evidence.gid == 1600
    assert evaluated(f"{stage}FROM scratch\nCOPY --from=b /etc/group /etc/group\nUSER app:team").evidence.gid == 1600
    assert evaluated(f"{stage}FROM b\nCOPY group /etc/group\nUSER app:team").evidence.gid is None
