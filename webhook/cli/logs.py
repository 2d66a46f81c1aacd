"""The logs of the servers on standard error: one line for each record, as text for people or as JSON for collectors."""

import logging
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import click
import msgspec

INTERVAL = 60.0  # seconds in which the same line is logged once
LINES_LIMIT = 256  # lines of a kind in that time; denials are one
WARNINGS_LIMIT = 20  # of warnings and errors, which may have stack traces
KINDS_LIMIT = 512  # kinds that are kept
KIND_LENGTH = 200  # characters of a message that tell kinds apart

_NUMBER = re.compile(r"\d+")

Format = Literal["text", "json"]

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

LOG_LEVEL = click.option(
    "--log-level",
    envvar="NONROOT_LOG_LEVEL",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    show_envvar=True,
    help="The least severe records that are logged.",
)
LOG_FORMAT = click.option(
    "--log-format",
    envvar="NONROOT_LOG_FORMAT",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    show_envvar=True,
    help="Log lines for people, or one JSON object for each record.",
)


class JsonFormatter(logging.Formatter):
    """A record as a JSON object on one line: time (RFC 3339, UTC), level, logger and message.

    A stack trace is in `exception`. What a record's `fields` returns, a dict of JSON values, stands beside the message.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line | getattr(record, "fields", dict)()).decode()


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
        now, key = self._clock(), (record.name, _NUMBER.sub("0", str(record.msg)[:KIND_LENGTH]))
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


class _Kind:
    """The lines of one kind since the minute began, by their hashes."""

    def __init__(self, since: float) -> None:
        self.since = since
        self.lines: set[int] = set()
        self.left_out = 0


def configure(level: str, format_: Format) -> None:
    """Log to standard error from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format_ == "json" else logging.Formatter(_TEXT))
    handler.addFilter(RateLimit())
    logging.basicConfig(level=level.upper(), handlers=[handler])
