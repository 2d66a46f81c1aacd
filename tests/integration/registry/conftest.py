"""The fixtures of the registry client's unit tests, for registries and proxies that are processes."""

from tests.unit.conftest import client, connect, registry

__all__ = ["client", "connect", "registry"]
