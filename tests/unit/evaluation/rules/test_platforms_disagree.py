"""What is said of platforms that do not agree, where the groups of one were not read."""

import msgspec

from tests.support.evaluation import evaluate_object
from tests.support.images import multi, platform_image
from tests.support.pods import minimal, tweak
from webhook.image.passwd import AccountFiles


async def test_groups_that_were_not_read_are_left_out() -> None:
    passwd_alone = msgspec.structs.replace(
        platform_image("app"), accounts=AccountFiles(b"app:x:1000:1000::/:", group_read=False)
    )
    shared = platform_image("app", "first:x:1000:5::/:\napp:x:1000:1001::/:", platform="linux/arm64")
    pod = tweak(minimal(), {"spec.securityContext.runAsNonRoot": True})
    verdict = await evaluate_object(pod, multi(passwd_alone, shared))
    (found,) = (each for each in verdict.findings if each.rule == "platforms-disagree")
    assert found.detail.endswith(
        ": linux/amd64 uid 1000 with gid 1000, linux/arm64 uid 1000 with gid 1001 and groups [1001]"
    )
