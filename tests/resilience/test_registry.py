"""The registry goes away, dawdles, lies and rations: what was known stays, and what is new is told, never guessed."""

import asyncio

import pytest

from deploy.dev.registry import Fault, Hang, Registry, Replace, Reset, Status
from tests.resilience.conftest import LONG, UID, Scene, app
from tests.resilience.traffic import Expectation, Kind
from tests.support.tables import table

pytestmark = [pytest.mark.survive, pytest.mark.timeout(600)]

COLD = 1000  # images that no replica has seen
WHILE = 10.0 if LONG else 4.0  # seconds
FAULTS: dict[str, tuple[Fault, Expectation]] = {
    "the registry down": (Reset(), "verified"),
    "the registry broken (500)": (Status(500), "verified"),
    "the registry rate-limiting": (Status(429, {"Retry-After": "60"}), "verified"),
    "the registry lying": (Replace(lambda body: body[:-1] + b" "), "refused"),
}


@pytest.fixture
def cold(registry: Registry) -> Registry:
    """Images that each have something of their own to read."""
    for number in range(COLD):
        registry.push(f"cold/app{number}:1", app(number))
    return registry


@table(("fault", "right"), FAULTS)
async def test_a_fault_of_the_registry(
    scene: Scene,
    cold: Registry,
    namespaces: tuple[str, str],
    fault: Fault,
    right: Expectation,
    request: pytest.FixtureRequest,
) -> None:
    """Pods of known images go on; those of new ones are left to the kubelet with a warning, or refused where content lies."""
    name = request.node.callspec.id
    unread = Kind("cold", namespaces[0], f"{cold.host}/cold/app{{n}}:1", right)
    cold.lie(fault)
    async with scene(name, unread, lost=0, note=f"new images: {right}"):
        await asyncio.sleep(WHILE)


async def test_a_registry_that_dawdles(scene: Scene, cold: Registry, namespaces: tuple[str, str]) -> None:
    """A Pod of a new image waits for it, and gets its uid when it comes."""
    release = asyncio.Event()
    cold.lie(Hang(release), path="cold/.*/blobs")
    slow = Kind("cold", namespaces[0], f"{cold.host}/cold/app{{n}}:1", "patched", UID)
    async with scene(
        f"the registry hanging for {WHILE:.0f} s", slow, lost=0, note="new images: waited for, then patched"
    ) as tally:
        await asyncio.sleep(WHILE)
        release.set()
        cold.honest()
    assert not LONG or tally.retried
