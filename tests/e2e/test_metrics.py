"""The installed release as a real Prometheus sees it: every replica, and the controller that has scanned."""

from functools import partial
from pathlib import Path

import pytest

from deploy.dev.images.build import Pushed
from deploy.release import NAMESPACE
from tests.e2e.controller import scan
from tests.e2e.target import Target, deployment, eventually, outcomes
from tests.support import prometheus
from webhook.metrics import ADMISSION, CONTROLLER

pytestmark = [pytest.mark.e2e, pytest.mark.prometheus]


def test_prometheus_sees_what_is_documented(
    installed: Target, images: dict[str, Pushed], namespace: str, tmp_path: Path
) -> None:
    """All metrics and no others; what just happened is in them; nothing is wrong, and no alert says so."""
    installed.namespace(namespace, **{"nonroot.dev/mode": "enforce"})
    named = deployment("named", images["a-useradd-uid"].pinned, non_root=True)
    installed.apply(named, deployment("root", images["g-root"].pinned, non_root=False), namespace=namespace)
    result = outcomes(installed, namespace, {"named", "root"})
    assert result["named"].uid == 1000
    assert result["root"].reason == "FailedCreate"
    scan(installed, namespace)
    pods = installed.get("pods", NAMESPACE, labels="app.kubernetes.io/name=nonroot-webhook")
    lasting = [each for each in pods if "deletionTimestamp" not in each["metadata"]]  # of a restart by another test
    addresses = [f"{each['status']['podIP']}:8080" for each in lasting]
    with prometheus.prometheus(addresses, tmp_path) as running:
        metadata = {name for name in running.ask("metadata") if name.startswith("nonroot_")}
        assert metadata == {each.name for each in (*ADMISSION, *CONTROLLER)}
        for expression in (
            'sum(nonroot_reviews_total{door="validate",mode="Enforce",decision="deny"}) > 0',
            "sum(nonroot_injections_total) > 0",
            'sum(nonroot_registry_requests_total{host_class="own",outcome="ok"}) > 0',
            "max(nonroot_view_age_seconds) < 60",
            'min(nonroot_certificate_expiry_timestamp_seconds{certificate="serving"}) - time() > 86400',
            "sum(nonroot_identity_mismatches_total) == 0",
        ):
            assert running.query(expression), expression
        for later in (  # the Event of the denial, and the scan of the new namespace
            'sum(nonroot_background_writes_total{kind="Event",outcome="written"}) > 0',
            f'sum(nonroot_workloads{{resource_namespace="{namespace}",mode="Enforce",verdict="denied"}}) > 0',
        ):
            eventually(partial(running.query, later), later)
        firing = {each["labels"]["alertname"] for each in running.ask("alerts")["alerts"] if each["state"] == "firing"}
        assert firing <= {"NonrootWebhookEnforcementWeakened"}  # the adversary's tests have done so minutes ago
