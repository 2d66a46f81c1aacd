"""The capabilities that a file carries, as the kernel reads them from its attribute security.capability.

Sources: linux include/uapi/linux/capability.h (vfs_cap_data, vfs_ns_cap_data), security/commoncap.c
(get_vfs_caps_from_disk, bprm_caps_from_vfs_caps).
"""

import struct

import msgspec

NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)  # fmt: skip
ATTRIBUTE = "security.capability"

_REVISION, _EFFECTIVE = 0xFF00_0000, 0x1
_WORDS = {0x0100_0000: 1, 0x0200_0000: 2, 0x0300_0000: 2}  # of 32 capabilities each, by revision
_WITH_ROOT = 0x0300_0000


class FileCapabilities(msgspec.Struct, frozen=True, gc=False):
    """The capabilities of a program when it is executed: the names of `permitted`, without `CAP_`, in the kernel's order.

    `effective` is the flag of `setcap …+ep`: with it, the kernel refuses to execute the file where the bounding set
    lacks one of them, instead of executing it with fewer.
    """

    permitted: tuple[str, ...]
    effective: bool


def parse(value: bytes) -> FileCapabilities | None:
    """The attribute's value; None where it gives nothing, or the kernel would ignore it.

    Revision 3 names the root of a user namespace: other than 0, it counts in that namespace alone.
    """
    if len(value) < 4:
        return None
    (magic,) = struct.unpack_from("<I", value)
    words = _WORDS.get(magic & _REVISION)
    with_root = magic & _REVISION == _WITH_ROOT
    if words is None or len(value) != 4 + 8 * words + 4 * with_root:
        return None
    if with_root and struct.unpack_from("<I", value, 20) != (0,):
        return None
    bits = sum(struct.unpack_from("<I", value, 4 + 8 * word)[0] << 32 * word for word in range(words))
    permitted = tuple(name for number, name in enumerate(NAMES) if bits >> number & 1)
    return FileCapabilities(permitted, bool(magic & _EFFECTIVE)) if permitted else None
