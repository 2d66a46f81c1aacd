"""What a process of each command loads, and what it does not."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.check.files import POD

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("module", ["webhook.cli.main", "webhook.server.server"])
def test_the_fast_path_never_loads_what_is_slow(module: str) -> None:
    """Half a second and 60 MiB that neither the command line nor a standalone server needs."""
    program = f"import {module}, sys; print(*sorted({{'kopf', 'kubernetes'}} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=ROOT)
    assert loaded.stdout.split() == []


def test_nothing_that_needs_no_cluster_imports_kopf_or_kubernetes() -> None:
    endpoints = "webhook.cli.main, webhook.cli.scan, webhook.cli.policy, webhook.server.server, webhook.controller"
    pure = "webhook.policy.cache, webhook.server.certificates, webhook.policy.crd"
    check = f"import sys, {endpoints}, {pure}; sys.exit(str({{'kopf', 'kubernetes'}} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize("command", [["--version"], ["explain"], ["check", "-", "--no-images"]])
def test_the_command_line_loads_nothing_of_a_cluster_or_a_server(command: list[str]) -> None:
    """Half a second that nobody who checks a file should wait for."""
    slow = {"kubernetes", "kopf", "fastapi", "uvicorn", "aiohttp", "cryptography", "ruamel.yaml"}
    program = (
        f"import sys, atexit; sys.argv = ['nonroot', *{command!r}]\n"
        f"atexit.register(lambda: print(*sorted({slow!r} & set(sys.modules)), file=sys.stderr))\n"
        "from webhook.cli.main import main; main()"
    )
    result = subprocess.run([sys.executable, "-c", program], input=POD, capture_output=True, text=True, check=False)
    assert result.stderr.split() == []


def test_without_the_identity_api_nothing_of_it_or_of_a_cluster_is_imported() -> None:
    """Each import is memory of every replica of the server, and time until it is ready."""
    program = (
        "import sys, webhook.server.server; "
        "print(*{'fastapi', 'pydantic', 'kubernetes', 'kopf', 'webhook.identity_api'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_of_the_kubernetes_client_only_what_speaks_asyncio_is_imported() -> None:
    program = (
        "import sys, webhook.cluster.client; "
        "print(*{'kubernetes.client', 'kubernetes.dynamic', 'requests', 'oauthlib', 'urllib3', 'pydantic'} & set(sys.modules)); "
        "from kubernetes.config import load_kube_config; import kubernetes.client; kubernetes.client.CoreV1Api; "
        "from kubernetes.aio.client import ApiClient; ApiClient.call_api"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
