"""`make bench PEERS=all`: ours beside Gatekeeper, and Kyverno with either kind of its policies, in one run.

Each has four or five of Pod Security's restricted checks. They are built from their Go modules (some minutes, once) and run
against an API server of their own, which is thrown away with the webhooks that they register. Their checks are as short as
they can be written; reports and events, on by default in Kyverno, are off: that helps them.
"""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar
from unittest import mock

import yaml

from deploy.dev.registry import Registry
from deploy.local.paths import cache
from tests.bench import load, servers, throughput
from tests.bench.hooks import kubectl
from tests.bench.load import Figure
from tests.bench.servers import Server
from tests.bench.throughput import Case
from tests.support import control_plane
from tests.support.pods import Object

T = TypeVar("T")

HERE = Path(__file__).parent / "peers"
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
CONNECTIONS = 16
READY_SECONDS = 60.0  # until an engine must evaluate by its policies
CASES = {
    "compliant, 4 KB": True,
    "compliant, each unlike the others": True,
    "violating": False,
    "13 containers, 31 KB": True,
}
PODS = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
ALL = "object.spec.containers + object.spec.?initContainers.orValue([]) + object.spec.?ephemeralContainers.orValue([])"


class Engine(NamedTuple):
    """A program of a Go module, which peers/NAME/go.mod names with all that it is built from."""

    name: str
    module: str
    command: str = ""
    crds: tuple[str, ...] = ()


GATEKEEPER = Engine("gatekeeper", "github.com/open-policy-agent/gatekeeper/v3", crds=("charts/gatekeeper/crds",))
KYVERNO = Engine(
    "kyverno",
    "github.com/kyverno/kyverno",
    "/cmd/kyverno",
    tuple(f"config/crds/{group}" for group in ("kyverno", "policies.kyverno.io", "policyreport", "reports")),
)


async def main() -> list[str]:
    """The section's lines."""
    with tempfile.TemporaryDirectory() as name:
        async with Registry() as registry:
            throughput.push(registry)
            return await asyncio.to_thread(_section, Path(name), registry.host)


def _section(folder: Path, host: str) -> list[str]:
    programs = {engine: built(engine) for engine in (GATEKEEPER, KYVERNO)}
    by_name = {case.name: case for case in throughput.cases(folder, host)}
    wanted = [by_name[name] for name in CASES]
    with ExitStack() as stack:
        config = stack.enter_context(control_plane.alone()).kubeconfig
        stack.enter_context(mock.patch.dict(os.environ, KUBECONFIG=str(config)))
        ours, *_, pod_security = stack.enter_context(throughput.running(folder, host))
        found = [ours, pod_security]
        found.append(stack.enter_context(gatekeeper(programs[GATEKEEPER], folder)))
        found += stack.enter_context(kyverno(programs[KYVERNO]))
        for server in found:
            _wait(f"{server.name} to evaluate", partial(_evaluates, server, wanted))
        figures = _measure(found, wanted)
        memory = ", ".join(f"{server.name} {server.rss:.0f}" for server in found)
    versions = ", ".join(
        f"{engine.name} {program.name.removeprefix(engine.name + '-')}" for engine, program in programs.items()
    )
    return [f"{versions}; {CONNECTIONS} connections.", "", *_table(figures), "", f"MiB after the load: {memory}.", ""]


def built(engine: Engine) -> Path:
    """The program; built where it is not there."""
    recipe = (HERE / engine.name / "go.mod").read_text()
    version = re.search(rf"{re.escape(engine.module)} (v[\w.]+)", recipe)
    assert version is not None
    program = cache() / "bench" / f"{engine.name}-{version[1]}"
    if not program.exists():
        print(f"building {program.name} (minutes, once)")
        fresh = program.with_suffix(f".{os.getpid()}")
        build = ["go", "build", "-p", "1", "-mod=readonly", "-o", str(fresh), engine.module + engine.command]
        subprocess.run(["nice", "-n", "15", *build], cwd=HERE / engine.name, check=True)
        fresh.rename(program)
    return program


