"""Docker's daemon on this machine, where it reaches nothing and nothing reaches it.

It runs in mount, network and process namespaces of its own. The network has a loopback interface and no way out, so what
its containers send stays here. /run is empty there, so that a Docker or containerd of the machine is not met. When the
first process of the namespaces has ended, nothing of it runs, and no mount is left.
"""

import contextlib
import fcntl
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.local import apt, commands, paths, sysctls
from deploy.local.errors import ClusterError
from deploy.local.processes import Identity, Processes

from . import programs

DAEMON = "dockerd"
PACKAGES = ("iproute2", "iptables", "libdevmapper1.02.1", "runc")
CONTROL_GROUPS = Path("/sys/fs/cgroup")
PARENT = "nonroot-kind"
MODULES = Path("/lib/modules")
# A name server has to be somewhere, and not on loopback, or Docker puts public ones in its place. Nobody listens there
# (RFC 5737), so a name from outside is refused at once.
RESOLVER = "198.51.100.53"

INIT = """\
set -eu
mount -t tmpfs tmpfs /run
ip link set lo up
ip address add {resolver}/32 dev lo
ip route add unreachable default
names=$(readlink -m /etc/resolv.conf)
mkdir -p "$(dirname "$names")"
[ -e "$names" ] || : >"$names"
echo "nameserver {resolver}" >/run/resolv.conf
mount --bind /run/resolv.conf "$names"

# The /sys of this network, with the machine's control groups.
mkdir /run/cgroup
mount --rbind /sys/fs/cgroup /run/cgroup
mount -t sysfs sysfs /sys
mount --move /run/cgroup /sys/fs/cgroup
echo 1 >/proc/sys/net/ipv4/ip_forward

{daemon} &
trap 'kill $!' TERM
while kill -0 $! 2>/dev/null; do wait $! || true; done
"""


def state() -> Path:
    """The folder of the daemon's state: its images and logs stay, all else goes when it ends."""
    return paths.cache() / "kind"


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let no other command start, change or end the cluster meanwhile: all checkouts share it."""
    path = state().with_name("kind.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ClusterError(f"the kind cluster is in use by {lock.read()}: try again when that has ended") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} of {Path(__file__).resolve().parents[2]}")
        lock.flush()
        yield


def running() -> Identity | None:
    """The process that holds the namespaces, if it runs."""
    return _processes().running(DAEMON)


def left() -> bool:
    """Whether anything is left to end or to put back."""
    return _settings().exists()


def start() -> None:
    """Start the daemon, unless it runs, and return when it answers."""
    if running():
        return
    if os.geteuid() != 0:
        raise ClusterError("a kind cluster without Docker Hub runs in namespaces of its own: this has to run as root")
    apt.install(*PACKAGES)
    programs.ensure(programs.DOCKER)
    if not left():  # by a daemon that died: what it has changed is nobody's setting to keep
        sysctls.remember(_settings())
    daemon = [
        "dockerd",
        f"--host=unix://{_socket()}",
        f"--data-root={state() / 'data'}",
        "--pidfile=/run/dockerd.pid",
        "--storage-driver=overlay2",
        f"--cgroup-parent=/{PARENT}",
        "--log-level=warn",
    ]
    script = INIT.format(resolver=RESOLVER, daemon=shlex.join(daemon))
    namespaces = ("--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", "--propagation=private")
    _socket().unlink(missing_ok=True)
    _processes().start(DAEMON, ["unshare", *namespaces, "sh", "-c", script], env=environment())
    _processes().wait(DAEMON, _answers)


def stop() -> None:
    """End the daemon with all of its containers, and put the machine's settings back."""
    if running():
        with contextlib.suppress(ClusterError):
            if containers := docker("ps", "--all", "--quiet").split():
                docker("rm", "--force", "--volumes", *containers)
    _processes().stop(DAEMON, seconds=20)
    for parent in (CONTROL_GROUPS / PARENT, *CONTROL_GROUPS.glob(f"*/{PARENT}")):
        for folder in (*sorted(parent.rglob("*/"), reverse=True), parent):
            with contextlib.suppress(OSError):  # taken by the kernel meanwhile
                folder.rmdir()
    with contextlib.suppress(OSError):  # kind's nodes mount it, so Docker makes it; where it is in use it is not empty
        MODULES.rmdir()
    (state() / "kubeconfig").unlink(missing_ok=True)
    if left():
        sysctls.restore(_settings())
        _settings().unlink()


@contextlib.contextmanager
def borrowed() -> Iterator[None]:
    """The daemon for the length of a `with`, for nobody else: one that runs already is used and left running."""
    with alone():
        ours = running() is None
        try:
            start()
            yield
        finally:
            if ours:
                stop()


def inside() -> list[str]:
    """The command prefix that runs a command in the daemon's namespaces."""
    holder = running()
    if holder is None:
        raise ClusterError("no Docker of ours runs: make kind")
    spaces = Path(f"/proc/{holder.pid}/ns")
    names = {"mount": "mnt", "net": "net", "pid": "pid_for_children"}
    return ["nsenter", *(f"--{option}={spaces / name}" for option, name in names.items()), f"--wd={Path.cwd()}", "--"]


def environment() -> dict[str, str]:
    """The environment of a command that finds this daemon, its programs and the kubeconfig of its clusters."""
    return {
        "DOCKER_HOST": f"unix://{_socket()}",
        "KUBECONFIG": str(state() / "kubeconfig"),
        "PATH": os.pathsep.join([*map(str, programs.folders()), os.environ.get("PATH", os.defpath)]),
    }


def docker(*words: str | Path, env: Mapping[str, str] | None = None) -> str:
    """Ask the daemon."""
    return commands.run("docker", *words, env={**environment(), **(env or {})})


def _answers() -> bool:
    try:
        return bool(docker("version", "--format={{.Server.Version}}"))
    except ClusterError:
        return False


def _processes() -> Processes:
    return Processes(state() / "processes", state() / "logs")


def _settings() -> Path:
    return state() / "sysctls.json"


def _socket() -> Path:
    return state() / "docker.sock"
