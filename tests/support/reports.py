"""The CRDs of both kinds of policy report, from the Go modules that publish them; fetched once and kept in the cache.

Sources: openreports/reports-api config/crd; kyverno/kyverno config/crds/policyreport.
"""

import hashlib
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from deploy.local import paths
from tests.support import schemas

_CRDS = {
    "openreports.io/v1alpha1": (
        ("github.com/openreports/reports-api", "v0.2.1"),
        "config/crd/openreports.io_reports.yaml",
    ),
    "wgpolicyk8s.io/v1alpha2": (
        ("github.com/kyverno/kyverno", "v1.19.1"),
        "config/crds/policyreport/wgpolicyk8s.io_policyreports.yaml",
    ),
}


def crd(api_version: str) -> Path:
    """The file with the CRD of that API version."""
    module, name = _CRDS[api_version]
    made_by = hashlib.sha256(repr(_CRDS).encode()).hexdigest()[:12]
    file = paths.cache() / "schemas" / made_by / Path(name).name
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        (text,) = schemas.files(module, [name])
        file.write_bytes(text)
    return file


@cache
def schema_of(api_version: str) -> dict[str, Any]:
    """Its JSON schema, in which a field that the API does not have is an error."""
    with tempfile.TemporaryDirectory() as folder:
        schemas.own([crd(api_version)], Path(folder))
        (file,) = Path(folder).iterdir()
        schema: dict[str, Any] = json.loads(file.read_text())
        return schema
