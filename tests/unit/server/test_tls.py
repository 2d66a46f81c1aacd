"""The certificate that is served."""

from pathlib import Path

import pytest

from webhook.errors import InvalidSetting
from webhook.server.tls import ServingCertificate


def test_an_authority_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"cannot verify clients by .*gone\.pem: No such file"):
        ServingCertificate(tmp_path / "a", tmp_path / "b", client_ca=tmp_path / "gone.pem")
