"""How the servers log."""

import json
import logging
import sys

import pytest

from webhook.cli import logs
from webhook.cli.logs import JsonFormatter
from webhook.server import log_limit


def _record(message: str, *arguments: object, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    return logging.LogRecord("webhook.server.asgi", logging.INFO, __file__, 1, message, arguments, info)


def test_a_record_is_one_line_of_json() -> None:
    """Whatever a stranger puts into a message: line ends and control characters are escaped."""
    record = _record("denied %s", 'a\n"b"\x1b')
    record.fields = lambda: {"namespace": "shop"}
    line = JsonFormatter().format(record)
    assert "\n" not in line
    found = json.loads(line)
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "info",
        "logger": "webhook.server.asgi",
        "message": 'denied a\n"b"\x1b',
        "namespace": "shop",
    }


def test_a_stack_trace_is_part_of_its_record() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        error = sys.exc_info()[1]
    assert json.loads(JsonFormatter().format(_record("it failed", error=error)))["exception"].endswith(
        "ValueError: why"
    )


def test_everything_that_a_server_logs_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever logs it, libraries too: there is one handler, the root's."""
    made: list[logging.Handler] = []
    monkeypatch.setattr(logging, "basicConfig", lambda **given: made.extend(given["handlers"]))
    logs.configure("info", "text")
    assert [handler.filters for handler in made] == [[log_limit.OF_PROCESS]]
