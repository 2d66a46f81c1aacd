"""What a Pod that was not patched is told, to the letter: its cases under `cases` are about Pods that nobody would patch."""

import pytest

from tests.support.evaluation import evaluate_object
from tests.support.images import image, multi, platform_image
from tests.support.pods import minimal, tweak
from webhook.evaluation.rules import unpinned_user
from webhook.image.source import Image

OWN = "spec.containers[0].securityContext"
PAIR = multi(platform_image("1"), platform_image("2", platform="linux/arm64"))


@pytest.mark.parametrize(
    ("os", "found", "user", "fields"),
    [
        pytest.param("linux", image("app"), "app", f"{OWN}.runAsUser: 1000 and {OWN}.runAsNonRoot: true", id="one uid"),
        pytest.param(
            "linux",
            PAIR,
            "1",
            f"{OWN}.runAsNonRoot: true, and {OWN}.runAsUser to the uid above 0 under which the image runs",
            id="platforms with different ones",
        ),
        pytest.param(
            "windows",
            multi(platform_image("web", platform="windows/amd64")),
            "web",
            f"{OWN}.runAsNonRoot: true",
            id="Windows",
        ),
    ],
)
async def test_a_missed_patch_is_told_with_the_lines_to_write(os: str, found: Image, user: str, fields: str) -> None:
    (verdict,) = (await evaluate_object(tweak(minimal(), {"spec.os": {"name": os}}), found)).containers
    assert verdict.missed
    told = unpinned_user.missed(verdict.subject)
    assert (told.rule, told.severity, told.cause) == ("unpinned-user", "error", "")
    assert told.pointer == "/spec/containers/0/securityContext/runAsNonRoot"
    assert told.message == (
        f'the Pod was not patched: container "app" (image "registry.example/app:1", USER "{user}") has neither runAsUser nor '
        "runAsNonRoot: the API server did not reach the mutating webhook, or one that comes after it added the container or "
        f"took away what it wrote; try again, or set {fields}"
    )
