"""The tests of an API server have one of their own here, too."""

from tests.integration.cluster.conftest import api_server

__all__ = ["api_server"]
