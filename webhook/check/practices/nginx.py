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
    """Upstreams that are left alone while they fail: by default for 10 seconds after one failure.

    Source: nginx.org ngx_http_upstream_module (max_fails, fail_timeout) and ngx_http_proxy_module (proxy_next_upstream).
    """
    practice = "Upstream health"
    upstream = _find(lines, r"\bupstream\s")
    if not upstream:
        return not_applicable(practice, "No upstream.")
    off = _find(lines, r"\bmax_fails\s*=\s*0\b|\bproxy_next_upstream\s+off\b")
    if off and not _find(lines, r"\bhealth_check\b"):
        return failed(practice, "Switched off: dead servers keep getting requests.", f"line {off}")
    return passed(practice, "Watched: a server that fails is left alone for a while.", f"line {upstream}")


def _find(lines: list[str], pattern: str) -> int:
    """The first line that matches, from 1; 0 where none does."""
    return next((number for number, line in enumerate(lines, start=1) if re.search(pattern, line)), 0)


_ROWS: tuple[Callable[[list[str]], Row], ...] = (rate_limit, upstream_health)
