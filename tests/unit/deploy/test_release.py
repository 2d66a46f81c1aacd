"""Putting a release into a cluster, and taking it out again, also where Helm cannot."""

from pathlib import Path

import pytest

from deploy import release


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def _programs(folder: Path, *, helm: int) -> Path:
    """Put programs into a folder that only write their arguments down; `helm` is the exit code of that one."""
    record = folder / "record"
    for name, code in (("helm", helm), ("kubectl", 0)):
        program = folder / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>{record}\necho gave up >&2\nexit {code}\n')
        program.chmod(0o755)
    return record


def test_an_installation_is_done_when_the_former_replicas_have_gone(tmp_path: Path) -> None:
    """Of one replica that may be unavailable, Helm waits for none."""
    record = _programs(tmp_path, helm=0)
    release.install(release.Image("r:1", "a", "sha256:1"), _environment(tmp_path), {})
    helm, rollout, *configurations = record.read_text().splitlines()
    assert helm.startswith("helm upgrade --install --take-ownership nonroot ")
    assert rollout == (
        f"kubectl rollout status deployment --namespace {release.NAMESPACE} "
        "--selector app.kubernetes.io/instance=nonroot --timeout 300s"
    )
    assert [each.split()[-1] for each in configurations] == list(release.CONFIGURATIONS)


def test_where_helm_gives_up_nothing_that_could_refuse_anything_stays(tmp_path: Path) -> None:
    record = _programs(tmp_path, helm=1)
    with pytest.raises(release.ReleaseError, match=r"helm uninstall .*: gave up"):
        release.uninstall(_environment(tmp_path))
    helm, configurations, replicas, namespace = record.read_text().splitlines()
    assert helm.startswith("helm uninstall")
    assert configurations == f"kubectl delete {' '.join(release.CONFIGURATIONS)} --ignore-not-found"
    assert replicas == f"kubectl delete deployments,replicasets,pods --all --namespace {release.NAMESPACE} --now"
    assert namespace == f"kubectl delete namespace {release.NAMESPACE} --ignore-not-found"
