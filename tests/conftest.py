"""What holds for every test."""

import contextlib
import gc
import sys
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from deploy.local.commands import interrupt_on_termination

if TYPE_CHECKING:  # half a second, which pytest-xdist's own process needs not have
    from tests.support.scripted import Api
    from webhook.cluster.client import Cluster

WIDTH = 300  # of a line of what was measured
# Tests that neither use nor disturb the one cluster of KUBECONFIG, in two parts of about the same length. All others, and those
# that come, may count on being alone on it.
BESIDE = {
    "servers and programs of their own": (
        *("conformance/test_model.py", "mutation/", "versions/"),
        *(f"integration/{folder}/" for folder in ("browser", "chart", "cli", "cluster", "deploy", "documentation")),
        *(f"integration/{folder}/" for folder in ("monitoring", "oracle", "registry", "server")),
        *(f"integration/packaging/test_{name}.py" for name in ("action_and_hook", "docs", "gitlab_and_terraform")),
        *(f"integration/packaging/test_{name}.py" for name in ("imports", "locks", "supply_chain", "zipapp")),
    ),
    "kind, and harm to a server of their own": (
        "integration/kind/",
        *(f"resilience/test_{name}.py" for name in ("environment", "figures", "images", "malice", "races", "together")),
        "resilience/test_load.py::test_nothing_leaks_under_load",
    ),
}

# A busy machine is slow, which is no fault of the property that it tests. `make test` asks for the second profile by
# pytest's --hypothesis-profile; a test that needs more examples than others takes a multiple of the profile's number.
_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", _patient, max_examples=15)
settings.register_profile("thorough", _patient, max_examples=100)
settings.load_profile("quick")

# jsonschema imports its checks of IRIs, whose grammars take a third of each worker's start; no schema here has that format.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]


def pytest_configure(config: pytest.Config) -> None:
    """Ended by SIGTERM, a run clears its fixtures away, as after SIGINT; pytest-xdist ends its workers itself."""
    if not hasattr(config, "workerinput"):
        interrupt_on_termination()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Modules and tests are no garbage: it is not looked for among them, neither here nor later, which took seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """With `--dist loadscope` one worker has all tests of the one cluster, and others those BESIDE it, each in their order."""
    if config.getoption("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class OneCluster(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.removeprefix("tests/")
            return next((part for part, names in BESIDE.items() if path.startswith(names)), "on the cluster")

    return OneCluster(config, log)


@pytest.hookimpl(wrapper=True, trylast=True)  # within pytest-cov's own
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """`no_cover` holds in pytest-xdist's workers, too: pytest-cov starts coverage twice in each, and stops one of them."""
    if item.get_closest_marker("no_cover") is None:
        return (yield)
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests have measured (pytest's record_property), also where they passed."""
    reports = [each for kind in terminalreporter.stats.values() for each in kind if isinstance(each, pytest.TestReport)]
    measured = [found for each in reports if each.when == "teardown" for found in each.user_properties]
    if measured:
        terminalreporter.section("what was measured")
    for name, value in measured:
        terminalreporter.line(f"{name}: {value}"[:WIDTH])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests that take long to the thorough profile, unless their file is named on the command line."""
    if config.getoption("--hypothesis-profile") == "thorough":
        return
    named = {Path(argument.partition("::")[0]).resolve() for argument in config.args}
    left = {item for item in items if item.get_closest_marker("thorough") and item.path not in named}
    items[:] = [item for item in items if item not in left]
    config.hook.pytest_deselected(items=list(left))


@pytest.fixture
async def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "AsyncIterator[Api]":
    """An API server that answers as scripted, and is the kubeconfig's."""
    from kubernetes.aio.config import kube_config

    from tests.support.scripted import serving

    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    async with serving(tmp_path / "kubeconfig") as found:
        yield found


@pytest.fixture
async def connection(api: "Api") -> "AsyncIterator[Cluster]":
    """A connection to it."""
    from webhook.cluster.client import Cluster

    async with contextlib.aclosing(Cluster()) as made:
        yield made
