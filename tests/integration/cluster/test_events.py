"""Events, as a real API server takes them."""

import asyncio
import contextlib
import secrets
from pathlib import Path

import msgspec
import pytest
from kubernetes.aio.config import kube_config

from tests.support import cluster
from tests.support.clock import Clock
from webhook.cluster import workqueue
from webhook.cluster.client import Cluster
from webhook.cluster.events import Event, EventRecorder, Regarding


async def test_the_api_server_takes_events_from_who_may_only_create_and_patch_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two replicas tell of the same Service, three times in all; of a namespace; and of what is in one that is gone."""
    target = cluster.reach()
    uid = target.kubectl("get", "service", "kubernetes", "-n", "default", "-o", "jsonpath={.metadata.uid}")
    note = f"said by a test {secrets.token_hex(4)}"
    service = Event(Regarding("v1", "Service", "default", "kubernetes", uid), "admission", "Test", "Tested", note)
    namespace = msgspec.structs.replace(service, regarding=Regarding("v1", "Namespace", "", "default", "n-1"))
    nowhere = msgspec.structs.replace(service, regarding=msgspec.structs.replace(service.regarding, namespace="gone"))
    rule = {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}
    with cluster.access(target, tmp_path, rule) as kubeconfig:
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
        async with contextlib.aclosing(Cluster()) as api:
            for instance, times in (("one", 1), ("two", 2)):
                recorder = EventRecorder(api, instance, clock=Clock())
                for _ in range(times):
                    recorder.record(service)
                recorder.record(namespace)
                recorder.record(nowhere)
                async with workqueue.run_in_background(recorder.writer), asyncio.timeout(60):
                    while recorder.writer.written < 3:
                        await asyncio.sleep(0.05)
                assert (recorder.writer.failed, recorder.writer.dropped) == (0, 0)
    items = [each for each in target.get("events", "default") if each.get("message") == note]
    shown = {each["involvedObject"]["kind"]: each["series"]["count"] for each in items}
    target.kubectl("delete", "event", "-n", "default", *(each["metadata"]["name"] for each in items))
    assert shown == {"Service": 3, "Namespace": 2}
