"""Work that ends is begun anew, after longer and longer pauses, and is cancelled with its owner."""

import asyncio
import logging

import pytest

from webhook.cluster import backoff, supervisor
from webhook.cluster.backoff import Backoff


def test_pauses_double_up_to_a_limit_and_are_never_the_same() -> None:
    found = Backoff()
    for expected in (1, 2, 4, 8, 16, 30, 30):
        assert expected <= found.next() <= 1.5 * expected
    assert found.next(at_least=60) >= 60
    found.reset()
    assert found.next() <= 1.5
    assert len({Backoff().next() for _ in range(10)}) > 1


async def test_work_that_fails_or_ends_is_begun_anew(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(backoff, "FIRST_PAUSE", 0.0)
    tries: list[int] = []
    going = asyncio.Event()

    async def work() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise ZeroDivisionError
        if len(tries) == 3:
            going.set()
            await asyncio.Event().wait()

    with caplog.at_level(logging.ERROR):
        async with supervisor.background(supervisor.supervise("the work", work)):
            await asyncio.wait_for(going.wait(), 5)
    assert [each.getMessage() for each in caplog.records] == [
        "the work failed, which is a bug",
        "the work ended, which is a bug",
    ]
