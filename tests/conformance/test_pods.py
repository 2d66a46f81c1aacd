"""What belongs to a whole Pod and not to one container, each asked of the real kubelet once."""

import asyncio
from typing import Any

import pytest

from tests.conformance import images, ours
from tests.conformance.cluster import Api
from tests.conformance.matrix import Cell
from tests.conformance.runner import BatchRunner

pytestmark = pytest.mark.e2e
POD_SECONDS = 120
APP = Cell("app", "found")


async def _create(batch_runner: BatchRunner, pod: dict[str, Any]) -> str:
    """The path of the Pod made."""
    pods = f"/api/v1/namespaces/{batch_runner.namespace}/pods"
    return f"{pods}/{(await batch_runner.api.call('POST', pods, pod))['metadata']['name']}"


async def _messages(api: Api, path: str) -> list[str]:
    """What the containers of a Pod left behind, once all have ended."""
    for _ in range(POD_SECONDS):
        statuses = (await api.call("GET", path))["status"].get("containerStatuses", [])
        ended = [each["state"].get("terminated") for each in statuses]
        if ended and all(ended):
            return [each.get("message", "") for each in ended]
        await asyncio.sleep(1)
    raise AssertionError(f"{path}: containers have not ended within {POD_SECONDS} s")


async def test_injection_makes_token_files_private_and_says_so(batch_runner: BatchRunner, registry: str) -> None:
    """Two containers of one image: their token is everybody's to read until both have the same runAsUser."""
    await images.push(registry, [images.content(APP.user, APP.files)])
    reference = batch_runner.image(APP)
    look = ["/bin/busybox", "sh", "-c", "exec /bin/busybox stat -Lc '%a %u' /token/token >/dev/termination-log"]
    mounts = [{"name": "token", "mountPath": "/token"}]
    pod: dict[str, Any] = {
        "metadata": {"generateName": "token-"},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "containers": [
                {"name": name, "image": reference, "command": look, "volumeMounts": mounts} for name in ("one", "two")
            ],
            "volumes": [
                {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            ],
        },
    }
    table = ours.Table({reference: ours.image(APP.user, APP.files)})
    notes = [found.rule for found in (await ours.verdict(ours.workload(pod), table)).findings]
    assert notes == ["token-file-mode"]
    before = await _create(batch_runner, pod)
    after = await _create(batch_runner, await ours.patched(pod, table))
    assert await _messages(batch_runner.api, before) == ["644 0\n"] * 2
    assert await _messages(batch_runner.api, after) == ["600 1500\n"] * 2


async def test_a_pods_group_without_its_user_gets_no_sandbox(batch_runner: BatchRunner) -> None:
    """Why such cells are not in the matrix: the Pod's own user and group are also its sandbox's, and CRI wants both."""
    pod = {
        "metadata": {"generateName": "sandbox-"},
        "spec": {
            "securityContext": {"runAsGroup": 1800},
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "app", "image": batch_runner.bystander, "securityContext": {"runAsUser": 1500}}],
        },
    }
    path = await _create(batch_runner, pod)
    selector = f"involvedObject.name={path.rpartition('/')[2]},reason=FailedCreatePodSandBox"
    events = f"/api/v1/namespaces/{batch_runner.namespace}/events?fieldSelector={selector}"
    for _ in range(POD_SECONDS):
        said = [event["message"] for event in (await batch_runner.api.call("GET", events))["items"]]
        if said:
            assert 'user group "1800" is specified without user' in said[0]
            return
        await asyncio.sleep(1)
    raise AssertionError(f"{path}: no event within {POD_SECONDS} s")
