"""What listens at an address keeps every other from it at once."""

import contextlib

import pytest

from webhook.errors import InvalidSetting
from webhook.server.sockets import listen


@pytest.mark.parametrize("host", ["127.0.0.1", "::"])
def test_no_second_socket_listens_at_the_address_of_one_that_serves_nothing_yet(host: str) -> None:
    """As two options that give the same port; SO_REUSEADDR alone would let both be bound."""
    with contextlib.closing(listen(host, 0, "--port")) as first:
        port = first.getsockname()[1]
        with pytest.raises(InvalidSetting, match=f"cannot listen on {host}:{port}: .*; choose another --metrics-port"):
            listen(host, port, "--metrics-port")
