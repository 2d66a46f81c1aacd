"""The HTTP library reads no authorities when it is imported, and whoever reads them later finds them."""

import json
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.authority import Authority

IMPORT = """
import json, os, ssl
before = dict(os.environ)
from webhook.http.library import aiohttp
counts = [each.cert_store_stats()["x509"] for each in (
    aiohttp.connector._SSL_CONTEXT_VERIFIED, aiohttp.connector._SSL_CONTEXT_UNVERIFIED, ssl.create_default_context()
)]
print(json.dumps([counts, before == dict(os.environ)]))
"""


@pytest.mark.parametrize("given", [True, False])
def test_authorities_are_read_by_those_who_need_them(
    given: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever the variables say that they are; which ones there are by default is the machine's affair."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    if given:
        monkeypatch.setenv("SSL_CERT_FILE", str(Authority(tmp_path).certificate))
    counts, same = json.loads(subprocess.check_output([sys.executable, "-c", IMPORT]))
    assert counts == [0, 0, ssl.create_default_context().cert_store_stats()["x509"]]
    assert same
