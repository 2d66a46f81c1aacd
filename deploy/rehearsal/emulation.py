"""Programs of another architecture on this kernel: Debian's qemu, known to binfmt_misc for as long as it is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.dev.images.build import NATIVE
from deploy.local import apt
from deploy.local.errors import ClusterError

KERNEL = Path("/proc/sys/fs/binfmt_misc")
RULES = Path("/usr/lib/binfmt.d")
PACKAGES = "qemu-user-static", "arch-test"  # mmdebstrap asks the second whether the first works
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@contextmanager
def of(architecture: str) -> Iterator[None]:
    """Let the kernel run its programs, in containers too; what is registered here is taken back."""
    if architecture == NATIVE:
        yield
        return
    machine = MACHINES[architecture]
    apt.install(*PACKAGES)
    entry = KERNEL / f"qemu-{machine}"
    if entry.exists():
        # F: the interpreter is opened when it is registered, so that it is found from within any root file system.
        if not any(line.startswith("flags:") and "F" in line for line in entry.read_text().splitlines()):
            raise ClusterError(
                f"{entry} was registered without the flag F, and is not found in containers: "
                f"echo -1 >{entry}, and {RULES / entry.name}.conf is registered instead"
            )
        yield
        return
    try:
        (KERNEL / "register").write_text((RULES / f"{entry.name}.conf").read_text().strip())
    except OSError as error:
        raise ClusterError(
            f"the kernel does not take programs of {architecture}: {error}; "
            f"as root: mount -t binfmt_misc binfmt_misc {KERNEL}, apt-get install {' '.join(PACKAGES)}"
        ) from error
    try:
        yield
    finally:
        entry.write_text("-1")
