"""The logs of the servers on standard error: one line for each record, as text for people or as JSON for collectors."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

import click
import msgspec

from webhook.server import log_limit

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


def configure(level: str, format_: Format) -> None:
    """Log to standard error from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format_ == "json" else logging.Formatter(_TEXT))
    handler.addFilter(log_limit.OF_PROCESS)
    logging.basicConfig(level=level.upper(), handlers=[handler])
