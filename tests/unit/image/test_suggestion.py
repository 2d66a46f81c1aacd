"""A root image's own uid is told from its layers, or not at all."""

from typing import Any

import msgspec
import pytest

from webhook.image import start, suggestion
from webhook.image.config import Config, Platform, parse_user
from webhook.image.filesystem import Directory, StepDown, Suggestion, Survey
from webhook.image.passwd import AccountFiles
from webhook.image.source import PlatformImage

PASSWD = b"root:x:0:0::/root:/bin/sh\nredis:x:999:1000::/home/redis:/bin/sh\nother:x:7:7::/:/bin/sh\n"
DATA = Directory("/data", "volume", present=True, uid=999, gid=1000)
GOSU = StepDown("/usr/local/bin/docker-entrypoint.sh", "gosu", "redis")
REDIS = Config(
    parse_user(""), Platform("linux", "amd64"), volumes=("/data",), entrypoint=("docker-entrypoint.sh",), working_dir="/data"
)  # fmt: skip


def image(
    config: Config = REDIS,
    directories: tuple[Directory, ...] = (DATA,),
    steps: tuple[StepDown, ...] = (GOSU,),
    **more: Any,
) -> PlatformImage:
    """A root image as surveyed."""
    config = msgspec.structs.replace(config, **more)
    return PlatformImage(config, accounts=AccountFiles(PASSWD), survey=Survey(None, directories, (), (), steps))


def test_an_image_that_steps_down_names_its_uid() -> None:
    """With what stands for it, and how sure that is."""
    found = suggestion.suggest(image())
    assert found == Suggestion(
        999,
        1000,
        1000,
        "high",
        (
            "redis is uid 999 in /etc/passwd",
            "owns /data",
            "docker-entrypoint.sh steps down to it by gosu",
        ),
    )
    assert str(found).endswith(
        "steps down to it by gosu: runAsUser 999, runAsGroup 1000, fsGroup 1000 (high confidence)"
    )


@pytest.mark.parametrize(
    ("found", "confidence"),
    [
        (image(steps=()), "medium"),  # who owns the volume need not be who runs
        (image(directories=()), "high"),
        (image(exposed_ports=("80/tcp",)), "medium"),
        (image(directories=(msgspec.structs.replace(DATA, uid=0, gid=0),)), "medium"),  # the script gives it away
        (image(steps=(), directories=(Directory("/app", "workingDirectory", present=True, uid=7, gid=7),)), "medium"),
    ],
)
def test_less_evidence_is_said_to_be_less(found: PlatformImage, confidence: str) -> None:
    """Never more than the layers show."""
    suggested = suggestion.suggest(found)
    assert suggested is not None
    assert suggested.confidence == confidence


@pytest.mark.parametrize(
    "found",
    [
        image(user=parse_user("1000")),
        image(user=parse_user("redis")),
        image(steps=(GOSU, StepDown("/e", "gosu", "other"))),  # two users
        image(steps=(StepDown("/e", "gosu", "other"),)),  # and a volume of a third
        image(steps=(StepDown("/e", "gosu", "nobody-here"),)),
        image(steps=(StepDown("/e", "gosu", "root"),)),
        msgspec.structs.replace(  # a name of the same uid that nobody can run as
            image(steps=(GOSU, StepDown("/e", "gosu", "alias"))),
            accounts=AccountFiles(PASSWD + b"alias:x:999:-1::/:\n"),
        ),
        image(steps=(), directories=()),
        image(
            steps=(), directories=(msgspec.structs.replace(DATA, role="workingDirectory"),), exposed_ports=("80/tcp",)
        ),
        image(steps=(), directories=(msgspec.structs.replace(DATA, uid=0),)),
        image(steps=(), directories=(msgspec.structs.replace(DATA, uid=12345),)),  # nobody's account
        image(steps=(), directories=(DATA, Directory("/b", "volume", present=True, uid=7, gid=7))),
        msgspec.structs.replace(image(), survey=None),
        msgspec.structs.replace(image(), accounts=None),
    ],
)
def test_doubt_is_no_suggestion(found: PlatformImage) -> None:
    """A wrong one is worse than none."""
    assert suggestion.suggest(found) is None


WORKING = Directory("/srv", "workingDirectory", present=True, uid=999, gid=1000)


@pytest.mark.parametrize(
    ("found", "evidence"),
    [
        (
            image(
                directories=(
                    DATA,
                    WORKING,
                    msgspec.structs.replace(DATA, path="/srv"),
                    msgspec.structs.replace(DATA, uid=0),
                ),
                exposed_ports=("80/tcp", "443", "1023/udp", "1/tcp", "1024/tcp", "0", "x/tcp"),
            ),
            (
                "redis is uid 999 in /etc/passwd",
                "owns /data and /srv",
                "docker-entrypoint.sh steps down to it by gosu",
                "but port 80/tcp, 443, 1023/udp, 1/tcp needs net.ipv4.ip_unprivileged_port_start 0",
            ),
        ),
        (
            image(steps=(), directories=(WORKING, msgspec.structs.replace(WORKING, path="/new", present=False, uid=7))),
            ("redis is uid 999 in /etc/passwd", "owns /srv"),
        ),
        (
            image(steps=(), directories=(WORKING,), exposed_ports=("1024/tcp",)),
            ("redis is uid 999 in /etc/passwd", "owns /srv"),
        ),
        (
            image(steps=(msgspec.structs.replace(GOSU, user="999"),), directories=()),
            ("redis is uid 999 in /etc/passwd", "docker-entrypoint.sh steps down to it by gosu"),
        ),
        (
            image(user=parse_user("root"), directories=()),
            ("redis is uid 999 in /etc/passwd", "docker-entrypoint.sh steps down to it by gosu"),
        ),
    ],
    ids=["all of it", "a working directory", "a port that everybody may open", "a number", "USER root"],
)
def test_the_evidence_to_the_letter(found: PlatformImage, evidence: tuple[str, ...]) -> None:
    suggested = suggestion.suggest(found)
    assert suggested is not None
    assert suggested.evidence == evidence


