"""A progress line on a terminal's standard error, gone when the work is done; nothing in pipes."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from webhook.evaluation.evaluator import Progress

T = TypeVar("T")


_SHOWN_FROM = 20  # workloads; fewer are evaluated before a person looks for progress
_TICK = 0.3  # seconds between two words


@contextmanager
def counted() -> Iterator[Progress | None]:
    """A progress bar of what is evaluated."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress
    from rich.console import Console

    columns = (progress.TextColumn("evaluated"), progress.BarColumn(), progress.MofNCompleteColumn())
    bar = progress.Progress(*columns, progress.TimeElapsedColumn(), console=Console(stderr=True), transient=True)
    task = bar.add_task("evaluated", total=None)

    def update(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)
        if total >= _SHOWN_FROM:
            bar.start()

    try:
        yield update
    finally:
        if bar.live.is_started:
            bar.stop()


async def watched(work: Coroutine[Any, Any, T], status: Callable[[], str]) -> T:
    """The outcome of the work; while it goes on, `status` says how far it is, in a line."""
    if not sys.stderr.isatty():
        return await work
    working = asyncio.ensure_future(work)
    while not (await asyncio.wait({working}, timeout=_TICK))[0]:
        click.echo(f"\r\x1b[K{status()}", nl=False, err=True)
    click.echo("\r\x1b[K", nl=False, err=True)
    return working.result()