def install(engine: Engine) -> None:
    """Apply the module's own CRDs."""
    for folder in engine.crds:
        kubectl("apply", "--server-side", "-f", str(source(engine) / folder))


def source(engine: Engine) -> Path:
    """The folder of its module."""
    command = ["go", "list", "-m", "-f", "{{.Dir}}", engine.module]
    done = subprocess.run(command, cwd=HERE / engine.name, capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


@contextmanager
def gatekeeper(program: Path, folder: Path) -> Iterator[Server]:
    """Its validating webhook, with one constraint for all Pods of each template."""
    install(GATEKEEPER)
    kubectl("create", "namespace", "gatekeeper-system")
    port, health, metrics = servers.ports(3)
    command = [str(program), "--host=127.0.0.1", f"--port={port}", f"--cert-dir={folder}", "--disable-cert-rotation"]
    command += [f"--health-addr=127.0.0.1:{health}", f"--prometheus-port={metrics}", "--debug-use-fake-pod"]
    command += [f"--operation={each}" for each in ("webhook", "status", "generate")]
    url = f"https://127.0.0.1:{port}"
    with servers.running("Gatekeeper", command, url) as pid:
        templates = HERE / "gatekeeper" / "templates.yaml"
        kubectl("apply", "-f", str(templates))
        for template in yaml.safe_load_all(templates.read_text()):
            constraint = {
                "apiVersion": "constraints.gatekeeper.sh/v1beta1",
                "kind": template["spec"]["crd"]["spec"]["names"]["kind"],
                "metadata": {"name": "bench"},
                "spec": {"match": {"kinds": [{"apiGroups": [""], "kinds": ["Pod"]}]}},
            }
            _apply(constraint)
        yield Server("Gatekeeper", pid, f"{url}/v1/admit")


@contextmanager
def kyverno(program: Path) -> Iterator[list[Server]]:
    """One process, with classic policies at one path and CEL ones at another."""
    install(KYVERNO)
    kubectl("create", "namespace", "kyverno")
    names = {"NAMESPACE": "kyverno", "SERVICEACCOUNT_NAME": "kyverno", "DEPLOYMENT": "kyverno", "POD_NAME": "kyverno"}
    settings = {"INIT_CONFIG": "kyverno", "METRICS_CONFIG": "kyverno-metrics"}
    for config in settings.values():
        kubectl("create", "configmap", config, "--namespace=kyverno")
    (port,) = servers.ports(1)
    address = f"127.0.0.1:{port}"
    command = [str(program), f"--serverIP={address}", "--webhookServerHost=127.0.0.1", f"--webhookServerPort={port}"]
    command += [
        f"--kubeconfig={os.environ['KUBECONFIG']}",
        "--caSecretName=ca",
        "--tlsSecretName=tls",
        "--disableMetrics=true",
    ]
    events = ("PolicyApplied", "PolicyViolation", "PolicyError", "PolicySkipped")
    command += ["--admissionReports=false", f"--omitEvents={','.join(events)}", "--v=0"]
    environment = settings | {f"KYVERNO_{name}": value for name, value in names.items()}
    with mock.patch.dict(os.environ, environment), servers.running("Kyverno", command, f"https://{address}") as pid:
        for policy in _kyverno_policies():
            _apply(policy)
        urls = _wait("Kyverno's webhooks", _kyverno_urls)
        yield [Server(f"Kyverno, {kind}", pid, urls[kind]) for kind in ("classic", "CEL")]


def _kyverno_policies() -> Iterator[Object]:
    for name, check in yaml.safe_load((HERE / "kyverno" / "classic.yaml").read_text()).items():
        rule = {
            "name": name,
            "match": {"any": [{"resources": {"kinds": ["Pod"], "operations": ["CREATE"]}}]},
            "validate": {"failureAction": "Enforce", "message": f"{name} is not as it should be", **check},
        }
        yield {
            "apiVersion": "kyverno.io/v1",
            "kind": "ClusterPolicy",
            "metadata": {"name": name, "annotations": {"pod-policies.kyverno.io/autogen-controllers": "none"}},
            "spec": {"background": False, "rules": [rule]},
        }
    for name, check in yaml.safe_load((HERE / "kyverno" / "cel.yaml").read_text()).items():
        yield {
            "apiVersion": "policies.kyverno.io/v1",
            "kind": "ValidatingPolicy",
            "metadata": {"name": name},
            "spec": {
                "validationActions": ["Deny"],
                "autogen": {"podControllers": {"controllers": []}},
                "matchConstraints": {"resourceRules": [PODS]},
                "variables": [{"name": "containers", "expression": ALL}],
                "validations": [
                    {"expression": f"variables.containers.all(c, {check})", "message": f"{name} is not as it should be"}
                ],
            },
        }


def _kyverno_urls() -> dict[str, str] | None:
    """The addresses that it has registered for Pods; None while they are not all there."""
    found = {}
    for each in json.loads(kubectl("get", "validatingwebhookconfigurations", "-o", "json"))["items"]:
        for hook in each.get("webhooks", []):
            kind = {"validate": "classic", "vpol": "CEL"}.get(hook["name"].partition(".")[0])
            url = hook["clientConfig"]["url"]
            if kind and (kind == "classic" or all(name in url for name in _cel_names())):
                found[kind] = url
    return found if len(found) == 2 else None


def _cel_names() -> list[str]:
    return list(yaml.safe_load((HERE / "kyverno" / "cel.yaml").read_text()))


def _apply(given: Object) -> None:
    """Create an object whose kind, or the webhook that is asked about it, may not be there yet."""

    def tried() -> bool | None:
        with contextlib.suppress(subprocess.CalledProcessError):
            kubectl("apply", "-f", "-", given=given)
            return True
        return None

    _wait(f"{given['kind']} {given['metadata']['name']} to be taken", tried)


def _wait(what: str, tried: Callable[[], T | None]) -> T:
    """The first outcome that is one."""
    deadline = time.monotonic() + READY_SECONDS
    while (outcome := tried()) is None:
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {READY_SECONDS:.0f} s for {what}")
        time.sleep(0.5)
    return outcome


def _evaluates(server: Server, wanted: list[Case]) -> bool | None:
    """Whether it lets pass what is compliant, and nothing else; None: not yet."""
    return all(servers.allows(server.validate, _first(case)) is CASES[case.name] for case in wanted) or None


def _first(case: Case) -> bytes:
    with case.body.open("rb") as file:
        return file.readline()


def _measure(found: list[Server], wanted: list[Case]) -> dict[tuple[str, str], Figure]:
    runs: defaultdict[tuple[str, str], list[Figure]] = defaultdict(list)
    for case in wanted:
        for server in found:
            load.run(server.validate, case.body, CONNECTIONS, SECONDS / 2)  # warm
    for _ in range(ROUNDS):
        for case in wanted:
            for server in found:
                figure = load.run(server.validate, case.body, CONNECTIONS, SECONDS, cpu=server.cpu)
                runs[case.name, server.name].append(figure)
    return {key: load.median(each) for key, each in runs.items()}


def _table(figures: dict[tuple[str, str], Figure]) -> list[str]:
    lines = [
        "| review | server | reviews/s | p50 ms | p99 ms | CPU ms/review | ours against it | Pod Security's against it |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (case, server), figure in figures.items():
        against = (figures[case, name] for name in (servers.OURS, servers.POD_SECURITY))
        ratios = [
            "" if own is figure else f"{own.rate / figure.rate:.1f} × rate, {own.cpu / figure.cpu:.3f} × CPU"
            for own in against
        ]
        lines.append(
            f"| {case} | {server} | {figure.rate:,.0f} | {figure.p50:.2f} | {figure.p99:.2f} | {figure.cpu:.3f} | "
            f"{ratios[0]} | {ratios[1]} |"
        )
    return lines


if __name__ == "__main__":
    print("\n".join(asyncio.run(main())))
