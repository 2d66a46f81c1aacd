"""What a process has open: connections by who is at their other end, and everything else. Read from /proc."""

import socket
import struct
from collections import Counter
from pathlib import Path

CALLERS = "callers"  # connections that others have opened to one of its own ports
SPARE = 3  # connections that our own streams leave idle when they are opened anew (webhook/watching.py)
ELSE = "files, pipes, listeners"
_LISTENING = "0A"  # include/net/tcp_states.h of Linux: TCP_LISTEN


def held(pid: int) -> Counter[str]:
    """How many descriptors lead to each HOST:PORT that it has called, to its callers, and to neither. IPv4 alone."""
    places: list[str] = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        try:
            places.append(str(each.readlink()))
        except FileNotFoundError:  # closed meanwhile
            continue
    table = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    own = {inode: (local, remote, state) for _, local, remote, state, *_, inode in (row[:10] for row in table)}
    found = [own.get(place.removeprefix("socket:[").removesuffix("]")) for place in places]
    ports = {local.partition(":")[2] for local, _, state in filter(None, found) if state == _LISTENING}
    return Counter(_far_end(each, ports) for each in found)


def _far_end(connection: tuple[str, str, str] | None, ports: set[str]) -> str:
    if connection is None or connection[2] == _LISTENING:
        return ELSE
    local, remote, _ = connection
    if local.partition(":")[2] in ports:
        return CALLERS
    address, _, port = remote.partition(":")
    return f"{socket.inet_ntoa(struct.pack('<I', int(address, 16)))}:{int(port, 16)}"
