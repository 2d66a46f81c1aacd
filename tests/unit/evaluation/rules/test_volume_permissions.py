"""What the cluster says of a volume's driver decides whether an fsGroup is advised, or what helps instead."""

from typing import Any

import pytest

from tests.support.evaluation import evaluate_object
from tests.support.pods import minimal, tweak
from webhook.evaluation.finding import Finding
from webhook.workload.storage import Storage

STORAGE = Storage(
    {"block.example": "File", "share.example": "None", "nfs.csi.k8s.io": "File", "efs.csi.aws.com": "None"},
    {"shared": "share.example", "local": "rancher.io/local-path"},
    {("default", "shared"): "shared", ("other", "data"): "shared", ("default", "local"): "local"},
)
FS_GROUP = "set spec.securityContext.fsGroup, such as 1000, with fsGroupChangePolicy: OnRootMismatch"
SHARE = "set the owner in the driver's mount options (uid, gid) or in its StorageClass"


async def finding_about(volume: dict[str, Any], storage: Storage) -> Finding:
    mount = {"name": "data", "mountPath": "/data"}
    pod = tweak(minimal(), {"spec.volumes": [{"name": "data", **volume}], "spec.containers.0.volumeMounts": [mount]})
    (found,) = (await evaluate_object(pod, storage=storage)).findings
    return found


@pytest.mark.parametrize(
    ("volume", "fix"),
    [
        ({"csi": {"driver": "block.example"}}, None),
        ({"csi": {"driver": "another.example"}}, None),
        ({"csi": {"driver": "share.example"}}, f'{SHARE}: "share.example" has fsGroupPolicy None'),
        ({"csi": {"driver": "efs.csi.aws.com"}}, SHARE),
        ({"csi": {"driver": "nfs.csi.k8s.io"}}, None),
        ({"persistentVolumeClaim": {"claimName": "shared"}}, f'{SHARE}: "share.example" has fsGroupPolicy None'),
        ({"persistentVolumeClaim": {"claimName": "data"}}, None),
        (
            {"persistentVolumeClaim": {"claimName": "local"}},
            "give the folder to the uid on the nodes, or use a persistent volume",
        ),
    ],
    ids=str,
)
async def test_the_cluster_knows_whether_an_fs_group_helps(volume: dict[str, Any], fix: str | None) -> None:
    found = await finding_about(volume, STORAGE)
    owner = (
        "a volume that is root's until an fsGroup says otherwise" if fix is None else "whose owner no fsGroup changes"
    )
    assert (found.severity, found.fix) == (("warning", FS_GROUP) if fix is None else ("note", fix))
    assert found.detail == (
        'container "app" (image "registry.example/app:1", USER "app") runs as uid 1000 and mounts "data" at "/data", '
        + owner
    )


async def test_without_a_cluster_a_driver_of_shares_is_known_by_its_name() -> None:
    assert (await finding_about({"csi": {"driver": "efs.csi.aws.com"}}, Storage())).fix == SHARE
    assert (await finding_about({"persistentVolumeClaim": {"claimName": "shared"}}, Storage())).fix == FS_GROUP
