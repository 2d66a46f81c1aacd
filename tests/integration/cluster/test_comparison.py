"""The comparison's Pods at a real API server with Pod Security, at the real webhook, and by the sources of what is not run here.

Gatekeeper and Kyverno are asked in tests/integration/engines/test_comparison.py.
"""

import json
import secrets
from base64 import b64decode, b64encode
from copy import deepcopy
from pathlib import Path

import aiohttp
import jsonpatch

from deploy.dev.registry import Registry
from tests.bench import servers
from tests.support import cluster, comparison
from tests.support.api_server import Refused
from tests.support.comparison import HOST, IMAGES, column, written
from tests.support.pods import Object, review_body

NO_PATCH = b64encode(b"[]").decode()
SCC_RANGE = range(1000650000, 1000660000)  # such as OpenShift gives to a namespace


def test_without_admission() -> None:
    assert column(lambda pod: pod) == written("Nothing")


def test_pod_security() -> None:
    target = cluster.reach()
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    name = target.namespace(f"comparison-{secrets.token_hex(4)}", **labels)

    def stored(pod: Object) -> Object | None:
        try:
            target.api.create(pod, name, dry_run=True)
        except Refused as refused:
            assert "violates PodSecurity" in str(refused)
            return None
        return pod

    try:
        assert column(stored) == written("Pod Security restricted")
    finally:
        target.delete("namespaces", name)


async def test_ours(tmp_path: Path) -> None:
    """Both hooks, as the API server calls them: the second one is shown what the first one has made of the Pod."""
    servers.certificate(tmp_path)
    async with Registry() as registry, aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:
        for reference in IMAGES:
            registry.push(reference.removeprefix(f"{HOST}/"), comparison.content(reference))
        (port,) = servers.ports(1)
        with servers.ours(tmp_path, port, registry.host) as ours:

            async def answer(url: str, pod: Object) -> Object:
                body = review_body(json.loads(json.dumps(pod).replace(HOST, registry.host)))
                async with session.post(url, data=body, ssl=False) as reply:
                    response: Object = (await reply.json())["response"]
                    return response

            async def stored(pod: Object) -> Object | None:
                operations = (await answer(ours.mutate, pod)).get("patch", NO_PATCH)
                made: Object = jsonpatch.apply_patch(pod, json.loads(b64decode(operations)))
                return made if (await answer(ours.validate, made))["allowed"] else None

            made = {name: await stored(pod) for name, pod in comparison.PODS.items()}
    assert column(lambda pod: made[pod["metadata"]["name"]]) == written("nonroot-webhook")


def test_kubewarden_by_its_source() -> None:
    """kubewarden/user-group-psp-policy src/lib.rs, enforce_run_as_user_rule: MustRunAsNonRoot, images not looked at."""

    def stored(pod: Object) -> Object | None:
        made = deepcopy(pod)
        for context in (made["spec"]["containers"][0]["securityContext"], made["spec"]["securityContext"]):
            if context.get("runAsNonRoot") is False or context.get("runAsUser") == 0:
                return None
            context["runAsNonRoot"] = True
        return made

    assert column(stored) == written("Kubewarden, from source")


def test_openshift_by_its_source() -> None:
    """openshift/apiserver-library-go pkg/securitycontextconstraints/user/mustrunasrange.go, of the SCC restricted-v2.

    What a container or its Pod says has to be within the namespace's range, and where both say nothing it is the first number.
    """

    def stored(pod: Object) -> Object | None:
        made = deepcopy(pod)
        context = made["spec"]["containers"][0]["securityContext"]
        uid = context.setdefault("runAsUser", made["spec"]["securityContext"].get("runAsUser", SCC_RANGE.start))
        return made if uid in SCC_RANGE else None

    assert column(stored) == written("OpenShift restricted-v2, from source")
