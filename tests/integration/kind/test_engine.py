"""Docker in namespaces of its own: what it reaches, and what it leaves behind."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.kind import engine, offline
from tests.support.layouts import folder, oci_files
from tests.unit.check.test_inspection import APP

pytestmark = pytest.mark.timeout(900)

# What a kubelet sets (k8s.io/component-helpers, node/util/sysctl), and another value, where the machine has that already.
KUBELET = {"kernel/panic": ("10", "11"), "kernel/panic_on_oops": ("1", "0"), "vm/overcommit_memory": ("1", "0")}
CONNECT = """\
import socket
socket.create_connection(("192.0.2.1", 443), timeout=10)
"""


def _inside(*words: str) -> subprocess.CompletedProcess[str]:
    command, environment = offline.command(words)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.usefixtures("docker")
def test_nothing_leaves_the_machine() -> None:
    """Its only interfaces are its own, a packet to anywhere else has no route, and a name has no answer."""
    names = {line.split(":")[1].strip().partition("@")[0] for line in _inside("ip", "-o", "link").stdout.splitlines()}
    assert {name for name in names if not name.startswith(("veth", "br-"))} == {"lo", "docker0"}
    assert "OSError: [Errno 113] No route to host" in _inside("python3", "-c", CONNECT).stderr
    assert _inside("getent", "hosts", "registry.example").returncode != 0


@pytest.mark.usefixtures("docker")
@pytest.mark.skipif(not shutil.which("skopeo"), reason="needs skopeo, which writes what Docker loads")
def test_what_docker_saves_and_keeps_is_inspected(tmp_path: Path) -> None:
    """The archive of `docker save`, and the image in the store of the Docker that answers beside us."""
    name, source, loaded, saved = "team/app:1", tmp_path / "from", tmp_path / "loaded.tar", tmp_path / "saved.tar"
    folder(source, oci_files({"": APP}))
    target = f"docker-archive:{loaded}:{name}"
    subprocess.run(["skopeo", "copy", "--insecure-policy", "-q", f"oci:{source}", target], check=True)
    for words in (("load", "--input", str(loaded)), ("save", "--output", str(saved), name)):
        done = _inside("docker", *words)
        assert not done.returncode, done.stderr
    for reference in (f"docker-archive:{saved}", f"docker-archive:{saved}:{name}", f"docker-daemon:{name}"):
        done = _inside(sys.executable, "-m", "webhook", "inspect", reference, "-o", "json")
        assert not done.returncode, done.stderr
        assert [each["uid"] for each in json.loads(done.stdout)["platforms"]] == [1500]


def test_the_machine_is_as_before(docker: None) -> None:
    """What a kubelet sets, as it would, is put back; no process, control group or setting is left."""
    del docker
    engine.stop()
    settings = {name: Path("/proc/sys", name).read_text() for name in KUBELET}
    engine.start()
    holder = engine.running()
    assert holder is not None
    namespace = Path(f"/proc/{holder.pid}/ns/net").readlink()
    assert namespace != Path("/proc/self/ns/net").readlink()
    for name, values in KUBELET.items():
        Path("/proc/sys", name).write_text(next(value for value in values if value != settings[name].strip()))
    engine.stop()
    assert {name: Path("/proc/sys", name).read_text() for name in settings} == settings
    assert not [each for each in Path("/proc").glob("[0-9]*/ns/net") if _links_to(each, namespace)]
    assert not list(engine.CONTROL_GROUPS.glob(f"*/{engine.PARENT}"))
    assert not engine.left()


def _links_to(path: Path, target: Path) -> bool:
    try:
        return path.readlink() == target
    except OSError:  # the process has ended
        return False
