"""Long-running programs: started with a log, waited for, and later ended by whoever asks.

The one who ends a cluster is seldom the one who started it, and process numbers are reused.
So each start leaves a note that names the process beyond doubt: its number, the tick of its
start, and the boot that the tick counts from. Only a process that matches is ever signalled.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .commands import signals_held
from .errors import ClusterError

LOG_LINES = 15
LOG_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True)
class Identity:
    """One process, told apart from every other that ever had its number."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """The process with this number now; None, if it is gone or only waits to be buried."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        try:
            # The second field is the program's name in brackets, and may hold anything.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        if fields[0] in "ZX":
            return None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return cls(pid, int(fields[19]), boot)

    @property
    def alive(self) -> bool:
        return Identity.of(self.pid) == self

    def end(self, seconds: float = 10.0) -> None:
        """Ask the process and its group to stop; after `seconds`, make them."""
        for number, limit in ((signal.SIGTERM, seconds), (signal.SIGKILL, 5.0)):
            if not self.alive:
                return
            with contextlib.suppress(ProcessLookupError):
                leads = os.getpgid(self.pid) == self.pid
                (os.killpg if leads else os.kill)(self.pid, number)
            deadline = time.monotonic() + limit
            while self.alive and time.monotonic() < deadline:
                time.sleep(0.05)


@dataclass(frozen=True)
class Processes:
    """The processes of one cluster: a note for each in `notes`, its output in `logs`."""

    notes: Path
    logs: Path

    def _note(self, name: str) -> Path:
        return self.notes / f"{name}.json"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def running(self, name: str) -> Identity | None:
        """The process of that name, if it still runs."""
        try:
            identity = Identity(**json.loads(self._note(name).read_text()))
        except FileNotFoundError:
            return None
        return identity if identity.alive else None

    def start(self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        """Start `command` in a session of its own; nothing happens if it runs already."""
        if self.running(name):
            return
        self.notes.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        if self.log(name).exists() and self.log(name).stat().st_size > LOG_BYTES:
            self.log(name).replace(self.logs / f"{name}.former.log")
        with self.log(name).open("ab") as log, signals_held():
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )
            child.returncode = 0  # meant to outlive us: no warning when this object goes
            identity = Identity.of(child.pid)
            if identity is None:
                raise ClusterError(f"{name} ended at once: {self.last_words(name)}")
            self._note(name).write_text(json.dumps(asdict(identity)))

    def wait(self, name: str, ready: Callable[[], bool], seconds: float = 60.0) -> None:
        """Return when `ready()`; fail with the end of the log if the process dies or dawdles."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self.running(name) is None:
                raise ClusterError(f"{name} ended while starting: {self.last_words(name)}")
            if time.monotonic() > deadline:
                raise ClusterError(f"{name} is not ready after {seconds:.0f} s: {self.last_words(name)}")
            time.sleep(0.1)

    def stop(self, name: str, seconds: float = 10.0) -> None:
        """End the process of that name and forget it."""
        if identity := self.running(name):
            identity.end(seconds)
        self._note(name).unlink(missing_ok=True)

    def last_words(self, name: str) -> str:
        log = self.log(name)
        lines = log.read_text(errors="replace").splitlines() if log.exists() else []
        return "\n".join([f"see {log}", *lines[-LOG_LINES:]])
