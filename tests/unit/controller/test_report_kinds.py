"""When the CRDs of reports are news, on an API server that lists and streams them."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from kubernetes.aio.config import kube_config

from tests.support.watched_api import WatchedApi, serving
from webhook.cluster.client import Cluster
from webhook.controller import report_kinds

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
LATE, EARLY = "reports.openreports.io", "policyreports.wgpolicyk8s.io"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_crd_that_comes_late_or_goes_is_news_and_one_that_was_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, heard = WatchedApi(CRDS), list[int]()
    await api.put(CRDS, EARLY)
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    async with serving(api, tmp_path / "kubeconfig"):
        cluster = Cluster()
        tasks = [asyncio.ensure_future(each) for each in report_kinds.loops(cluster, lambda: heard.append(api.version))]
        try:
            await until(lambda: api.counts["streams"] == len(tasks))
            assert heard == []
            await api.put(CRDS, LATE)
            created = api.version
            await until(lambda: created in heard)
            await api.put(CRDS, LATE)  # its status: it is served now
            served = api.version
            await until(lambda: served in heard)
            await api.remove(CRDS, LATE)
            gone = api.version
            await until(lambda: gone in heard)
        finally:
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await cluster.aclose()
