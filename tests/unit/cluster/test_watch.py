"""What we do about kopf: what it says of refusals, and what it does not end.

The rest is in `tests/integration/cluster/test_policy_watch.py`.
"""

import asyncio
import contextlib

import pytest
import yarl

from webhook.cluster import watch


async def test_a_stream_that_misses_that_it_was_cancelled_is_cancelled_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else an operator never ends, no other begins, and a replica's view grows old. Others are left alone."""
    monkeypatch.setattr(watch, "ENDING", 0.01)

    async def stream() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        await asyncio.sleep(3600)

    stubborn, other, insisting = (asyncio.ensure_future(each) for each in (stream(), stream(), watch._insist()))
    await asyncio.sleep(0)
    stubborn.cancel()
    await asyncio.wait({stubborn}, timeout=5)
    assert stubborn.cancelled()
    assert not other.cancelling()
    for each in (other, other, insisting):
        each.cancel()
        await asyncio.sleep(0)


def test_a_refusal_is_told_once_and_again_after_it_was_none(caplog: pytest.LogCaptureFixture) -> None:
    refusals = watch._Refusals()
    listing = yarl.URL("https://api/api/v1/namespaces")
    for url, status in (
        (listing, 403),
        (listing, 403),
        (listing.with_query(watch="true"), 403),
        (listing, 200),
        (listing, 403),
    ):
        refusals.note(url, status)
    result = [record.getMessage().partition(":")[0] for record in caplog.records]
    assert result == [
        f"the ServiceAccount may not {verb} namespaces (/api/v1/namespaces)" for verb in ("list", "watch", "list")
    ]
