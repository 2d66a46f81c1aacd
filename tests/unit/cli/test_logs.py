"""How the servers log."""

import json
import logging
import sys

import pytest

from tests.support.clock import Clock
from webhook.cli import logs
from webhook.cli.logs import JsonFormatter, RateLimit


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


def _logged(limit: RateLimit, message: str, *arguments: object, level: int = logging.WARNING) -> str:
    """The line; empty where there is none."""
    record = logging.LogRecord("webhook.server.tls", level, __file__, 1, message, arguments, None)
    return record.getMessage() if limit.filter(record) else ""


def test_the_same_line_is_logged_once_a_minute_and_then_says_how_often_it_came() -> None:
    """As when a certificate is broken, which is looked at every two seconds."""
    clock = Clock()
    limit = RateLimit(clock)
    lines = []
    for _ in range(31):
        lines.append(_logged(limit, "cannot use %s", "tls.crt"))
        clock.now += 2
    assert [line for line in lines if line] == [
        "cannot use tls.crt",
        "cannot use tls.crt (29 more like this were left out)",
    ]


def test_so_many_lines_of_a_kind_are_logged_whatever_they_say() -> None:
    """A stranger's requests differ in every line; other kinds are logged meanwhile."""
    limit = RateLimit(Clock())
    assert sum(bool(_logged(limit, "refused %s", number)) for number in range(1000)) == logs.WARNINGS_LIMIT
    attempts = (_logged(limit, f"attempt #{number} failed") for number in range(1000))
    assert sum(map(bool, attempts)) == logs.WARNINGS_LIMIT
    denials = (_logged(limit, "denied %s", number, level=logging.INFO) for number in range(1000))
    assert sum(map(bool, denials)) == logs.LINES_LIMIT
    assert _logged(limit, "something else")


def test_kinds_are_bounded_though_messages_were_not_constant() -> None:
    limit = RateLimit(Clock())
    for number in range(logs.KINDS_LIMIT + 100):
        assert _logged(limit, "a" * (number % 150) + "b" * (number // 150) + "c" * 1000)
    assert len(limit._kinds) == logs.KINDS_LIMIT
    assert max(len(message) for _, message in limit._kinds) == logs.KIND_LENGTH


def test_everything_that_a_server_logs_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever logs it, libraries too: there is one handler, the root's."""
    made: list[logging.Handler] = []
    monkeypatch.setattr(logging, "basicConfig", lambda **given: made.extend(given["handlers"]))
    logs.configure("info", "text")
    assert [[type(each) for each in handler.filters] for handler in made] == [[RateLimit]]


def test_what_is_logged_is_put_into_words_once() -> None:
    """Once for all that reads the line: a denial's words cost as much as its answer."""
    said: list[int] = []

    class Denial:
        def __str__(self) -> str:
            said.append(1)
            return "Pod 100%"

    record = logging.LogRecord("nonroot", logging.INFO, "", 0, "denied %s", (Denial(),), None)
    assert RateLimit(Clock()).filter(record)
    assert json.loads(JsonFormatter().format(record))["message"] == "denied Pod 100%"
    assert said == [1]
