"""How the lines of a log are limited."""

import json
import logging

from tests.support.clock import Clock
from webhook.cli.logs import JsonFormatter
from webhook.server import log_limit
from webhook.server.log_limit import RateLimit


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
    assert sum(bool(_logged(limit, "refused %s", number)) for number in range(1000)) == log_limit.WARNINGS_LIMIT
    attempts = (_logged(limit, f"attempt #{number} failed") for number in range(1000))
    assert sum(map(bool, attempts)) == log_limit.WARNINGS_LIMIT
    denials = (_logged(limit, "denied %s", number, level=logging.INFO) for number in range(1000))
    assert sum(map(bool, denials)) == log_limit.LINES_LIMIT
    assert _logged(limit, "something else")


def test_kinds_are_bounded_though_messages_were_not_constant() -> None:
    limit = RateLimit(Clock())
    for number in range(log_limit.KINDS_LIMIT + 100):
        assert _logged(limit, "a" * (number % 150) + "b" * (number // 150) + "c" * 1000)
    assert len(limit._kinds) == log_limit.KINDS_LIMIT
    assert max(len(message) for _, message in limit._kinds) == log_limit.KIND_LENGTH


def test_who_asks_before_logging_has_the_same_lines_and_the_same_count() -> None:
    """A flood of denials makes no record for those that are left out."""
    clock = Clock()
    limit = RateLimit(clock)

    def logged(number: int) -> str:
        full = limit.is_full("webhook.server.tls", "denied %s")
        return "" if full else _logged(limit, "denied %s", number, level=logging.INFO)

    lines = [line for number in range(300) if (line := logged(number))]
    assert lines == [f"denied {number}" for number in range(log_limit.LINES_LIMIT)]
    assert not limit.is_full("webhook.server.tls", "refused %s")
    assert not limit.is_full("webhook.server.asgi", "denied %s")
    clock.now += log_limit.INTERVAL
    assert logged(300) == "denied 300 (44 more like this were left out)"


def test_no_line_is_full_that_was_never_logged() -> None:
    limit = RateLimit(Clock())
    assert not any(limit.is_full("nonroot", "denied %s") for _ in range(1000))
    assert _logged(limit, "denied %s", 1)


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
