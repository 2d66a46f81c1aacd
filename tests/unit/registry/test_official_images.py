"""What is suggested for models of the official images, read from their layers."""

from pathlib import Path

import pytest

from deploy.dev import oci
from tests.support.layouts import folder, oci_files
from tests.support.official_images import MODELS, PROGRAM, Model, Suggested
from webhook.image import suggestion
from webhook.image.source import Image, Query
from webhook.registry import layout


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
async def test_the_suggestion_is_the_images_own_account_or_none(model: Model, tmp_path: Path) -> None:
    base = oci.layer(oci.file(PROGRAM, "x"))
    path = folder(tmp_path / "image", oci_files({"": model.content(base, "amd64")}))
    found, _ = await layout.read(Query(f"oci:{path}", accounts=True, survey=True))
    assert isinstance(found, Image)
    suggested = suggestion.first(found.platforms)
    numbers = suggested and Suggested(suggested.uid, suggested.gid, suggested.fs_group, suggested.confidence == "high")
    assert numbers == model.suggested


def test_there_are_twenty() -> None:
    assert len({model.name for model in MODELS}) == 20