def test_an_image_without_volumes_needs_no_fs_group() -> None:
    suggested = suggestion.suggest(image(volumes=()))
    assert suggested is not None
    assert (suggested.uid, suggested.gid, suggested.fs_group) == (999, 1000, None)


@pytest.mark.parametrize(
    ("line", "suggested"),
    [
        (b"redis:x:1:0::/:", True),
        (b"redis:x:2147483647:2147483647::/:", True),
        (b"redis:x:0:5::/:", False),
        (b"redis:x:2147483648:5::/:", False),
        (b"redis:x:5:-1::/:", False),
        (b"redis:x:5:2147483648::/:", False),
    ],
)
def test_an_account_is_one_whose_numbers_a_pod_may_have(line: bytes, suggested: bool) -> None:
    found = msgspec.structs.replace(image(directories=()), accounts=AccountFiles(line))
    assert (suggestion.suggest(found) is not None) is suggested


def test_an_account_whose_name_cannot_be_printed_is_none() -> None:
    volume = msgspec.structs.replace(DATA, uid=5)
    for name, suggested in ((b"a", True), (b"a\x1b", False)):
        accounts = AccountFiles(name + b":x:5:5::/:")
        found = msgspec.structs.replace(image(steps=(), directories=(volume,)), accounts=accounts)
        assert (suggestion.suggest(found) is not None) is suggested


def test_on_windows_nobody_has_a_uid() -> None:
    assert suggestion.suggest(image(platform=Platform("windows", "amd64"))) is None


def test_the_suggestion_of_platforms_that_agree_is_the_firsts() -> None:
    """Its evidence may differ, its numbers may not."""
    surer, other = suggestion.suggest(image()), image(steps=())
    assert suggestion.first([image(), other]) == surer
    assert suggestion.first([other, image()]) == suggestion.suggest(other)
    group = msgspec.structs.replace(image(), accounts=AccountFiles(PASSWD.replace(b"1000", b"1001")))
    assert suggestion.first([image(), group]) is None
    assert suggestion.first([image(), image(steps=(), directories=())]) is None


def test_platforms_must_agree() -> None:
    """One Pod has one runAsUser."""
    other = msgspec.structs.replace(image(), accounts=AccountFiles(PASSWD.replace(b"999", b"998")))
    one = suggestion.first([image(), image()])
    assert one is not None
    assert one.uid == 999
    assert suggestion.first([image(), other]) is None
    assert suggestion.first([]) is None


@pytest.mark.parametrize(
    ("text", "users"),
    [
        ('\texec gosu redis "$0" "$@"\n', ["redis"]),
        ('exec su-exec "postgres" "$@"\n', ["postgres"]),
        ("exec gosu 999:999 mongod\n", ["999"]),
        ('exec setpriv --reuid=redis --regid=redis --clear-groups -- "$0"\n', ["redis"]),
        ('exec setpriv --clear-groups --reuid influxdb --init-groups "$0"\n', ["influxdb"]),
        ('exec runuser -u app -- "$@"\n', ["app"]),
        ('exec gosu "$RUN_AS" "$@"\n', []),
        ("# exec gosu redis\necho gosu\n", []),
        ("exec gosu\n# redis\n", []),
        ('gosu mysql "$@"\ngosu mysql "$@"\n', ["mysql"]),
    ],
)
def test_the_start_script_names_whom_it_steps_down_to(text: str, users: list[str]) -> None:
    """Literal users alone; comments and variables say nothing."""
    path = "/usr/local/bin/docker-entrypoint.sh"
    found = start.steps_down(REDIS, {"/other/entrypoint.sh": "exec gosu nobody x\n", path: text})
    assert [each.user for each in found] == users
    assert all(each == StepDown(path, each.tool, each.user) and f"{each.tool} " in text for each in found)


def test_the_command_line_is_the_images_unless_the_pod_says_otherwise() -> None:
    """The four cases of command and args."""
    config = msgspec.structs.replace(REDIS, command=("redis-server",))
    assert start.words(config) == ("docker-entrypoint.sh", "redis-server")
    assert start.words(config, args=["x"]) == ("docker-entrypoint.sh", "x")
    assert start.words(config, ["sh"]) == ("sh",)
    assert start.words(config, ["sh"], ["-c", "sudo /usr/bin/id"]) == ("sh", "-c", "sudo /usr/bin/id")
    assert start.programs(("sh", "-c", "sudo /usr/bin/id")) == {"sh", "-c", "sudo", "id"}
