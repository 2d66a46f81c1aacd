"""Taking a release out of a cluster, also where Helm cannot."""

from pathlib import Path

import pytest

from deploy import release


def test_where_helm_gives_up_nothing_that_could_refuse_anything_stays(tmp_path: Path) -> None:
    record = tmp_path / "record"
    for name, code in (("helm", 1), ("kubectl", 0)):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>{record}\necho gave up >&2\nexit {code}\n')
        program.chmod(0o755)
    with pytest.raises(release.ReleaseError, match=r"helm uninstall .*: gave up"):
        release.uninstall({"PATH": f"{tmp_path}:/usr/bin:/bin"})
    helm, configurations, namespace = record.read_text().splitlines()
    assert helm.startswith("helm uninstall")
    assert configurations == f"kubectl delete {' '.join(release.CONFIGURATIONS)} --ignore-not-found"
    assert namespace == f"kubectl delete namespace {release.NAMESPACE} --ignore-not-found"
