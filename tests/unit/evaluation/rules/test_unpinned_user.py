"""What a Pod that was not patched is told, to the letter: its cases under `cases` are about Pods that nobody would patch."""

import pytest

from tests.support.evaluation import evaluate_object
from tests.support.images import image, multi, platform_image
from tests.support.pods import minimal, tweak
from webhook.evaluation.rules import unpinned_user
from webhook.image.source import Image
from webhook.policy.types import ExceptionSpec, Metadata, NonRootException, Rule

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
async def test_a_missed_patch_is_reported_with_the_lines_to_write(
    os: str, found: Image, user: str, fields: str
) -> None:
    (verdict,) = (await evaluate_object(tweak(minimal(), {"spec.os": {"name": os}}), found)).containers
    assert verdict.missed
    missed = unpinned_user.missed(verdict.subject)
    assert (missed.rule, missed.severity, missed.cause) == ("unpinned-user", "error", "")
    assert missed.pointer == "/spec/containers/0/securityContext/runAsNonRoot"
    assert missed.message == (
        f'the Pod was not patched: container "app" (image "registry.example/app:1", USER "{user}") has neither runAsUser nor '
        "runAsNonRoot: the API server did not reach the mutating webhook, or one that comes after it added the container or "
        f"took away what it wrote; try again, or set {fields}"
    )


DRIFTING = image("app", "first:x:1000:1000::/:\napp:x:1000:1000::/:\n", "g:x:44:app\n")
DISAGREEING = multi(platform_image("app"), platform_image("7", platform="linux/arm64"))


@pytest.mark.parametrize(
    ("found", "own", "other"),
    [
        pytest.param(image("-1"), "invalid-user", "unresolvable-user", id="invalid"),
        pytest.param(image("ghost"), "unresolvable-user", "invalid-user", id="unresolvable"),
        pytest.param(DRIFTING, "identity-drift", "invalid-user", id="drifting"),
        pytest.param(DISAGREEING, "platforms-disagree", "invalid-user", id="disagreeing"),
    ],
)
async def test_an_exception_for_what_refuses_the_image_does_not_let_root_in(
    found: Image, own: Rule, other: Rule
) -> None:
    """Exempted from that rule alone, its image may still be another one when it is pulled; another rule's is no matter."""

    async def rules(exempted: Rule) -> set[str]:
        exception = NonRootException(Metadata("x", "default"), ExceptionSpec("a test", rules=(exempted,)))
        verdict = await evaluate_object(minimal(), found, exceptions=[exception])
        return {each.rule for each in verdict.findings}

    assert await rules(own) == {"unpinned-user"}
    assert await rules(other) == {own}
