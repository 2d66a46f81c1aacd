"""Every platform of an image is evaluated by itself, whatever is wrong with the one before it."""

from typing import Any

from tests.support.evaluation import evaluate_object
from tests.support.images import multi, platform_image
from tests.support.pods import minimal, tweak
from tests.support.tables import table

GROUPS = ("app", "app:x:1000:1000::/:", "team:x:-1:app")
GID = ("app", "app:x:1000:-1::/:", None)


@table(
    ("account", "context", "found"),
    {
        "a group out of range": (GROUPS, {}, True),
        "which the spec leaves out": (GROUPS, {"supplementalGroupsPolicy": "Strict"}, False),
        "a gid out of range": (GID, {}, True),
        "which the spec leaves in": (GID, {"supplementalGroupsPolicy": "Strict"}, True),
        "which the spec replaces": (GID, {"runAsGroup": 7}, False),
    },
)
async def test_a_platform_behind_one_whose_user_does_not_exist(
    account: tuple[str, str, str | None], context: dict[str, Any], found: bool
) -> None:
    image = multi(platform_image("nobody"), platform_image(*account, platform="linux/arm64"))
    verdict = await evaluate_object(tweak(minimal(), {"spec.securityContext": context}), image)
    assert "unresolvable-user" in {each.rule for each in verdict.findings}
    assert ("invalid-user" in {each.rule for each in verdict.findings}) is found


async def test_the_user_of_the_platform_that_is_refused_is_told() -> None:
    image = multi(platform_image("7"), platform_image("-1", platform="linux/arm64"))
    (message,) = (
        each.message for each in (await evaluate_object(minimal(), image)).findings if each.rule == "invalid-user"
    )
    assert 'USER "-1" on "linux/arm64") is refused' in message
