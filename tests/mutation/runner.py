"""A pytest plugin that collects the tests once and then runs, for each mutant, those that reach it, in a process of its own.

`mutmut run` starts pytest anew for each mutant, which costs more than most mutants' tests. It has made the mutants and knows
which test reaches which function (`mutmut-stats.json`); the exit codes go where it keeps its own (`*.py.meta`), so that
`mutmut results` and `mutmut show` tell of them. Tests that killed another mutant of the function come first, then the quickest.
"""

import fnmatch
import gc
import itertools
import json
import os
import resource
import signal
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

SURVIVED, KILLED, UNREACHED, FAULT = 0, 1, 33, 35  # as mutmut writes them
SECONDS, BYTES = 20, 3 << 30  # of processor time, and of memory: a mutant may never end
WAITING = 600  # seconds after which it waits for ever, also where others need the processor
BUDGET = 3.0  # seconds of tests for a mutant; what only slower ones would have killed has survived

# A failure is enough, the smallest one is not needed; and what one mutant's run has found must not help another's.
settings.register_profile(
    "mutants",
    settings(
        max_examples=15, deadline=None, database=None, derandomize=True, phases=(Phase.explicit, Phase.generate),
        suppress_health_check=[HealthCheck.too_slow],
    ),
)  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--mutants", nargs="+", default=["*"], help="which mutants, as shell patterns, in their order")
    parser.addoption(
        "--again", action="store_true", help="those that were run and not killed, instead of those not run"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Run each mutant that was not yet run, instead of the tests."""
    stats = json.loads(Path("mutmut-stats.json").read_text())
    durations: dict[str, float] = stats["duration_by_test"]
    items = {each.nodeid: each for each in session.items if durations.get(each.nodeid, 0) < BUDGET}
    new = items.keys() - durations.keys()  # since mutmut counted: they may reach anything
    kills: defaultdict[str, Counter[str]] = defaultdict(Counter)
    writer = session.config.get_terminal_writer()
    if (clean := _run("", list(items.values())))[0] != SURVIVED:
        pytest.exit(f"without any mutant: {clean}", returncode=1)
    gc.freeze()  # or each child copies what it looks at
    metas = sorted(Path("webhook").rglob("*.py.meta"), key=lambda each: each.stat().st_size)
    for pattern, meta in itertools.product(session.config.getoption("--mutants"), metas):
        for mutant in _chosen(meta, pattern, again=session.config.getoption("--again")):
            function = mutant.rpartition("__mutmut_")[0]
            killed = kills[function]
            reaching = new | (items.keys() & stats["tests_by_mangled_function_name"].get(function, ()))
            tests = sorted(reaching, key=lambda each: (-killed[each], durations.get(each, 0)))
            spent = itertools.accumulate(durations.get(each, 0) for each in tests)
            tests = [each for each, sum_ in zip(tests, spent, strict=True) if sum_ < BUDGET]
            code, by = _run(mutant, [items[each] for each in tests]) if tests else (UNREACHED, "")
            killed[by] += 1
            _keep(meta, mutant, code)
            writer.line(f"{code} {mutant} {by}")
    return True


def _chosen(meta: Path, pattern: str, *, again: bool) -> Iterator[str]:
    for mutant, code in json.loads(meta.read_text())["exit_code_by_key"].items():
        wanted = code not in {None, KILLED} if again else code is None
        if wanted and fnmatch.fnmatchcase(mutant, pattern):
            yield mutant


def _keep(meta: Path, mutant: str, code: int) -> None:
    found = json.loads(meta.read_text())
    found["exit_code_by_key"][mutant] = code
    meta.write_text(json.dumps(found, indent=4))


def _run(mutant: str, tests: list[pytest.Item]) -> tuple[int, str]:
    """Its exit code, and the test that killed it."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os._exit(_in_child(mutant, tests, writing))
    os.close(writing)
    with os.fdopen(reading) as pipe:
        by = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), by


def _in_child(mutant: str, tests: list[pytest.Item], writing: int) -> int:
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
        signal.alarm(WAITING)
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        tests[0].config.pluginmanager.unregister(name="terminalreporter")
        os.environ["MUTANT_UNDER_TEST"] = mutant
        for test, following in itertools.zip_longest(tests, tests[1:]):
            test.config.hook.pytest_runtest_protocol(item=test, nextitem=following)
            if test.session.testsfailed:
                os.write(writing, test.nodeid.encode())
                return KILLED
    except BaseException:  # noqa: BLE001  # the child must not go on as its parent
        return FAULT
    return SURVIVED
