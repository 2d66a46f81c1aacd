"""`nonroot check` beside checkov on the same manifests and hadolint on the same Dockerfiles, one after another, in turn.

Neither looks at the same things: checkov has far more rules for manifests, hadolint more for Dockerfiles; none of them says
who a container runs as. Processes are timed whole, from start to end.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.bench import capture, venv

FILES = 200
ROUNDS = 3
DOCKERFILE = """\
FROM debian:bookworm-slim AS build
ARG VERSION={number}
RUN apt-get update && apt-get install -y --no-install-recommends gcc make \\
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN make VERSION="$VERSION" && make install DESTDIR=/out

FROM debian:bookworm-slim
RUN groupadd --gid {gid} app && useradd --uid {gid} --gid app --no-create-home app
COPY --from=build /out /
ENV PORT=8080 \\
    NAME="service-{number}"
EXPOSE 8080
USER {user}
ENTRYPOINT ["/usr/local/bin/service"]
"""


class Run(NamedTuple):
    """One process, in seconds."""

    wall: float
    cpu: float


async def main() -> list[str]:
    """The section's lines."""
    return await asyncio.to_thread(_section)


def _section() -> list[str]:
    nonroot = [sys.executable, "-m", "webhook", "check", "--no-images", "-o", "json"]
    with tempfile.TemporaryDirectory() as name:
        manifests, dockerfiles = Path(name, "manifests"), Path(name, "dockerfiles")
        _manifests(manifests)
        _dockerfiles(dockerfiles)
        paths = [str(each) for each in sorted(dockerfiles.iterdir())]
        checkov = [str(venv.program("checkov")), "--framework", "kubernetes", "--quiet", "--soft-fail", "-o", "json"]
        commands = {
            ("manifests", "nonroot check"): [*nonroot, str(manifests)],
            ("manifests", "checkov"): [*checkov, "--skip-download", "-d", str(manifests)],
            ("Dockerfiles", "nonroot check"): [*nonroot, str(dockerfiles)],
            ("Dockerfiles", "hadolint"): [str(venv.program("hadolint")), "--no-fail", "-f", "json", *paths],
        }
        runs: defaultdict[tuple[str, str], list[Run]] = defaultdict(list)
        for _ in range(ROUNDS):
            for key, command in commands.items():
                runs[key].append(_run(command))
    lines = [
        f"{FILES} files of each kind, a whole process each; medians of {ROUNDS} interleaved runs.",
        "",
        "| files | program | seconds | CPU seconds | ours against it, by CPU |",
        "|---|---|---|---|---|",
    ]
    medians = {key: Run(*(statistics.median(each) for each in zip(*found, strict=True))) for key, found in runs.items()}
    for (kind, program), run in medians.items():
        own = medians[kind, "nonroot check"]
        ratio = "" if run is own else f"{run.cpu / own.cpu:.2f} times as fast"
        lines.append(f"| {kind} | {program} | {run.wall:.2f} | {run.cpu:.2f} | {ratio} |")
    return [*lines, ""]


def _run(command: list[str]) -> Run:
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in {0, 1, 3}:
        raise SystemExit(f"{command[0]} failed with {process.returncode}: {said.decode(errors='replace')[-500:]}")
    return Run(time.monotonic() - started, used.ru_utime + used.ru_stime)


def _manifests(folder: Path) -> None:
    folder.mkdir()
    for number in range(FILES):
        own = capture.HARDENED if number % 2 else None
        whole = {"runAsNonRoot": True, "runAsUser": 10001} if number % 3 else None
        pod = capture.pod(f"registry.bench.example/team/app{number}:1", f"app-{number}", own, whole)
        template = {"metadata": pod["metadata"], "spec": pod["spec"]}
        labels = pod["metadata"]["labels"]
        deployment = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": pod["metadata"],
            "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
        }
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": f"app-{number}"},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        }
        (folder / f"app-{number}.yaml").write_text(yaml.safe_dump_all([deployment, service], sort_keys=False))


def _dockerfiles(folder: Path) -> None:
    folder.mkdir()
    for number in range(FILES):
        text = DOCKERFILE.format(number=number, gid=1000 + number, user="app" if number % 2 else 1000 + number)
        (folder / f"{number}.Dockerfile").write_text(text)


if __name__ == "__main__":
    print("\n".join(asyncio.run(main())))
