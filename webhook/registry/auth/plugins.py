"""Programs that hand out credentials, run without a shell and within bounds.

What such a program prints is a secret or may hold one: it is given to whoever asked and never appears in a message;
what it says on standard error is not even read.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast

import msgspec

from webhook.caching import LRUCache, SingleFlight
from webhook.errors import NonrootError

V = TypeVar("V")

OUTPUT_LIMIT = 1024 * 1024  # bytes
FAILURE_LIFETIME = (
    15.0  # seconds for which a failure is remembered, so that a broken program is not started for every Pod
)
_AT_ONCE = 4  # processes of one program


class PluginFailed(NonrootError):
    """A program gave no answer that can be used; the message names it and never quotes it."""


def read_json(program: str, code: int, output: bytes, kind: type[V], called: str) -> V:
    """The output of a program that ended with exit code `code`, decoded; `PluginFailed` where it is no `kind`."""
    if code:
        raise PluginFailed(f"{program} ended with exit code {code}; run it by hand to see why")
    try:
        return msgspec.json.decode(output, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # whose message may quote the answer
        raise PluginFailed(f"{program} answers something other than {called}") from None


class ExecPlugin:
    """One program, asked about each subject once however many want to know. `seconds` is all that it may take.

    `environment` is added to our own, which is where clouds put what identifies us.
    """

    def __init__(
        self,
        path: Path,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self.name = path.name
        self._command = (str(path), *arguments)
        self._environment = environment
        self._seconds = seconds
        self._clock = clock
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._flights = SingleFlight()
        self._failures: LRUCache[str, tuple[str, float]] = LRUCache(OUTPUT_LIMIT)

    async def ask(
        self, subject: str, question: bytes, known: Callable[[], V | None], read: Callable[[int, bytes], V]
    ) -> V:
        """The answer that is `known` already, or that `read` makes of the exit code and the output for that question.

        `PluginFailed` where there is no answer, from `read` as well.
        """
        found = known()
        if found is not None:
            return found
        reason, until = self._failures.get(subject) or ("", 0.0)
        if self._clock() < until:
            raise PluginFailed(reason)
        return await self._flights.join(subject, lambda: self._turn(subject, question, known, read))

    async def aclose(self) -> None:
        """End what still runs."""
        await self._flights.aclose()

    async def _turn(
        self, subject: str, question: bytes, known: Callable[[], V | None], read: Callable[[int, bytes], V]
    ) -> V:
        async with self._turns:
            found = known()  # an answer about another subject may have covered this one meanwhile
            if found is not None:
                return found
            try:
                return read(*await self._run(question))
            except PluginFailed as error:
                self._failures.put(subject, (str(error), self._clock() + FAILURE_LIFETIME), len(str(error)))
                raise

    async def _run(self, question: bytes) -> tuple[int, bytes]:
        loop = asyncio.get_running_loop()
        answer = _ProgramProtocol(self.name, loop.create_future())
        try:
            process, _ = await loop.subprocess_exec(
                lambda: answer,
                *self._command,
                stderr=asyncio.subprocess.DEVNULL,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )
        except OSError as error:
            raise PluginFailed(f"{self.name} cannot be started: {error.strerror}") from None
        try:
            stdin = cast("asyncio.WriteTransport", process.get_pipe_transport(0))
            stdin.write(question)
            stdin.close()
            async with asyncio.timeout(self._seconds):
                output = await answer.complete
        except TimeoutError:
            raise PluginFailed(f"{self.name} did not answer within {self._seconds:g} s") from None
        finally:
            if not answer.complete.done() or answer.complete.cancelled() or answer.complete.exception():
                _kill(process.get_pid())
            process.close()
            await answer.exited.wait()
        return process.get_returncode() or 0, output


class _ProgramProtocol(asyncio.SubprocessProtocol):
    """The output of a program. `complete` is it once the program, and whoever got its output from it, is gone."""

    def __init__(self, name: str, complete: asyncio.Future[bytes]) -> None:
        self.complete = complete
        self.exited = asyncio.Event()
        self._name = name
        self._output = bytearray()

    def pipe_data_received(self, _fd: int, data: bytes) -> None:
        """A piece of its output; too much of it ends the exchange."""
        if self.complete.done():
            return
        self._output += data
        if len(self._output) > OUTPUT_LIMIT:
            self.complete.set_exception(PluginFailed(f"{self._name} answers with more than {OUTPUT_LIMIT >> 20} MiB"))

    def process_exited(self) -> None:
        """The program itself is gone."""
        self.exited.set()

    def connection_lost(self, _error: Exception | None) -> None:
        """Nobody can print any more."""
        if not self.complete.done():
            self.complete.set_result(bytes(self._output))


def _kill(pid: int) -> None:
    """End the program and whatever it started: they are a process group of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
