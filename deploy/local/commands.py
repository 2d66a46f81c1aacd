"""Running another program to its end: the answer is its output, a failure quotes what it said; or its exit code."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .errors import ClusterError

QUOTED_LINES = 15


def run(
    *command: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
) -> str:
    """Run `command`, with `env` added to our own environment, and return what it printed."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as exc:
        raise ClusterError(f"{words[0]}: no such program (to run: {' '.join(words)})") from exc
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines()[-QUOTED_LINES:]
        raise ClusterError(f"{' '.join(words)}: exit status {done.returncode}\n" + "\n".join(said))
    return done.stdout


def call(words: Sequence[str | Path], env: Mapping[str, str] | None = None) -> int:
    """Run a command on our own input and output; its exit code. Interrupted, we end it and wait for its end first."""
    child = None
    try:
        with signals_held():
            child = subprocess.Popen(words, env=env)
        return child.wait()
    except KeyboardInterrupt:
        if child:
            child.terminate()
            child.wait()
        raise


def interrupt_on_termination() -> None:
    """Have SIGTERM raise KeyboardInterrupt as SIGINT does, unless either did: what is being cleared away is not disturbed."""

    def interrupt(*_: object) -> None:
        signal.signal(signal.SIGTERM, lambda *_: None)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # ignored in the background of a script
        signal.signal(signal.SIGINT, interrupt)


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back meanwhile, so that a process is never started without our knowing of it.

    They are not blocked, which that process would inherit. Outside the main thread no handler runs, nor can one be set.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    former = {
        each: signal.signal(each, lambda number, _: came.append(number))
        for each in (signal.SIGINT, signal.SIGTERM)
        if signal.getsignal(each) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for each, handler in former.items():
            signal.signal(each, handler)
        for number in came:
            signal.raise_signal(number)
