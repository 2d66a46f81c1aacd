"""Programs are started without a shell, bounded in time and output, and never quoted."""

import asyncio
import time
from pathlib import Path

import pytest
import uvloop

from tests.support.clock import Clock
from tests.unit.registry import stubs
from tests.unit.registry.stubs import Stub
from webhook.registry.auth.plugins import FAILURE_LIFETIME, ExecPlugin, PluginFailed


def program(stub: Stub, clock: Clock | None = None, seconds: float = 10.0) -> ExecPlugin:
    """The stub, wrapped."""
    return ExecPlugin(stub.path, ("get",), {"SECRET": "s"}, seconds, clock or Clock())


async def ask(asked: ExecPlugin, subject: str = "a.io") -> tuple[int, bytes]:
    """Its exit code and output, not remembered."""
    return await asked.ask(subject, subject.encode(), lambda: None, lambda code, output: (code, output))


async def test_it_gets_the_question_its_arguments_and_its_environment(tmp_path: Path) -> None:
    """And its answer comes back as it is, with the exit code."""
    stub = Stub(tmp_path / "stub", answer="out")
    assert await ask(program(stub)) == (0, b"out")
    assert (stub.question, stub.seen) == ("a.io", "sget")
    assert await ask(program(Stub(tmp_path / "other", "echo no; exit 7"))) == (7, b"no\n")


@pytest.mark.parametrize("script", [stubs.HANGS, stubs.LEAVES_A_CHILD])
async def test_one_that_hangs_is_ended_with_all_that_it_started(script: str, tmp_path: Path) -> None:
    """Within its time."""
    stub = Stub(tmp_path / "stub", f'echo $$ > "$0.pid"; {script}')
    started = time.monotonic()
    with pytest.raises(PluginFailed, match=r"^stub did not answer within 0.3 s$"):
        await ask(program(stub, seconds=0.3))
    assert time.monotonic() - started < 5
    group = int((tmp_path / "stub.pid").read_text())
    for _ in range(100):
        if not _running(group):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("something is left of it")


def _running(group: int) -> list[str]:
    """The processes of a group that are more than a name in the table."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(status.parent.name)
    return found


async def test_one_that_never_stops_talking_is_ended(tmp_path: Path) -> None:
    """After a mebibyte."""
    with pytest.raises(PluginFailed, match=r"^stub answers with more than 1 MiB$"):
        await ask(program(Stub(tmp_path / "stub", stubs.FLOODS)))


async def test_one_that_does_not_read_its_question_may_answer(tmp_path: Path) -> None:
    """However long the question is."""
    asked = program(Stub(tmp_path / "stub", "echo fine"))
    assert await asked.ask("a", b"q" * 1_000_000, lambda: None, lambda _code, output: output) == b"fine\n"


async def test_a_missing_program_is_an_error(tmp_path: Path) -> None:
    """With the system's reason."""
    missing = ExecPlugin(tmp_path / "missing", (), {}, 1.0, Clock())
    with pytest.raises(PluginFailed, match="missing cannot be started: No such file"):
        await ask(missing)


async def test_a_failure_is_remembered_for_its_subject_alone(tmp_path: Path) -> None:
    """And for seconds only."""
    clock, stub = Clock(), Stub(tmp_path / "stub", answer="x")
    asked = program(stub, clock)

    def refuse(_code: int, _output: bytes) -> bytes:
        raise PluginFailed("no")

    for _ in range(3):
        with pytest.raises(PluginFailed, match="no"):
            await asked.ask("a", b"", lambda: None, refuse)
    assert stub.calls == 1
    await ask(asked, "b")
    assert stub.calls == 2
    clock.now += FAILURE_LIFETIME
    await ask(asked, "a")
    assert stub.calls == 3


async def test_many_ask_once_and_an_answer_is_not_asked_for_again(tmp_path: Path) -> None:
    """Of forty questions at a time, four are put and the others find the answer."""
    stub = Stub(tmp_path / "stub", 'echo asked >> "$0.calls"; sleep 0.1')
    asked, result = program(stub), list[bytes]()

    def read(_code: int, output: bytes) -> bytes:
        result.append(output)
        return output

    answers = [asked.ask(f"{n % 20}", b"", lambda: result[0] if result else None, read) for n in range(40)]
    assert len(await asyncio.gather(*answers)) == 40
    assert 1 <= stub.calls <= 4


@pytest.mark.thorough
def test_the_servers_own_event_loop_does_it_too(tmp_path: Path) -> None:
    """That of uvloop starts processes in its own way."""

    async def outcomes() -> list[object]:
        scripts = {"fine": "cat", "hangs": stubs.HANGS, "left": stubs.LEAVES_A_CHILD, "floods": stubs.FLOODS}
        asked = [program(Stub(tmp_path / name, script), seconds=0.5) for name, script in scripts.items()]
        asked.append(ExecPlugin(tmp_path / "missing", (), {}, 0.5, Clock()))
        return [str(each) for each in await asyncio.gather(*map(ask, asked), return_exceptions=True)]

    with asyncio.Runner(loop_factory=uvloop.Loop) as runner:
        assert runner.run(outcomes()) == [
            "(0, b'a.io')",
            "hangs did not answer within 0.5 s",
            "left did not answer within 0.5 s",
            "floods answers with more than 1 MiB",
            "missing cannot be started: No such file or directory",
        ]


async def test_closing_ends_what_runs(tmp_path: Path) -> None:
    """At once."""
    asked = program(Stub(tmp_path / "stub", stubs.HANGS), seconds=60.0)
    waiting = asyncio.create_task(ask(asked))
    await asyncio.sleep(0.1)
    await asked.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting
