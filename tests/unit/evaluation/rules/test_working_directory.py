"""Of the directories that an image names, the working directory alone is evaluated, and only as the image has it."""

import msgspec

from tests.support.evaluation import evaluate_object
from tests.support.images import multi, platform_image
from tests.support.pods import minimal, tweak
from webhook.image.filesystem import Directory, Survey
from webhook.image.source import Image, PlatformImage


def _closed(*directories: Directory) -> Image:
    return multi(msgspec.structs.replace(platform_image("app"), survey=Survey(None, directories, (), ())))


VOLUME = Directory("/data", "volume", present=True, mode=0o700)
ABSENT = Directory("/new", "workingDirectory", present=False, mode=0o700)
MOUNTED = Directory("/mnt", "workingDirectory", present=True, mode=0o700)
CLOSED = Directory("/srv", "workingDirectory", present=True, mode=0o700)
POD = tweak(minimal(), {"spec.containers.0.volumeMounts": [{"name": "x", "mountPath": "/mnt"}]})


async def test_what_is_no_working_directory_of_the_image_is_not_evaluated() -> None:
    """A volume, what the runtime makes for root with mode 0755, and what a mount hides."""
    assert (await evaluate_object(POD, _closed(VOLUME, ABSENT, MOUNTED))).findings == ()


async def test_a_working_directory_behind_them_is() -> None:
    (found,) = (await evaluate_object(POD, _closed(VOLUME, ABSENT, MOUNTED, CLOSED))).findings
    assert (found.rule, found.severity) == ("working-directory", "warning")
    assert found.message == (
        'working directory is closed: container "app" (image "registry.example/app:1", USER "app") runs as uid 1000, which may '
        'not enter the working directory "/srv" of uid 0, mode 0700: it can open nothing there; '
        "set workingDir, or chmod 755 it in the Dockerfile"
    )


async def test_who_may_enter_every_directory_is_not_evaluated() -> None:
    """Root, and whoever has no uid."""
    image = _closed(CLOSED)
    root = msgspec.structs.replace(image, platforms=(_as(image, ""),))
    assert [each.rule for each in (await evaluate_object(minimal(), root)).findings] == ["root-image"]
    several = msgspec.structs.replace(image, platforms=(_as(image, "7"), _as(image, "8")))
    assert [each.rule for each in (await evaluate_object(minimal(), several)).findings] == []
    windows = tweak(minimal(), {"spec.os.name": "windows", "spec.containers.0.securityContext.runAsUser": 1000})
    found = await evaluate_object(windows, image)
    assert "working-directory" not in {each.rule for each in found.findings}


async def test_a_group_that_the_image_gives_its_user_may_enter() -> None:
    image = _closed(Directory("/srv", "workingDirectory", present=True, gid=44, mode=0o750))
    assert len((await evaluate_object(minimal(), image)).findings) == 1
    member = msgspec.structs.replace(image, platforms=(_as(image, "app", "video:x:44:app\n"),))
    assert (await evaluate_object(minimal(), member)).findings == ()


def _as(found: Image, user: str, group: str | None = None) -> PlatformImage:
    """The image of its platform with another USER."""
    made = platform_image(user, group=group)
    return msgspec.structs.replace(found.platforms[0], config=made.config, accounts=made.accounts)
