"""The list of shapes and the Dockerfiles say the same, and a build tells nobody about this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.dev.images import build


def test_every_folder_is_a_shape_and_every_shape_a_folder() -> None:
    """A Dockerfile that nobody builds would be a test that nobody runs."""
    assert sorted(shape.name for shape in build.SHAPES) == sorted(
        path.parent.name for path in build.HERE.glob("*/Dockerfile")
    )


@pytest.mark.parametrize("shape", build.SHAPES, ids=lambda shape: shape.name)
def test_the_last_user_of_the_last_stage_is_the_expected_one(shape: build.Shape) -> None:
    """No shape inherits or repeats USER in a way that this simple reading would get wrong."""
    lines = (build.HERE / shape.name / "Dockerfile").read_text().splitlines()
    last_stage = lines[max(number for number, line in enumerate(lines) if line.startswith("FROM ")) :]
    users = [line.removeprefix("USER ") for line in last_stage if line.startswith("USER ")]
    assert (users or [""])[-1] == shape.user


def test_without_any_pip_configuration_there_are_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain machine builds plainly."""
    monkeypatch.setattr(build, "_pip_settings", dict)
    for name in ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    assert build._pip_secrets(tmp_path) == []


def test_pip_reaches_its_index_through_secrets_and_forgets_local_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate bundle is renamed to where the Dockerfile mounts it, and folders of the host are left out."""
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    settings = {"cert": str(bundle), "index-url": "https://index.example/simple", "find-links": "/somewhere"}
    monkeypatch.setattr(build, "_pip_settings", lambda: settings)
    assert build._pip_secrets(tmp_path) == [
        "--secret",
        f"id=ca_bundle,src={bundle}",
        "--secret",
        f"id=pip_conf,src={tmp_path / 'pip.conf'}",
    ]
    written = (tmp_path / "pip.conf").read_text()
    assert written == "[global]\nindex-url = https://index.example/simple\ncert = /run/secrets/ca_bundle\n"
