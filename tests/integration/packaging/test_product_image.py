"""Our own image: passes our own checks, is small, says how it is, and serves soon after its start."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from deploy.dev.images.build import ROOT, Pushed, build_product, default_cache, in_image
from deploy.release import CHART
from tests.e2e.conftest import namespace, product, target
from tests.e2e.target import Target, eventually

__all__ = ["namespace", "product", "target"]

MEGABYTES = 70  # compressed, as a node pulls it
# Run by the image's own Python as process 1 of a container: from that one's start to the first time that it is ready.
STOPWATCH = """
import os, resource, subprocess, time, urllib.request
ticks = float(open("/proc/1/stat").read().rpartition(")")[2].split()[19])
began = ticks / os.sysconf("SC_CLK_TCK")
server = subprocess.Popen(["nonroot", "serve", "--standalone", "--self-signed", "--port", "0", "--metrics-port", "18080"])
while server.poll() is None:
    try:
        urllib.request.urlopen("http://127.0.0.1:18080/readyz", timeout=1)
        break
    except OSError:
        time.sleep(0.005)
else:
    raise SystemExit("it ended before it was ready")
took = time.clock_gettime(time.CLOCK_BOOTTIME) - began
server.terminate()
server.wait()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{took:.2f} s, of CPU {used.ru_utime + used.ru_stime:.2f} s, at a load of {os.getloadavg()[0]:.1f}")
"""


def _nonroot(*words: str) -> tuple[int, Any]:
    """What our command line says, as JSON, and its exit code."""
    command = [sys.executable, "-m", "webhook", *words, "--output", "json"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout)


def test_our_dockerfile_passes_our_own_check() -> None:
    code, said = _nonroot("check", "Dockerfile", "--no-images")
    assert (code, said["findings"]) == (0, [])
    assert said["files"][0]["user"] == "65532:65532"


@pytest.mark.e2e
def test_our_image_passes_our_own_inspection(target: Target, product: Pushed) -> None:
    code, said = _nonroot("inspect", product.pinned, "--insecure-registry", target.registry)
    assert code == 0
    (platform,) = said["platforms"]
    # Group 0, because the kubelet's runtimes take no group from an image; nothing in ours belongs to it alone.
    assert (platform["uid"], platform["gid"], platform["findings"]) == (65532, 0, [])


@pytest.mark.e2e
def test_the_table_passes_in_every_row(target: Target, product: Pushed) -> None:
    """The size too: the image's own manifest is weighed."""
    words = ["--image", product.pinned, "--insecure-registry", target.registry]
    code, said = _nonroot("check", "Dockerfile", "--table", *words)
    assert code == 0, said


@pytest.mark.e2e
def test_a_node_pulls_little(product: Pushed, record_property: Callable[[str, object], None]) -> None:
    record_property("our image, compressed", f"{product.compressed / 1e6:.1f} MB")
    assert product.compressed < MEGABYTES * 1e6


@pytest.mark.e2e
def test_it_serves_soon_from_a_root_that_it_cannot_write(
    target: Target, product: Pushed, namespace: str, record_property: Callable[[str, object], None]
) -> None:
    """In a container as the chart makes them; how soon is printed."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    container = {
        "name": "stopwatch",
        "image": product.pinned,
        "command": ["python", "-I", "-c", STOPWATCH],
        "resources": values["resources"],
        "securityContext": values["securityContext"],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  # of a container's own
    }
    spec = {
        "restartPolicy": "Never",
        "securityContext": values["podSecurityContext"],
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    target.namespace(namespace)
    target.apply(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stopwatch"}, "spec": spec}, namespace=namespace
    )

    def ended() -> str | None:
        (pod,) = target.get("pods", namespace)
        phase: str = pod["status"]["phase"]
        return phase if phase in ("Succeeded", "Failed") else None

    phase = eventually(ended, "the end of the Pod")
    said = target.kubectl("logs", "stopwatch", "-n", namespace)
    assert phase == "Succeeded", said
    record_property("our image, start of the container to ready", said.splitlines()[-1])


@pytest.mark.e2e
def test_it_owns_nothing_of_its_program(product: Pushed) -> None:
    """It runs as uid 65532, which could else change what it runs."""
    owned = in_image(default_cache(), build_product().reference, "python", "-I", "-c", OWNED)
    assert (owned.returncode, owned.stdout) == (0, "")


@pytest.mark.e2e
def test_what_was_cut_off_it_is_missed_by_nothing_that_it_runs(product: Pushed) -> None:
    """Neither by any module of ours and what that imports, nor by the loader of shared libraries."""
    loaded = in_image(default_cache(), build_product().reference, "python", "-I", "-c", LOADED)
    assert (loaded.returncode, loaded.stderr) == (0, "")
    modules, libraries = map(int, loaded.stdout.split())
    assert modules > 100
    assert libraries > 20


LOADED = """
import ctypes, importlib, pkgutil, site, sys, types, webhook
from pathlib import Path
names = [each.name for each in pkgutil.walk_packages(webhook.__path__, "webhook.") if not each.name.endswith("__main__")]
for name in names:
    importlib.import_module(name)
libraries = list(Path(site.getsitepackages()[0]).rglob("*.so*"))
for path in libraries:
    try:
        ctypes.CDLL(path)
    except OSError as error:
        if "libstdc++.so.6: cannot open" not in str(error):  # which the Debian made by hand has not: frozenlist does without
            raise
specs = [each.__spec__ for each in sys.modules.values() if isinstance(each, types.ModuleType) and each.__spec__]
uncompiled = [each.name for each in specs if each.cached and not Path(each.cached).exists()]
if uncompiled:
    raise SystemExit(f"without bytecode: {uncompiled}")
print(len(names), len(libraries))
"""


@pytest.mark.e2e
def test_the_command_line_in_it_reads_manifests_and_images(target: Target, product: Pushed) -> None:
    def nonroot(command: str) -> tuple[int, Any]:
        done = in_image(default_cache(), build_product().reference, "sh", "-c", command)
        return done.returncode, json.loads(done.stdout)

    code, said = nonroot(
        "printf 'FROM scratch\nUSER 0\n' >/tmp/Dockerfile; nonroot check /tmp/Dockerfile --output json"
    )
    assert (code, said["files"][0]["user"]) == (1, "0")
    code, said = nonroot(f"nonroot inspect {product.pinned} --insecure-registry {target.registry} --output json")
    assert (code, said["platforms"][0]["uid"]) == (0, 65532)


OWNED = """
import os
for folder, folders, files in os.walk("/opt/nonroot"):
    for name in [".", *folders, *files]:
        path = os.path.join(folder, name)
        if not os.path.islink(path) and os.access(path, os.W_OK):
            print(path)
"""


@pytest.mark.e2e
def test_nothing_in_it_makes_root_of_whoever_starts_it(product: Pushed) -> None:
    find = ["find", "/", "-xdev", "-type", "f", "-perm", "/6000"]
    found = in_image(default_cache(), build_product().reference, *find, user="0")
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.e2e
def test_it_says_how_it_is_to_plain_docker(target: Target, product: Pushed) -> None:
    """HEALTHCHECK is in the config that the registry serves, runs no shell, and its program is in the image."""
    raw = target.run(
        "skopeo", "inspect", "--config", "--raw", "--tls-verify=false", f"docker://{product.pinned}"
    ).stdout
    test = json.loads(raw)["config"]["Healthcheck"]["Test"]
    assert test[:2] == ["CMD", "python"]
    probe = in_image(default_cache(), build_product().reference, *test[1:])
    assert probe.returncode == 1  # nobody serves in this container, and it says so
    assert "URLError" in probe.stderr
