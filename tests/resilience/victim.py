"""A `nonroot serve` of our own, watched from outside while it is attacked: what it costs, and what others notice."""

import asyncio
import base64
import contextlib
import io
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Literal

import aiohttp

from tests.resilience.figures import Attack, record
from tests.support.evaluation import apply
from tests.support.pods import minimal, tweak
from tests.unit.server.test_asgi import review

MIB = 1024 * 1024
LIMIT = 512.0  # MiB: the chart's own memory limit for a replica
TICK = os.sysconf("SC_CLK_TCK")
POLICY = """
apiVersion: nonroot.dev/v1alpha1
kind: NonRootPolicy
metadata: {name: strict}
spec: {mode: Enforce}
"""


Streams = list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]


def head(size: int) -> bytes:
    """That of a review of so many bytes."""
    return (
        f"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"
    ).encode()


class Victim:
    """The process, its two ports, what it says, and a session that sends it reviews."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, ports: tuple[int, int]) -> None:
        self.process = process
        self.log = log
        self.port, self.metrics_port = ports
        self.tls = ssl.create_default_context()
        self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self.tls, limit=0))

    def hook(self, path: str, policy: str) -> dict[str, Any]:
        """A webhook of a configuration, for the creation of Pods, that leads here past any Service."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/ca.crt", timeout=5) as reply:
            bundle = base64.b64encode(reply.read()).decode()
        return {
            "name": f"{path}.nonroot.dev",
            "clientConfig": {"url": f"https://127.0.0.1:{self.port}/{path}", "caBundle": bundle},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            "failurePolicy": policy,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 5,
        }

    def configuration(self, kind: Literal["Mutating", "Validating"], name: str, **hook: Any) -> dict[str, Any]:
        """A webhook configuration of one hook, as `hook` makes it, which is then changed."""
        path, policy = {"Mutating": ("mutate", "Ignore"), "Validating": ("validate", "Fail")}[kind]
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": f"{kind}WebhookConfiguration",
            "metadata": {"name": name},
            "webhooks": [{**self.hook(path, policy), **hook}],
        }

    async def connected(self, number: int, *, tls: bool = True) -> Streams:
        """So many connections to the port for reviews, a multiple of 50."""
        context: ssl.SSLContext | None = self.tls if tls else None
        found: Streams = []
        for _ in range(0, number, 50):
            found += await asyncio.gather(
                *(asyncio.open_connection("127.0.0.1", self.port, ssl=context) for _ in range(50))
            )
        return found

    async def review(self, body: bytes, path: str = "/validate", seconds: float = 30) -> tuple[int, dict[str, Any]]:
        """The status and answer to one review; an answer that is no JSON is `{"text": …}`."""
        address = f"https://127.0.0.1:{self.port}{path}?timeout=5s"
        limit = aiohttp.ClientTimeout(total=seconds)
        headers = {"Content-Type": "application/json"}
        async with self.session.post(address, data=io.BytesIO(body), headers=headers, timeout=limit) as reply:
            text = await reply.text()
            return reply.status, json.loads(text) if reply.status == 200 else {"text": text}

    async def ask(self, image: str, path: str = "/validate") -> dict[str, Any]:
        """The response to a Pod of one container with that image; /validate sees what /mutate has made of it."""
        pod = tweak(minimal(), {"spec.containers.0.image": image})
        response: dict[str, Any] = (await self.review(review(pod), "/mutate"))[1]["response"]
        if path == "/mutate" or not response["allowed"]:
            return response
        pod = apply(pod, json.loads(base64.b64decode(response.get("patch", "W10="))))
        validated: dict[str, Any] = (await self.review(review(pod), path))[1]["response"]
        return validated

    async def ask_as(self, image: str, uid: int) -> dict[str, Any]:
        """The response to the same Pod with `runAsUser`."""
        pod = tweak(minimal(), {"spec.containers.0.image": image, "spec.containers.0.securityContext.runAsUser": uid})
        _, answer = await self.review(review(pod))
        response: dict[str, Any] = answer["response"]
        return response

    @property
    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self, field: str = "VmRSS") -> float:
        """MiB resident now, or with VmHWM at most since `forget`."""
        (line,) = (
            each
            for each in Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
            if each.startswith(f"{field}:")
        )
        return int(line.split()[1]) / 1024

    def forget(self) -> None:
        """Begin a new maximum of memory."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    @property
    def files(self) -> int:
        """Open file descriptors."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    @contextlib.asynccontextmanager
    async def attacked(self, name: str) -> AsyncIterator[list[str]]:
        """Measure an attack and record it: its answer is what is put into the list. Honest reviews must go on meanwhile."""
        answers: list[str] = []
        command = [sys.executable, "-m", "tests.resilience.honest", str(self.port)]
        honest = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert honest.stdout is not None
        assert await honest.stdout.readline()  # it has had its first answer
        self.forget()
        began, cpu = time.monotonic(), self.cpu
        try:
            yield answers
        finally:
            seconds, cpu = time.monotonic() - began, self.cpu - cpu
            slowest, _ = await honest.communicate(b"")
        peak = self.memory("VmHWM")
        record(
            Attack(name, "; ".join(answers), round(seconds, 2), round(cpu, 2), round(peak), round(float(slowest), 2))
        )
        assert self.process.poll() is None, "it died"
        assert peak < LIMIT, f"{peak:.0f} MiB: a replica would have been killed"


def result(response: Mapping[str, Any]) -> str:
    """What a response says, whichever it is; never allowed without a word."""
    if response["allowed"]:
        return f"allowed; {'; '.join(response['warnings'])}"
    message: str = response["status"]["message"]
    return f"{response['status']['code']} {message}"


@contextlib.asynccontextmanager
async def serving(
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    wrapper: tuple[str, ...] = (),
    program: tuple[str, ...] = ("webhook",),
    standalone: bool = True,
) -> AsyncIterator[Victim]:
    """A server until the end of the `with`: it enforces everywhere, unless it is one of a cluster, which KUBECONFIG names.

    Another `program` may stand for nonroot.
    """
    command = [*wrapper, sys.executable, "-m", *program, "serve", "--self-signed"]
    if standalone:
        (folder / "policy.yaml").write_text(POLICY)
        command += ["--standalone", f"--policy={folder / 'policy.yaml'}"]
    process, log = _start(folder, [*command, "--port=0", "--metrics-port=0", *arguments], environment or {})
    try:
        victim = Victim(process, log, await asyncio.to_thread(_ports, process, log))
        async with victim.session:
            yield victim
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start(folder: Path, command: list[str], environment: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], Path]:
    log = folder / "log"
    with log.open("wb") as output:
        return subprocess.Popen(command, stderr=output, env={**os.environ, **environment}), log


def _ports(process: subprocess.Popen[bytes], log: Path) -> tuple[int, int]:
    deadline = time.monotonic() + 120  # the long form starts ten of them at once
    while time.monotonic() < deadline and process.poll() is None:
        found = re.findall(r"at https?://\S+:(\d+)$", log.read_text(), re.MULTILINE)
        if len(found) == 2:
            return int(found[0]), int(found[1])
        time.sleep(0.05)
    raise AssertionError(f"it did not start: {log.read_text()}")
