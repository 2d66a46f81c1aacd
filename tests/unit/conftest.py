"""What holds for all unit tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="package", autouse=True)
def system_authorities() -> Iterator[None]:
    """The machine's certificate authorities: one, where a real machine has 150, which take 50 ms for each connection's TLS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(Path(__file__).with_name("authority.pem")))
        yield
