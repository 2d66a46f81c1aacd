"""For whom work is done: the namespace whose share of turns, streams and name look-ups it takes."""

from contextvars import ContextVar

TENANT: ContextVar[str] = ContextVar("tenant", default="")
"""Tasks inherit it. Work that several namespaces wait for is done in the name of the first."""
