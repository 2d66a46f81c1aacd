"""Models of the official images under the real kubelet, as suggested: they start as that user and write to their volumes.

The policy assigns each root image the uid that its layers show. Its volumes are new persistent ones, which are root's until
the kubelet gives them to the fsGroup.
"""

import asyncio
import secrets
from typing import Any

import pytest

from tests.conformance import images, runner
from tests.conformance.cluster import Api
from tests.conformance.test_privileges import injected, pod, terminated
from tests.support.official_images import MODELS, Model, busybox
from tests.support.pods import effective_policy
from webhook.check.surveying import Surveying
from webhook.registry.client import RegistryClient
from webhook.registry.settings import RegistrySettings

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

RUNNABLE = [model for model in MODELS if model.suggested is None or model.suggested.sure]
ASSIGN = effective_policy(rootImages="Assign", assign={"uid": "FromImage", "images": ["*"]})

Json = dict[str, Any]


async def schedulable(api: Api) -> str:
    """The name of a node that takes any Pod."""
    nodes = (await api.call("GET", "/api/v1/nodes"))["items"]
    return str(next(each["metadata"]["name"] for each in nodes if not each["spec"].get("taints")))


def volumes(model: Model, root: str, node: str) -> tuple[list[Json], list[Json]]:
    """The local PersistentVolumes of the image's volumes and their claims; of folders of the node."""
    made: list[Json] = []
    claims: list[Json] = []
    hostname = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    there = {"nodeSelectorTerms": [{"matchExpressions": [hostname]}]}
    for number, _ in enumerate(model.volumes):
        name = f"{root}-{model.name}-{number}"
        common = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
        local = {"local": {"path": f"/tmp/{name}"}, "nodeAffinity": {"required": there}}  # noqa: S108 - of the node
        spec = {**common, **local, "capacity": {"storage": "1Mi"}, "persistentVolumeReclaimPolicy": "Retain"}
        made.append({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec})
        wanted = {**common, "volumeName": name, "resources": {"requests": {"storage": "1Mi"}}}
        claims.append({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": wanted})
    return made, claims


async def prepare(api: Api, namespace: str, node: str, image: str, names: list[str]) -> None:
    """Make the folders on the node: the kubelet makes them root's, mode 0755."""
    body = pod(image)
    spec = body["spec"]
    spec["nodeName"] = node
    spec["volumes"] = [
        {"name": f"v{number}", "hostPath": {"path": f"/tmp/{name}", "type": "DirectoryOrCreate"}}  # noqa: S108
        for number, name in enumerate(names)
    ]
    (container,) = spec["containers"]
    container["volumeMounts"] = [{"name": f"v{number}", "mountPath": f"/v{number}"} for number in range(len(names))]
    container["command"] = ["/bin/busybox", "true"]
    assert (await terminated(api, namespace, body))["exitCode"] == 0


async def test_they_run_as_suggested_and_write_to_their_volumes(api: Api, registry: str) -> None:
    base = busybox(images.BUSYBOX)
    contents = {model.name: model.content(base, images.ARCHITECTURE) for model in RUNNABLE}
    await images.push(registry, contents.values())
    namespace, node, root = await runner.namespace(api), await schedulable(api), f"official-{secrets.token_hex(4)}"
    client = RegistryClient(RegistrySettings(insecure=frozenset({registry})))
    stored = {model.name: volumes(model, root, node) for model in RUNNABLE}
    persistent = [each for made, _ in stored.values() for each in made]
    try:
        names = [each["metadata"]["name"] for each in persistent]
        await prepare(api, namespace, node, images.reference(registry, contents["python"]), names)
        for each in persistent:
            await api.call("POST", "/api/v1/persistentvolumes", each)

        async def run(model: Model) -> tuple[str, Json, Json]:
            body = pod(images.reference(registry, contents[model.name]))
            (container,) = body["spec"]["containers"]
            _, claims = stored[model.name]
            for claim in claims:
                await api.call("POST", f"/api/v1/namespaces/{namespace}/persistentvolumeclaims", claim)
            body["spec"]["volumes"] = [
                {"name": f"v{number}", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}
                for number, claim in enumerate(claims)
            ]
            container["volumeMounts"] = [
                {"name": f"v{number}", "mountPath": path} for number, path in enumerate(model.volumes)
            ]
            if model.suggested is None and model.volumes:
                body["spec"]["securityContext"] = {"fsGroup": 2000}  # nothing is assigned to it, and nothing of ours
            patched = await injected(body, Surveying(client), ASSIGN)
            return model.name, patched["spec"], await terminated(api, namespace, patched)

        found = {name: (spec, over) for name, spec, over in await asyncio.gather(*map(run, RUNNABLE))}
    finally:
        await client.aclose()
        await api.call("DELETE", f"/api/v1/namespaces/{namespace}")
        for each in persistent:
            await api.call("DELETE", f"/api/v1/persistentvolumes/{each['metadata']['name']}")
    assert {name: over["exitCode"] for name, (_, over) in found.items()} == dict.fromkeys(found, 0), found
    for model in RUNNABLE:
        spec, over = found[model.name]
        if model.suggested is not None:
            wanted = model.suggested
            uid, gid = (line.split()[1] for line in over["message"].splitlines())
            assert (int(uid), int(gid)) == (wanted.uid, wanted.gid), model.name
            assert spec["securityContext"]["fsGroup"] == wanted.fs_group, model.name
