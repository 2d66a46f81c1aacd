"""The choice of HTTP protocol: ours, or uvicorn's own where ours does not work with the installed uvicorn.

Ours are built on parts of uvicorn that it does not promise to keep (encode/uvicorn
uvicorn/protocols/http/httptools_impl.py). pyproject.toml admits the versions that were tested; with another one,
which only somebody who overrides that can have, reviews are still answered.
"""

import asyncio
import importlib
import logging
from functools import cache
from types import FunctionType
from typing import Any, Literal

import uvicorn

from webhook.server.asgi import Reviews

log = logging.getLogger(__name__)

_MODULE = "uvicorn.protocols.http.httptools_impl"
PARTS = frozenset(
    {
        *("connection_made", "connection_lost", "data_received", "timeout_keep_alive_handler", "_start_asgi_task"),
        *("on_message_begin", "on_headers_complete", "on_body", "on_message_complete", "on_response_complete"),
        *("_unset_keepalive_if_required", "timeout_keep_alive", "timeout_keep_alive_task", "loop", "parser", "cycle"),
        *("pipeline", "flow", "transport", "connections", "server_state", "url", "headers", "scope"),
        *("app", "expect_100_continue"),
    }
)
"""The methods and attributes of uvicorn's `HttpToolsProtocol` that ours use."""


def protocol(app: object) -> type[asyncio.Protocol] | Literal["httptools"]:
    """The protocol for an application, as `uvicorn.Config` takes it. The shorter way is for `Reviews` alone."""
    if missing := _missing():
        _warn(missing)
        return "httptools"
    from webhook.server.fast_path import ReviewProtocol
    from webhook.server.limits import BoundedProtocol

    return ReviewProtocol if isinstance(app, Reviews) else BoundedProtocol


def _missing() -> str:
    """The parts that the installed uvicorn lacks, or an empty text."""
    try:
        module = importlib.import_module(_MODULE)
        importlib.import_module("uvicorn.protocols.http.flow_control").HIGH_WATER_LIMIT  # noqa: B018
        module.STATUS_LINE  # noqa: B018
        found: dict[str, Any] = vars(module.HttpToolsProtocol)
    except (ImportError, AttributeError) as error:
        return str(error)
    known = set(found).union(*(each.__code__.co_names for each in found.values() if isinstance(each, FunctionType)))
    return ", ".join(sorted(PARTS - known))


@cache  # two servers, one line
def _warn(missing: str) -> None:
    log.warning(
        "uvicorn %s lacks what our HTTP protocol is built on (%s): uvicorn's own is used, which is slower and sets no limit "
        "to large or slow requests; install a version that pyproject.toml admits",
        uvicorn.__version__,
        missing,
    )
