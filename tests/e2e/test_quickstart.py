"""Every command of the quickstart for a cluster is run on a real one, as it stands there but for the registry's name."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import release
from deploy.dev.images.build import Pushed
from tests.e2e.conftest import registries
from tests.e2e.target import Target, eventually
from tests.support.api_server import Refused
from tests.support.documentation import holds, rerun, shell

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "quickstart" / "cluster.md"
RELEASE_LABEL = "app.kubernetes.io/part-of=nonroot-webhook"
INSTALL = "pip install '.[cluster]'\n"  # run by tests/integration/documentation


@pytest.fixture
def restored(installed: Target, product: Pushed) -> Iterator[Target]:
    """The cluster; afterwards the release is as the other tests want it."""
    try:
        yield installed
    finally:
        (ROOT / "readiness.html").unlink(missing_ok=True)
        release.install(release.Image.parse(product.pinned), installed.environment, registries(installed))
        eventually(lambda: _denies(installed), "an API server that asks the hooks again")
        installed.delete("namespaces", "shop")


def _denies(target: Target) -> bool:
    """Whether a Pod that runs as root is refused in the namespace that the quickstart has enforced."""
    overrides = '{"spec": {"securityContext": {"runAsUser": 0}}}'
    try:
        target.kubectl("-n", "shop", "run", "root", "--image=x", f"--overrides={overrides}", "--dry-run=server")
    except Refused as refused:
        return "denied the request" in str(refused)
    return False


@pytest.mark.usefixtures("online")
def test_the_quickstart_of_a_cluster_does_what_it_says(restored: Target) -> None:
    target = restored
    path = f"{Path(sys.executable).parent}:{target.environment['PATH']}"
    run = shell(ROOT, **{**target.environment, "PATH": path, "INSECURE": "1"})  # the cluster's registry has no TLS

    def run_here(commands: str) -> tuple[str, int]:
        return run(commands.replace(INSTALL, "").replace("registry.example.com", target.registry))

    runs = rerun(PAGE, run_here)
    assert len(runs) == 5
    for each in runs:
        assert holds(each), each
    assert target.kubectl("get", "mutatingwebhookconfigurations", "-o", "name", "-l", RELEASE_LABEL) == ""
