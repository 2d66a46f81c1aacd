"""TCP sockets that listen before a server takes connections from them."""

import socket

from webhook.errors import InvalidSetting


def listen(host: str, port: int, option: str) -> socket.socket:
    """A TCP socket that listens at an address; `::` takes IPv4, too. `InvalidSetting` names the option to change.

    Given a host instead of a socket, asyncio sets IPV6_V6ONLY, and on a dual-stack node IPv4 probes get no answer.
    Source: python/cpython Lib/asyncio/base_events.py (create_server). It listens at once because SO_REUSEADDR lets a second
    socket be bound to the address until then: socket(7).
    """
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        made.bind((host, port))
        made.listen()
    except OSError as error:
        made.close()
        raise InvalidSetting(f"cannot listen on {host}:{port}: {error.strerror}; choose another {option}") from None
    return made
