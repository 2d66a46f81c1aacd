"""Start the server, send it Pods, print what became of each; exit 0 only when every answer is the expected one.

Without arguments: one Pod for each example image, served by a registry in this process. With manifest files: the workloads
in them, with images from wherever they name.
"""

import asyncio
import os
import re
import signal
import ssl
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from deploy.demo.images import EXAMPLES
from deploy.demo.reviews import KINDS, admit, pod
from deploy.demo.rows import Row, shown
from deploy.dev.registry import Registry

POLICY = Path(__file__).with_name("policy.yaml")
START_LIMIT = 20.0  # seconds
_LISTENING = re.compile(r"(reviews|probes and metrics) at (https?://\S+)")


async def main(files: list[str]) -> int:
    """Run the demonstration; the exit code."""
    console = Console(width=None if sys.stdout.isatty() else int(os.environ.get("COLUMNS", "80")))
    async with Registry() as registry:
        for example in EXAMPLES:
            registry.push(f"demo/{example.name}:1", example.content)
        async with _server(registry.host) as (server, trust):
            if files:
                documents = [document for name in files for document in _read(Path(name))]
                rows = [Row(each, await asyncio.to_thread(admit, each, server, trust)) for each in documents]
            else:
                rows = [await _try(registry.host, index, server, trust) for index in range(len(EXAMPLES))]
    console.print(shown(rows, console.width))
    for row in rows:
        result = row.answer.validated.get("status", {}).get("message") or "; ".join(
            row.answer.validated.get("warnings", [])
        )
        if result:
            console.print(f"[bold]{escape(row.document['metadata'].get('name', ''))}[/]: {escape(result)}")
    wrong = [row for row in rows if row.expected is False]
    if wrong:
        console.print(f"[red]{len(wrong)} of {len(rows)} answers are not the expected ones[/]")
    elif not files:
        console.print(f"All {len(rows)} answers are the expected ones.")
    return 1 if wrong else 0


async def _try(registry: str, index: int, server: str, trust: ssl.SSLContext) -> Row:
    example = EXAMPLES[index]
    document = pod(example.name, f"{registry}/demo/{example.name}:1")
    answer = await asyncio.to_thread(admit, document, server, trust)
    context = answer.object["spec"]["containers"][0].get("securityContext", {})
    if example.uid is None:
        right = not answer.validated["allowed"] and answer.validated["status"]["code"] == 403
    else:
        right = answer.validated["allowed"] and context.get("runAsUser") == example.uid
    return Row(document, answer, example.dockerfile, right)


def _read(path: Path) -> list[dict[str, Any]]:
    """The workloads in a manifest file; whatever else it holds is left out."""
    try:
        documents = list(YAML(typ="safe", pure=True).load_all(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise SystemExit(f"cannot read {path}: {' '.join(str(error).split())}") from None
    found = [each for each in documents if isinstance(each, dict) and each.get("kind") in KINDS]
    if not found:
        raise SystemExit(f"{path} holds no Pod and no workload with a Pod template")
    for each in found:
        each.setdefault("metadata", {}).setdefault("namespace", "default")
    return found


@asynccontextmanager
async def _server(insecure: str) -> AsyncIterator[tuple[str, ssl.SSLContext]]:
    """The real server in a process of its own, on free ports, with a CA that we then verify it by."""
    command = ("serve", "--standalone", "--self-signed", "--policy", str(POLICY), "--port", "0", "--metrics-port", "0")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "webhook", *command, "--insecure-registry", insecure, stderr=asyncio.subprocess.PIPE
    )
    log: list[str] = []
    try:
        async with asyncio.timeout(START_LIMIT):
            addresses = await _addresses(process, log)
        ca = await asyncio.to_thread(_get, addresses["probes and metrics"] + "/ca.crt")
        draining = asyncio.create_task(_drain(process, log))
        yield addresses["reviews"], ssl.create_default_context(cadata=ca.decode())
        process.send_signal(signal.SIGTERM)
        await process.wait()
        await draining
    except (TimeoutError, OSError) as error:  # urllib's errors are OSErrors
        raise SystemExit(f"the server failed: {error or 'no answer in time'}\n" + "".join(log[-40:])) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _addresses(process: asyncio.subprocess.Process, log: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    while len(found) < 2:
        line = (await process.stderr.readline()).decode()  # type: ignore[union-attr]  # it is a pipe
        if not line:
            raise SystemExit("the server did not start:\n" + "".join(log))
        log.append(line)
        match = _LISTENING.search(line)
        if match:
            found[match[1]] = match[2]
    return found


async def _drain(process: asyncio.subprocess.Process, log: list[str]) -> None:
    log.extend([line.decode() async for line in process.stderr])  # type: ignore[union-attr]  # it is a pipe


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as reply:  # the address that our own server told
        data: bytes = reply.read()
    return data


sys.exit(asyncio.run(main(sys.argv[1:])))
