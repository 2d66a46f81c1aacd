"""nonroot inspect reads images from a registry."""

import asyncio
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.dev.oci import (
    index,
)
from deploy.dev.registry import Hang, Registry
from tests.support.layouts import folder, oci_files
from tests.unit.check.test_inspection import APP, ARM, LAYERED, _check_layers, inspect, inspected


async def test_a_registry_is_asked_and_the_cost_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests, bytes read, and what pulling would have cost; and a sentence for a person."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    async with Registry() as registry:
        registry.push("team/app:1", index(APP, ARM))
        arguments = (f"{registry.host}/team/app:1", "--insecure-registry", registry.host)
        code, result = await asyncio.to_thread(inspected, *arguments)
        text = (await asyncio.to_thread(inspect, *arguments))[1]
        registry.push("team/layered:1", LAYERED)
        layered = await asyncio.to_thread(
            inspected, f"{registry.host}/team/layered:1", "--insecure-registry", registry.host
        )
        missing = await asyncio.to_thread(inspect, f"{registry.host}/team/no:1", "--insecure-registry", registry.host)
    assert (code, [each["uid"] for each in result["platforms"]]) == (0, [1500, 1500])
    assert result["cost"]["requests"] >= 4
    assert result["cost"]["bytes_read"] > 0
    lines = text.splitlines()
    assert lines[1] == 'linux/amd64: USER "app", uid 1500, gid 1600, groups 1600 1700, home /home/app'
    assert lines[2].startswith("    with runAsNonRoot: refused: container has runAsNonRoot")
    assert lines[-1].endswith("bytes")
    _check_layers(layered[1]["platforms"][0])
    assert missing[0] == 3
    assert "could not be read: notFound" in missing[1]


async def test_a_second_look_costs_a_head_and_an_offline_one_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both say all that the first one said, the layers' word included; the last says how old that is."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    async with Registry() as registry:
        registry.push("team/layered:1", LAYERED)
        arguments = (f"{registry.host}/team/layered:1", "--insecure-registry", registry.host)
        (_, first), (_, second) = [await asyncio.to_thread(inspected, *arguments) for _ in range(2)]
    code, offline = await asyncio.to_thread(inspected, arguments[0], "--offline")
    assert first["cost"]["requests"] > 4
    assert second["cost"] == {"requests": 1, "bytes_read": 0, "bytes_image": first["cost"]["bytes_image"]}
    assert (code, offline["cost"]["requests"]) == (0, 0)
    assert first["platforms"] == second["platforms"]
    result = [
        {key: value for key, value in each["platforms"][0].items() if key != "findings"} for each in (first, offline)
    ]
    assert result[0] == result[1]
    assert ", as of " in offline["platforms"][0]["findings"][0]["message"]
    assert (first["age"], second["age"]) == (0, 0)
    assert offline["age"] > 0
    text = (await asyncio.to_thread(inspect, arguments[0], "--offline"))[1]
    assert re.search(r"  as of (\d+ s ago|just now)\n", text)
    unread = await asyncio.to_thread(inspect, arguments[0], "--offline", "--quick")
    assert (unread[0], "--offline asks no registry" in unread[1]) == (3, True)


async def test_a_terminal_shows_the_progress_of_a_long_look_up(tmp_path: Path) -> None:
    """On standard error, gone at the end; a pipe gets the answer and nothing else."""
    exemption = asyncio.Event()
    async with Registry() as registry:
        registry.push("team/app:1", APP)
        registry.lie(Hang(exemption), path="blobs")
        terminal, stderr = pty.openpty()
        command = [sys.executable, "-m", "webhook", "inspect", f"{registry.host}/team/app:1"]
        running = await asyncio.create_subprocess_exec(
            *(*command, "--insecure-registry", registry.host),
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)},
        )
        os.close(stderr)
        result = await asyncio.to_thread(os.read, terminal, 1000)
        exemption.set()
        out, _ = await running.communicate()
    assert b" MB in 3 requests" in result or b" MB in 2 requests" in result
    assert out.startswith(f"{registry.host}/team/app:1  sha256:".encode())
    rest = os.read(terminal, 10_000)
    assert rest.endswith(b"\r\x1b[K")
    os.close(terminal)


@pytest.mark.skipif(not shutil.which("skopeo"), reason="needs skopeo")
@pytest.mark.parametrize("transport", ["oci", "oci-archive", "docker-archive"])
def test_what_skopeo_writes_is_read(tmp_path: Path, transport: str) -> None:
    """The tools' own files, not only ours."""
    source = folder(tmp_path / "from", oci_files({"": APP}))
    target = f"{transport}:{tmp_path / 'to'}:{'team/app:1' if transport == 'docker-archive' else 'v1'}"
    subprocess.run(["skopeo", "copy", "--insecure-policy", "-q", f"oci:{source}", target], check=True, cwd=tmp_path)
    for reference in (target, f"{transport}:{tmp_path / 'to'}"):
        code, result = inspected(reference)
        assert (code, [each["uid"] for each in result["platforms"]]) == (0, [1500])
