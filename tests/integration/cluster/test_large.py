"""Both our processes in a larger cluster, in short; `python -m tests.bench.large` is the long form."""

import pytest

from tests.bench import large
from tests.support import cluster

pytestmark = pytest.mark.timeout(600)


async def test_a_second_scan_writes_nothing_and_what_is_new_is_reported() -> None:
    """Prints what was measured."""
    cluster.reach()
    lines = [line async for line in large.measure(large.SHORT, quiet=2)]
    print("\n".join(lines))
    assert len(lines) - large.LOOKS in {6, 7}  # a third scan follows where layers were read after the first
