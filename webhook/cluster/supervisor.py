"""A supervisor of tasks: each is restarted whenever it ends, for as long as the process runs."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, NoReturn

from webhook.cluster.backoff import LONGEST_PAUSE, Backoff

Work = Callable[[], Coroutine[Any, Any, object]]

log = logging.getLogger(__name__)


async def supervise(what: str, work: Work) -> NoReturn:
    """Do the work again and again until cancelled, at first soon and then after longer pauses. `what` names it in the log."""
    backoff = Backoff()
    while True:
        began = asyncio.get_running_loop().time()
        try:
            await work()
            log.error("%s ended, which is a bug", what)
        except Exception:
            log.exception("%s failed, which is a bug", what)
        if asyncio.get_running_loop().time() - began > LONGEST_PAUSE:
            backoff.reset()
        await asyncio.sleep(backoff.next())


@contextlib.asynccontextmanager
async def background(*work: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Run some work meanwhile; at the end it is cancelled."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
