"""A reconcile loop: its step runs whenever something has changed, and after an interval in any case."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

import msgspec

from webhook.cluster.errors import Busy, ClusterError

RETRY = 10.0  # seconds after a failure, unless the API server asks for more

log = logging.getLogger(__name__)


class Interval(msgspec.Struct, frozen=True):
    """Seconds until the next step: `minimum` whatever happens, `resync` if nothing does."""

    minimum: float
    resync: float


async def repeat(what: str, step: Callable[[], Awaitable[Interval]], due: asyncio.Event) -> NoReturn:
    """Take steps, the next one early where `due` is set, until cancelled.

    A failure is logged, the same one once, and does not touch whatever else the process does.
    """
    logged = ""
    while True:
        due.clear()
        try:
            interval = await step()
            logged = ""
        except ClusterError as error:
            if str(error) != logged:
                log.warning("%s: %s", what, error)
            logged = str(error)
            pause = max(RETRY, error.retry_after) if isinstance(error, Busy) else RETRY
            interval = Interval(pause, pause)
        except Exception:
            log.exception("%s failed, which is a bug", what)
            interval = Interval(RETRY, RETRY)
        await asyncio.sleep(interval.minimum)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(interval.resync - interval.minimum):
                await due.wait()
