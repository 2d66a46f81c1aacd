"""Our own image: passes our own checks, is small, says how it is, and serves soon after its start."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e.conftest import product, target
from tests.e2e.target import Target
from tests.images.build import ROOT, Pushed, build_product, default_cache, in_image

__all__ = ["product", "target"]

MEGABYTES = 120  # compressed, as a node pulls it
# Run by the image's own Python: from starting the image's own program to the first answer of its health check.
STOPWATCH = """
import resource, subprocess, time, urllib.request
began = time.monotonic()
server = subprocess.Popen(["nonroot", "serve", "--standalone", "--self-signed", "--port", "0", "--metrics-port", "18080"])
while True:
    try:
        urllib.request.urlopen("http://127.0.0.1:18080/readyz", timeout=1)
        break
    except OSError:
        time.sleep(0.005)
took = time.monotonic() - began
server.terminate()
server.wait()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{took:.2f} s, of CPU {used.ru_utime + used.ru_stime:.2f} s")
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
def test_a_node_pulls_little(product: Pushed) -> None:
    print(f"\nour image, compressed: {product.compressed / 1e6:.1f} MB")
    assert product.compressed < MEGABYTES * 1e6


@pytest.mark.e2e
def test_it_serves_from_a_root_that_it_cannot_write(product: Pushed) -> None:
    """As uid 65532, which owns nothing in it; how soon is printed."""
    reference = build_product().reference
    done = in_image(default_cache(), reference, "python", "-I", "-c", STOPWATCH)
    assert done.returncode == 0, done.stderr
    print(f"\nour image, start to ready: {done.stdout.splitlines()[-1]}")
    owned = in_image(default_cache(), reference, "python", "-I", "-c", OWNED)
    assert owned.stdout.split() == []


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
