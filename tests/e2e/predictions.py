"""What any controller of any release has predicted wrongly, for as long as the tests run.

A controller counts for its own life only, and tests upgrade and restart it; but each time it also tells of an Event.
"""

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator

from tests.e2e.target import Target

_COLUMNS = "NS:.involvedObject.namespace,KIND:.involvedObject.kind,NAME:.involvedObject.name,SAID:.message"
_EVENTS = (
    *("get", "events", "--all-namespaces", "--field-selector=reason=IdentityMismatch"),
    *("--no-headers", "--output", f"custom-columns={_COLUMNS}"),
)


class Predictions:
    """The Events about wrong ones. `meant` are the namespaces in which a test has made them wrong."""

    def __init__(self) -> None:
        self.meant: set[str] = set()
        self.former: set[str] = set()
        self.reported: set[str] = set()
        self._process: subprocess.Popen[str] | None = None
        self._over = False

    def wrong(self) -> list[str]:
        """Those that no test has meant to be wrong."""
        return sorted(each for each in self.reported - self.former if each.partition(" ")[0] not in self.meant)

    @contextlib.contextmanager
    def listening(self, target: Target) -> Iterator[None]:
        """Take note of each, meanwhile; what was told before is some other run's."""
        self.former = set(map(_words, target.kubectl(*_EVENTS).splitlines()))
        thread = threading.Thread(target=self._listen, args=(target,))
        thread.start()
        try:
            yield
        finally:
            self._over = True
            while thread.is_alive():
                if self._process is not None:
                    self._process.terminate()
                thread.join(1)

    def _listen(self, target: Target) -> None:
        """The API server ends each stream after a while; the next one begins with what there is."""
        command = ["kubectl", *_EVENTS, "--watch"]
        while not self._over:
            time.sleep(1)  # while the API server is away, kubectl ends at once
            self._process = subprocess.Popen(command, env=dict(target.environment), stdout=subprocess.PIPE, text=True)
            with self._process as process:
                assert process.stdout is not None
                self.reported.update(map(_words, process.stdout))


def _words(line: str) -> str:
    """Without the spaces that align it with its neighbours."""
    return " ".join(line.split())
