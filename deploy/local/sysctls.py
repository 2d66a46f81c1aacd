"""The kernel settings of the machine that a kubelet and its bridge plugin change: read before, put back afterwards."""

import json
from pathlib import Path

NAMES = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
SETTINGS = Path("/proc/sys")


def remember(note: Path) -> None:
    """Write down what they are."""
    found = {name: SETTINGS / name for name in NAMES}
    values = {name: path.read_text().strip() for name, path in found.items() if path.exists()}
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(values))


def restore(note: Path) -> None:
    """Make them what was written down."""
    for name, value in json.loads(note.read_text()).items():
        path = SETTINGS / name
        if path.read_text().strip() != value:
            path.write_text(value)
