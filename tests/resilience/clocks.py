"""The clock of one process, which jumps when told to: Debian's libfaketime. Monotonic time goes on, as on a real machine."""

from pathlib import Path

import pytest

LIBRARIES = "*/faketime/libfaketime.so.1"
JUMPS = {
    "an hour ahead": 3600,
    "an hour back": -3600,
    "a year ahead": 31_536_000,
    "a year back": -31_536_000,
}  # seconds


class Clock:
    """Begin a process with `environment`, and `jump` while it runs."""

    def __init__(self, folder: Path) -> None:
        found = next(Path("/usr/lib").glob(LIBRARIES), None)
        if found is None:
            pytest.skip("needs libfaketime: apt-get install faketime")
        self._file = folder / "faketime"
        self.jump(0)
        self.environment = {
            "LD_PRELOAD": str(found),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, seconds: int) -> None:
        """Be so far from the real time, from now on."""
        self._file.write_text(f"{seconds:+d}\n")

    def clean(self, process: int) -> None:
        """Remove what the library keeps in shared memory for a process that was killed."""
        for each in Path("/dev/shm").glob(f"*faketime_s*_{process}"):  # noqa: S108  # where it puts it
            each.unlink()
