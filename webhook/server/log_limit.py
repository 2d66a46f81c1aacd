"""A limit on the lines of a log: few of a kind in a minute, and the same one once."""

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache

INTERVAL = 60.0  # seconds in which the same line is logged once
LINES_LIMIT = 256  # lines of a kind in that time; denials are one
WARNINGS_LIMIT = 20  # of warnings and errors, which may have stack traces
KINDS_LIMIT = 512  # kinds that are kept
KIND_LENGTH = 200  # characters of a message that tell kinds apart

_NUMBER = re.compile(r"\d+")


class RateLimit(logging.Filter):
    """Lets few lines of a kind through in a minute, and the same line once: whoever can cause one can cause a million.

    A kind is a logger and a message before its arguments are filled in, but for the numbers in it: kopf fills its own in. What
    was left out is counted in the next line.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: OrderedDict[tuple[str, str], _Kind] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        now, key = self._clock(), _key(record.name, str(record.msg))
        kind = self._kinds.get(key)
        if kind is None or now - kind.since >= INTERVAL:
            left_out = kind.left_out if kind is not None else 0
            self._kinds.pop(key, None)
            kind = self._kinds[key] = _Kind(now)
            if len(self._kinds) > KINDS_LIMIT:
                self._kinds.popitem(last=False)
            if left_out:
                record.msg, record.args = "%s (%d more like this were left out)", (record.getMessage(), left_out)
        limit = LINES_LIMIT if record.levelno < logging.WARNING else WARNINGS_LIMIT
        if len(kind.lines) < limit:
            record.msg, record.args = record.getMessage(), ()  # put into words once, here and for whoever writes it
            line = hash(record.msg)
            if line not in kind.lines:
                kind.lines.add(line)
                return True
        kind.left_out += 1
        return False

    def is_full(self, logger: str, message: str) -> bool:
        """Whether no more lines of a kind, below warnings, are logged in this minute; what is not is counted.

        Who asks this first makes no record, and no words, for most of a flood.
        """
        kind = self._kinds.get(_key(logger, message))
        if kind is None or len(kind.lines) < LINES_LIMIT or self._clock() - kind.since >= INTERVAL:
            return False
        kind.left_out += 1
        return True


def _key(logger: str, message: str) -> tuple[str, str]:
    return logger, _without_numbers(message[:KIND_LENGTH])


@lru_cache(maxsize=KINDS_LIMIT)
def _without_numbers(message: str) -> str:
    return _NUMBER.sub("0", message)


class _Kind:
    """The lines of one kind since the minute began, by their hashes."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.lines: set[int] = set()
        self.left_out = 0


OF_PROCESS = RateLimit()
"""The limit of all that a server's process logs."""
