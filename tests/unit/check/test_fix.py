"""`nonroot fix --suggest` writes what a root image is made for, and nothing where its layers do not say."""

from pathlib import Path

import pytest

from tests.support.images import Table, image, redis
from webhook.check.fix import fix
from webhook.check.run import Request

POD = """apiVersion: v1
kind: Pod
metadata: {name: db}
spec:
  containers:
    - name: redis
      image: registry.example/redis:7
      volumeMounts: [{name: data, mountPath: /data}]
  volumes:
    - name: data
      persistentVolumeClaim: {claimName: data}
"""


TEMPLATE = """apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  template:
    spec:
      containers:
        - name: redis
          image: registry.example/redis:7
          volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
    - metadata: {name: data}
"""


@pytest.mark.parametrize("suggest", [True, False])
async def test_a_root_image_gets_its_own_uid_where_that_is_asked_for(tmp_path: Path, suggest: bool) -> None:
    """Without the flag it is only told."""
    path = tmp_path / "pod.yaml"
    path.write_text(POD)
    fixes = await fix(Request((str(path),), suggest=suggest), Table({"registry.example/redis:7": redis()}))
    if suggest:
        (change,) = fixes.changes
        assert "        runAsUser: 999\n        runAsGroup: 1000\n        runAsNonRoot: true\n" in change.after
        assert "  securityContext:\n    fsGroup: 1000\n    fsGroupChangePolicy: OnRootMismatch\n" in change.after
        assert [each for each in fixes.rest.findings if each.severity == "error"] == []
    else:
        assert fixes.changes == ()
        (error,) = [each for each in fixes.rest.findings if each.severity == "error"]
        assert "runAsUser: 999, runAsGroup: 1000, spec.securityContext.fsGroup: 1000: " in error.fix


async def test_a_template_gets_its_fs_group_as_a_pod_does(tmp_path: Path) -> None:
    path = tmp_path / "statefulset.yaml"
    path.write_text(TEMPLATE)
    fixes = await fix(Request((str(path),), suggest=True), Table({"registry.example/redis:7": redis()}))
    (change,) = fixes.changes
    assert (
        "      securityContext:\n        fsGroup: 1000\n        fsGroupChangePolicy: OnRootMismatch\n" in change.after
    )


async def test_what_is_not_evident_is_not_written(tmp_path: Path) -> None:
    """A guess would break it."""
    path = tmp_path / "pod.yaml"
    path.write_text(POD)
    fixes = await fix(Request((str(path),), suggest=True), Table({"registry.example/redis:7": image("")}))
    assert fixes.changes == ()
