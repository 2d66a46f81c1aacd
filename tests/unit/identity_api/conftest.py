"""The registry of the registry client's tests, and clients of it."""

from tests.unit.registry.conftest import connect, registry

__all__ = ["connect", "registry"]
