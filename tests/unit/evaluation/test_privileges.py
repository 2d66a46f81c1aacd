"""What the programs of an image need, told from its layers and the command line with which it is started."""

import msgspec
import pytest

from tests.support.evaluation import evaluate_object
from tests.support.images import multi, platform_image
from tests.support.pods import minimal, tweak
from webhook.evaluation import privileges
from webhook.evaluation.privileges import Privileges, Program
from webhook.image.capabilities import FileCapabilities
from webhook.image.filesystem import Capable, Special, Survey
from webhook.image.source import Image, PlatformImage
from webhook.workload.podspec import Capabilities, SecurityContext

PING = Capable("/usr/bin/ping", FileCapabilities(("NET_RAW",), effective=True))
SPECIAL = (Special("/usr/bin/sudo", 0, 0, 0o4755), Special("/usr/bin/wall", 0, 5, 0o2755))


def surveyed(platform: str = "linux/amd64", capable: tuple[Capable, ...] = (PING,)) -> PlatformImage:
    one = platform_image("app", platform=platform)
    config = msgspec.structs.replace(one.config, entrypoint=("/app",), command=("serve",))
    return msgspec.structs.replace(one, config=config, survey=Survey(None, (), SPECIAL, capable))


async def found(image: Image, **container: object) -> Privileges | None:
    pod = tweak(minimal(), {f"spec.containers.0.{name}": value for name, value in container.items()})
    (verdict,) = (await evaluate_object(pod, image)).containers
    return privileges.privileges(verdict.subject)


@pytest.mark.parametrize(
    ("container", "started", "first", "setuid"),
    [
        ({}, False, False, ()),
        ({"args": ["ping", "-c", "1"]}, True, False, ()),
        ({"args": ["sudo"]}, False, False, ("/usr/bin/sudo",)),
        ({"args": ["wall"]}, False, False, ()),
        ({"command": ["/bin/ping"]}, True, True, ()),
        ({"command": ["sh", "-c"], "args": ["sudo ping"]}, True, False, ("/usr/bin/sudo",)),
    ],
    ids=str,
)
async def test_a_program_is_started_where_the_command_line_names_it(
    container: dict[str, object], started: bool, first: bool, setuid: tuple[str, ...]
) -> None:
    """The image's words, or the Pod's own; of the setuid programs those that it names, and no setgid one."""
    program = Program("/usr/bin/ping", ("NET_RAW",), effective=True, started=started, first=first)
    assert await found(multi(surveyed()), **container) == Privileges((program,), setuid)


async def test_the_same_program_of_two_platforms_counts_once() -> None:
    """And where the layers of one were not read, nothing is known."""
    known = await found(multi(surveyed(), surveyed("linux/arm64")))
    assert known == await found(multi(surveyed()))
    assert await found(multi(surveyed(), platform_image("app", platform="linux/arm64"))) is None
    assert await found(multi(platform_image("app"))) is None


@pytest.mark.parametrize(
    ("own", "lacking"),
    [
        (None, ("SYS_ADMIN",)),
        (SecurityContext(), ("SYS_ADMIN",)),
        (SecurityContext(capabilities=Capabilities(add=("CAP_SYS_ADMIN",))), ()),
        (SecurityContext(capabilities=Capabilities(add=("sys_admin",), drop=("cap_net_raw",))), ("NET_RAW",)),
        (SecurityContext(capabilities=Capabilities(drop=("all",))), ("SYS_ADMIN", "NET_RAW")),
        (SecurityContext(capabilities=Capabilities(drop=("ALL",), add=("NET_RAW",))), ("SYS_ADMIN",)),
        (SecurityContext(capabilities=Capabilities(add=("ALL",), drop=("NET_RAW",))), ()),
        (SecurityContext(capabilities=Capabilities(add=("CAP_ALL",))), ()),
    ],
    ids=str,
)
def test_what_the_bounding_set_lacks(own: SecurityContext | None, lacking: tuple[str, ...]) -> None:
    """Names in any spelling; what is dropped beside it is dropped."""
    assert privileges.lacking(("SYS_ADMIN", "NET_RAW"), own) == lacking
