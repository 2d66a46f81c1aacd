"""The replicas' view of an API server that is busy or broken, through a proxy.

An API server that is away, or has forgotten its history, is in `tests/integration/cluster/test_policy_watch.py`.
"""

import asyncio
import time

import pytest

from tests.e2e.target import Target
from tests.integration.cluster.test_policy_watch import NAMESPACE, prepared, proxy, target, until, watched
from tests.resilience.conftest import long
from tests.resilience.figures import Fact, record
from tests.support.api_proxy import ApiProxy

__all__ = ["prepared", "proxy", "target"]

pytestmark = [long, pytest.mark.survive, pytest.mark.cluster, pytest.mark.timeout(120)]

WHILE = 5.0  # seconds


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_the_last_view_stays_and_is_taken_up_again(target: Target, proxy: ApiProxy, status: int) -> None:
    """Streams that are open go on; what none of them told shows soon after."""
    label = ("label", "--overwrite", "namespace", NAMESPACE)
    async with watched() as view:
        await until(lambda: view.ready and view.knows(NAMESPACE))
        proxy.failing = status
        await proxy.stop()
        await proxy.start()
        await asyncio.to_thread(target.kubectl, *label, "nonroot.dev/mode=enforce")
        await asyncio.sleep(WHILE)
        assert view.knows(NAMESPACE)
        assert view.effective_policy(NAMESPACE).mode == "Audit"
        proxy.failing = 0
        began = time.monotonic()
        await until(lambda: view.effective_policy(NAMESPACE).mode == "Enforce", 60)
    seconds = time.monotonic() - began
    record(
        Fact(
            f"the API server answers replicas with {status} for {WHILE:.0f} s",
            f"view kept, current {seconds:.1f} s after",
        )
    )
