"""nonroot scan reads images from a registry."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from deploy.dev.oci import accounts_layer, image
from deploy.dev.registry import Login, Registry
from tests.support.made_up_cluster import named
from tests.support.pods import Object, minimal, tweak
from tests.unit.cli.test_scan import reachable, scan
from tests.unit.scan.test_run import PODS, cluster_of

SECRETS = "/api/v1/secrets"


def secret(host: str, password: str) -> Object:
    login = {"auths": {host: {"auth": base64.b64encode(f"user:{password}".encode()).decode()}}}
    data = {".dockerconfigjson": base64.b64encode(json.dumps(login).encode()).decode()}
    metadata = {"name": "pull", "namespace": "default"}
    return {"metadata": metadata, "type": "kubernetes.io/dockerconfigjson", "data": data}


@pytest.mark.parametrize(
    ("password", "forbidden", "outcome", "words"),
    [
        ("right", False, "fixed", ""),
        ("wrong", False, "unknown", "unauthorized"),
        ("right", True, "unknown", "the pull secret default/pull is forbidden: scan with a kubeconfig that may get"),
    ],
)
async def test_an_image_is_read_with_the_pull_secrets_of_its_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str, forbidden: bool, outcome: str, words: str
) -> None:
    """By the same kubeconfig; where it may not read Secrets that is not known, and which one is said. No password is."""
    async with Registry(Login({"user": "right"})) as registry:
        registry.push("team/app:1", image(accounts_layer("app:x:77:77::/:/bin/sh"), user="app"))
        paths: dict[str, Any] = {
            "spec.containers.0.image": f"{registry.host}/team/app:1",
            "spec.imagePullSecrets.0.name": "pull",
        }
        api = cluster_of(pods=[named(tweak(minimal(), paths), "web")], deployments=[])
        api.objects[SECRETS] = [secret(registry.host, password)]
        api.forbidden = {"/api/v1/namespaces/default/secrets/pull"} if forbidden else set()
        async with reachable(api, tmp_path, monkeypatch):
            result = await asyncio.to_thread(scan, "-o", "json", "--insecure-registry", registry.host)
    (container,) = json.loads(result.output)["workloads"][0]["containers"]
    assert (container["outcome"], container["uid"]) == (outcome, 77 if outcome == "fixed" else None)
    assert words in json.dumps(container["findings"])
    assert password not in result.output
    assert f"GET {PODS}" in api.asked
