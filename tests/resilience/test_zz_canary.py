"""A password that opens an image is searched for everywhere that it has no business to be."""

import asyncio
import base64
import json
import re
import secrets
import urllib.request
from pathlib import Path

import pytest

from deploy.dev.oci import image
from deploy.dev.registry import Login, Registry
from deploy.release import NAMESPACE
from tests.conformance.cluster import connect
from tests.e2e.target import Target
from tests.resilience.conftest import UID, app, long
from tests.resilience.figures import Fact, record
from tests.resilience.replicas import ADMISSION, CONTROLLER, Replica, whole
from tests.resilience.traffic import Kind, Traffic

pytestmark = [pytest.mark.survive, pytest.mark.timeout(300)]


@long
async def test_a_pull_secret_is_nowhere_but_in_its_secret(
    installed: Target, namespaces: tuple[str, str], tmp_path: Path
) -> None:
    """Not in an answer, a log, a metric, an Event or any other object; in a replica's memory only for a while."""
    canary = f"canary-{secrets.token_hex(16)}"
    enforced = namespaces[0]
    async with Registry(address=installed.registry.rpartition(":")[0]) as registry:
        registry.push("private/app:1", app())
        registry.push("private/root:1", image(user="root"))
        registry.login = Login({"canary": canary}, scheme="Basic")
        config = {"auths": {registry.host: {"username": "canary", "password": canary}}}
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "canary"},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": json.dumps(config)},
        }
        await asyncio.to_thread(installed.apply, secret, namespace=enforced)
        image_of = f"{registry.host}/private"
        kinds = [
            Kind("opened", enforced, f"{image_of}/app:1", "patched", UID, pull_secret="canary"),
            Kind("opened-root", enforced, f"{image_of}/root:1", "refused", pull_secret="canary"),
            Kind("shut", enforced, f"{image_of}/app:1", "verified"),
        ]
        async with connect(installed.environment, tmp_path) as api:
            traffic = Traffic(api.session, kinds)
            for _ in range(10):
                for kind in kinds:
                    await traffic.one(kind)
            assert not traffic.tally.wrong, traffic.tally
            registry.login = Login({"canary": "another"}, scheme="Basic")  # errors, too
            for kind in kinds[:2]:
                await traffic.one(kind)
        assert any(each.authorization for each in registry.requests)
    ours = [*whole(installed, ADMISSION), *whole(installed, CONTROLLER)]
    found = await asyncio.to_thread(_everything, installed, ours)
    needles = (canary, base64.b64encode(f"canary:{canary}".encode()).decode())
    for place, text in found.items():
        assert not [needle for needle in needles if needle in text], place
    held = {each.pod: _held(each, canary.encode()) for each in ours}
    assert all(_held(each, b"nonroot") for each in ours)  # what is there is found
    record(
        Fact(
            "a canary password",
            f"in none of {', '.join(found)}; copies in the memory of replicas and controller (what a core dump would hold) "
            f"after the last use: {list(held.values())}",
        )
    )
    assert held[ours[-1].pod] == 0  # the controller never read it


def _everything(target: Target, ours: list[Replica]) -> dict[str, str]:
    """What anybody could read, by where."""
    kinds = target.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    readable = ",".join(each for each in kinds if each != "secrets")
    return {
        "logs": "".join(target.kubectl("logs", "--namespace", NAMESPACE, each.pod) for each in ours),
        "metrics": "".join(_read(f"http://{each.address}:8080/metrics") for each in ours),
        "objects of every kind but Secret, Events and reports among them": target.kubectl(
            "get", readable, "-A", "-o", "json"
        ),
    }


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as reply:
        text: str = reply.read().decode()
    return text


def _held(replica: Replica, needle: bytes) -> int:
    """How often it is in the writable memory of the process."""
    count = 0
    maps = Path(f"/proc/{replica.pid}/maps").read_text().splitlines()
    with Path(f"/proc/{replica.pid}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            if (place := re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)) and "[v" not in line:
                first, last = (int(each, 16) for each in place.groups())
                memory.seek(first)
                try:
                    count += memory.read(last - first).count(needle)
                except OSError:
                    continue
    return count
