"""A file's capabilities are those that the kernel would grant."""

import struct

import pytest

from webhook.image.capabilities import FileCapabilities, parse

BIND = 1 << 10


def attribute(revision: int, low: int, high: int = 0, *, effective: bool = True, root: int | None = None) -> bytes:
    """The value of security.capability, nothing inheritable."""
    words = struct.pack("<IIIII", revision << 24 | effective, low, 0, high, 0)
    return words if root is None else words + struct.pack("<I", root)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (attribute(2, BIND), FileCapabilities(("NET_BIND_SERVICE",), effective=True)),
        (attribute(2, BIND, effective=False), FileCapabilities(("NET_BIND_SERVICE",), effective=False)),
        (attribute(2, 1 << 6 | 1 << 7), FileCapabilities(("SETGID", "SETUID"), effective=True)),
        (attribute(2, 1 << 31), FileCapabilities(("SETFCAP",), effective=True)),
        (attribute(2, 0, 1 << 7), FileCapabilities(("BPF",), effective=True)),
        (attribute(3, BIND, root=0), FileCapabilities(("NET_BIND_SERVICE",), effective=True)),
        (attribute(1, BIND)[:12], FileCapabilities(("NET_BIND_SERVICE",), effective=True)),
        (attribute(3, BIND, root=100_000), None),  # another user namespace's
        (attribute(2, 0), None),
        (attribute(4, BIND), None),
        (attribute(2, BIND)[:-1], None),
        (attribute(3, BIND), None),
        (b"", None),
        (b"\x01\x00", None),
    ],
)
def test_revisions_are_read_and_others_ignored(value: bytes, expected: FileCapabilities | None) -> None:
    """As get_vfs_caps_from_disk: the size must be the revision's, and the root ours."""
    assert parse(value) == expected


def test_what_setcap_wrote() -> None:
    """`setcap cap_net_bind_service=+ep` on Linux 6.1, read back with getfattr."""
    value = bytes.fromhex("0100000200040000000000000000000000000000")
    assert parse(value) == FileCapabilities(("NET_BIND_SERVICE",), effective=True)
