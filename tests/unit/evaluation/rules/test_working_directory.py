"""Of the directories that an image names, the working directory alone is judged, and only as the image has it."""

import msgspec

from tests.support.evaluation import evaluate_object
from tests.support.images import multi, platform_image
from tests.support.pods import minimal, tweak
from webhook.image.filesystem import Directory, Survey
from webhook.image.source import Image


def _closed(*directories: Directory) -> Image:
    return multi(msgspec.structs.replace(platform_image("app"), survey=Survey(None, directories, (), ())))


VOLUME = Directory("/data", "volume", present=True, mode=0o700)
ABSENT = Directory("/new", "workingDirectory", present=False, mode=0o700)
MOUNTED = Directory("/mnt", "workingDirectory", present=True, mode=0o700)
CLOSED = Directory("/srv", "workingDirectory", present=True, mode=0o700)
POD = tweak(minimal(), {"spec.containers.0.volumeMounts": [{"name": "x", "mountPath": "/mnt"}]})


async def test_what_is_no_working_directory_of_the_image_is_not_judged() -> None:
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
