"""`python -m tests.versions KUBERNETES/CONTAINERD…`: run the parts on clusters of these versions, and keep what comes of them.

python -m tests.versions 1.35/2.1 1.33/1.7 --parts "kubelet matrix,first light"
python -m tests.versions 1.30    # an API server with its controllers alone, and the parts that need no node

Without a combination it runs on the cluster of KUBECONFIG. The versions that are kept are those that the cluster reports.
Exit status 1 where a test failed.
"""

import argparse
import json
import os
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime

import pytest

from deploy.local import build
from deploy.local.commands import call, interrupt_on_termination
from tests.versions import results
from tests.versions.parts import PARTS, WITHOUT_A_NODE
from tests.versions.results import Part

OUTCOMES = ("passed", "failed", "skipped")


def main() -> int:
    """Run what is asked for."""
    arguments = _arguments()
    if not arguments.combinations:
        return _here(arguments.parts)
    return max(
        _combination(kubernetes, containerd, arguments.parts) for kubernetes, containerd in arguments.combinations
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.versions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("combinations", nargs="*", type=_versions, metavar="KUBERNETES[/CONTAINERD]")
    parser.add_argument("--parts", type=_names, default=list(PARTS), help=f"of {', '.join(PARTS)}")
    return parser.parse_args()


def _versions(given: str) -> tuple[str, str]:
    kubernetes, _, containerd = given.partition("/")
    if kubernetes not in build.KUBERNETES or containerd not in ("", *build.CONTAINERD):
        kinds = (", ".join(versions) for versions in (build.KUBERNETES, build.CONTAINERD))
        raise argparse.ArgumentTypeError(f"{given}: not one of {', or with a node one of '.join(kinds)}")
    return kubernetes, containerd


def _names(given: str) -> list[str]:
    names = given.split(",")
    if unknown := set(names) - set(PARTS):
        raise argparse.ArgumentTypeError(f"no such part: {', '.join(sorted(unknown))}")
    return names


def _combination(kubernetes: str, containerd: str, parts: list[str]) -> int:
    """Run the parts with a cluster of these versions around them."""
    print(f"Kubernetes {kubernetes}, containerd {containerd or 'none'}", flush=True)
    versions = {"KUBERNETES": kubernetes} | ({"CONTAINERD": containerd} if containerd else {})
    around = ["-m", "deploy.with_cluster"] if containerd else ["-m", "tests.versions.api_server"]
    wanted = parts if containerd else [name for name in parts if name in WITHOUT_A_NODE]
    ours = [sys.executable, "-m", "tests.versions", "--parts", ",".join(wanted)]
    return call([sys.executable, *around, *ours], os.environ | versions)


def _here(parts: list[str]) -> int:
    """Run the parts on the cluster of KUBECONFIG, and keep what came of each as soon as it is over."""
    kubernetes, containerd = _reported()
    for variable, version in (("KUBERNETES", kubernetes), ("CONTAINERD", containerd)):
        if version and not f"{version}.".startswith(f"{os.environ.get(variable, version)}."):
            sys.exit(
                f"{variable}={os.environ[variable]} was asked for, and the cluster is of {version}: end that one first"
            )
    if len(parts) > 1:  # pytest cannot be run twice in a process
        return max(call([sys.executable, "-m", "tests.versions", "--parts", name]) for name in parts)
    recorder = Recorder()
    code = pytest.main([*PARTS[parts[0]]], [recorder])
    complete = code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    if complete and (part := recorder.part()):
        results.keep(kubernetes, containerd, parts[0], part)
    return code


def _reported() -> tuple[str, str]:
    """Those of the API server and of the nodes' runtime, in digits; the kubelets' must be the API server's."""
    server = json.loads(_kubectl("version", "--output=json"))["serverVersion"]["gitVersion"].removeprefix("v")
    nodes = [item["status"]["nodeInfo"] for item in json.loads(_kubectl("get", "nodes", "--output=json"))["items"]]
    found = {f"{each['kubeletVersion']} {each['containerRuntimeVersion']}" for each in nodes}
    if not found:
        return server, ""
    runtime = re.fullmatch(rf"v{re.escape(server)} containerd://v?([0-9.]+)", "".join(found))
    if not runtime:
        sys.exit(
            f"an API server of {server}, nodes of {', '.join(found)}: only one version of each, with containerd, is kept"
        )
    return server, runtime[1]


def _kubectl(*words: str) -> str:
    return subprocess.check_output(["kubectl", *words], text=True)


class Recorder:
    """A plugin of pytest that keeps what became of each test."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.figures: Counter[str] = Counter()
        self.seconds = 0.0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test has failed, too, if its setting up or its clearing away has."""
        if not report.passed or report.when == "call":
            self.outcomes[report.nodeid] = report.outcome
        if report.when == "teardown":
            numbers = {name: value for name, value in report.user_properties if isinstance(value, int)}
            self.figures.update(numbers)
        self.seconds += report.duration

    def part(self) -> Part | None:
        """What they came to; None if none was run."""
        by_outcome = {
            wanted: tuple(sorted(name for name, found in self.outcomes.items() if found == wanted))
            for wanted in OUTCOMES
        }
        return (
            Part(
                date=f"{datetime.now(UTC):%Y-%m-%d}",
                seconds=round(self.seconds),
                passed=len(by_outcome["passed"]),
                failed=by_outcome["failed"],
                skipped=by_outcome["skipped"],
                figures=dict(self.figures),
            )
            if self.outcomes
            else None
        )


if __name__ == "__main__":
    interrupt_on_termination()
    sys.exit(main())
