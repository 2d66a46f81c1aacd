"""The rows about an nginx.conf beside the workload, as text.

Source: nginx.org, ngx_http_limit_req_module and ngx_http_upstream_module.
"""

import re
from collections.abc import Callable

from webhook.check.practices.row import Row, failed, not_applicable, passed

_COMMENT = re.compile(r"#[^\n]*")


def rows(text: str) -> tuple[Row, ...]:
    """Every row about one configuration."""
    lines = _COMMENT.sub("", text).split("\n")
    return tuple(row(lines) for row in _ROWS)


def rate_limit(lines: list[str]) -> Row:
    """A zone, and a place where it is used."""
    practice = "Rate limits"
    zone, used = _find(lines, r"\blimit_req_zone\s"), _find(lines, r"\blimit_req\s")
    if zone and used:
        return passed(practice, "Limited.", f"line {used}")
    if zone:
        return failed(practice, "A zone that nothing uses. Add limit_req.", f"line {zone}")
    return failed(practice, "None. One client takes it all.")


def upstream_health(lines: list[str]) -> Row:
    """Upstreams that are left alone while they fail."""
    practice = "Upstream health"
    upstream = _find(lines, r"\bupstream\s")
    if not upstream:
        return not_applicable(practice, "No upstream.")
    handled = _find(lines, r"\b(?:max_fails\s*=\s*[1-9]|fail_timeout\s*=|health_check\b|proxy_next_upstream\s)")
    if handled:
        return passed(practice, "Watched.", f"line {handled}")
    return failed(practice, "Dead servers keep getting requests. Set max_fails and fail_timeout.", f"line {upstream}")


def _find(lines: list[str], pattern: str) -> int:
    """The first line that matches, from 1; 0 where none does."""
    return next((number for number, line in enumerate(lines, start=1) if re.search(pattern, line)), 0)


_ROWS: tuple[Callable[[list[str]], Row], ...] = (rate_limit, upstream_health)
