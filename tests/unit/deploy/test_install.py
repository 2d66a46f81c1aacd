"""`make install`: which registries are this machine's own."""

import pytest

from deploy.install import _is_loopback


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.0.0.2", True),
        ("[::1]:5000", True),
        ("[::1]", True),
        ("registry.example.com", False),
        ("10.0.0.1:5000", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback_is_this_machine_alone(host: str, loopback: bool) -> None:
    assert _is_loopback(host) is loopback
