"""Owners, permissions and setuid programs of an image, layer over layer, as a runtime would find them extracted."""

from collections.abc import Callable

import msgspec
import pytest

from deploy.dev.oci import Entry, directory, file, hardlink, layer, opaque, owned, symlink, tar, whiteout
from deploy.dev.oci import Layer as Built
from webhook.errors import MalformedImage
from webhook.image.capabilities import FileCapabilities
from webhook.image.config import Config, Platform, parse_user
from webhook.image.filesystem import Capable, Directory, StepDown
from webhook.registry.layers.index import LayerIndexer
from webhook.registry.layers.overlay import ACCOUNTS
from webhook.registry.layers.reader import Layers
from webhook.registry.layers.survey import Surveyor, Tree, capable, directories, scripts, special
from webhook.registry.manifest import Descriptor
from webhook.registry.settings import Limits, RegistrySettings
from webhook.registry.transport.messages import RegistryError, Sink

SU = owned(file("bin/su", "x"), 0, 0, 0o4755)
WALL = owned(file("bin/wall", "x"), 0, 5, 0o2755)


def survey(*layers: tuple[Entry, ...], limits: Limits | None = None, pieces: int = 1 << 20) -> Tree:
    """The tree of layers with these entries."""
    tree: Tree = {}
    for number, entries in enumerate(layers):
        surveyor = Surveyor(number, tree, LayerIndexer(ACCOUNTS, limits or Limits()), limits or Limits())
        archive = tar(*entries)
        for start in range(0, len(archive), pieces):
            surveyor.feed(archive[start : start + pieces])
        found = surveyor.finish("sha256:x")
        assert found.facts.diff_id == "sha256:x"
        tree = found.tree
    return tree


def programs(*layers: tuple[Entry, ...]) -> list[str]:
    """The paths of the setuid and setgid programs."""
    return [each.path for each in special(survey(*layers))]


@pytest.mark.parametrize(
    ("layers", "paths"),
    [
        ([(SU, WALL)], ["/bin/su", "/bin/wall"]),
        ([(owned(SU, 0, 0, 0o4644),)], []),  # nobody can start it
        ([(owned(directory("srv"), 0, 0, 0o2775),)], []),  # a directory hands its group on, and starts nothing
        ([(SU,), (file("bin/su"),)], []),
        ([(SU,), (symlink("bin/su", "x"),)], []),
        ([(SU,), (whiteout("bin/su"),)], []),
        ([(SU,), (whiteout("bin"),)], []),
        ([(SU,), (opaque("bin"),)], []),
        ([(SU,), (file("bin"),)], []),  # in the place of the directory
        ([(SU,), (symlink("bin", "usr/bin"),)], []),
        ([(SU,), (whiteout("sbin"), opaque("usr"), whiteout("bin/sudo"))], ["/bin/su"]),
        ([(whiteout("bin/su"), SU)], ["/bin/su"]),  # a whiteout is about lower layers, wherever it stands
        ([(SU, whiteout("bin/su"), opaque("bin"))], ["/bin/su"]),
        ([(SU, hardlink("bin/sudo", "bin/su"))], ["/bin/su", "/bin/sudo"]),
        ([(SU, hardlink("bin/sudo", "bin/other"))], ["/bin/su"]),
        ([(SU,), (file("a"), hardlink("bin/su", "a"))], []),
        ([(SU,), (Entry("bin/su", b"6"),)], []),  # a FIFO
        ([(SU,), (Entry(".wh..wh.plnk"),)], ["/bin/su"]),
    ],
)  # fmt: skip
def test_setuid_programs_are_those_that_a_container_would_have(
    layers: list[tuple[Entry, ...]], paths: list[str]
) -> None:
    """Replaced, removed and hidden ones are gone; hard links are the same program."""
    assert programs(*layers) == paths


def test_owners_are_those_of_the_highest_layer_that_says_so() -> None:
    """An implied directory changes nothing below, and is root's where there was none."""
    tree = survey(
        (owned(directory("app"), 1500, 1600, 0o750), symlink("var/run", "/run"), owned(directory("run/app"), 7, 8)),
        (file("app/x"), file("new/x")),
        (owned(directory("data"), 2**21 + 5, 70_000, 0o1777),),
    )
    assert directories(tree, "", ("/app", "/new", "/var/run/app", "/data", "/none", "/app/x", "/../app/.")) == (
        Directory("/", "workingDirectory", present=True),
        Directory("/app", "volume", present=True, uid=1500, gid=1600, mode=0o750),
        Directory("/new", "volume", present=True),
        Directory("/var/run/app", "volume", present=True, uid=7, gid=8),
        Directory("/data", "volume", present=True, uid=2**21 + 5, gid=70_000, mode=0o1777),
        Directory("/none", "volume", present=False),
        Directory("/app/x", "volume", present=False),
        Directory("/../app/.", "volume", present=True, uid=1500, gid=1600, mode=0o750),
    )


def test_numbers_beyond_the_header_stand_in_pax_records() -> None:
    """As tar writes the ids of a build in a user namespace."""
    tree = survey((Entry("app", b"5", pax={"uid": "4000000000", "gid": "12"}),))
    (_, found) = directories(tree, "", ("/app",))
    assert (found.uid, found.gid) == (4_000_000_000, 12)
    with pytest.raises(MalformedImage, match="PAX uid that is no number"):
        survey((Entry("app", b"5", pax={"uid": "x"}),))


def test_links_that_go_in_circles_lead_nowhere() -> None:
    """And up from the root is the root."""
    tree = survey((symlink("a", "b"), symlink("b", "a"), symlink("c", "../../d"), directory("d")))
    assert [each.present for each in directories(tree, "/c", ("/a/x",))] == [True, False]


@pytest.mark.parametrize(
    ("uid", "groups", "mode", "writable"),
    [
        (5, (), 0o755, True),
        (5, (6,), 0o575, False),  # the owner's bits count for the owner alone
        (7, (6,), 0o775, True),
        (7, (6,), 0o757, False),
        (7, (8,), 0o757, True),
        (7, (8,), 0o775, False),
    ],
)
def test_who_may_write_is_decided_as_the_kernel_does(
    uid: int, groups: tuple[int, ...], mode: int, writable: bool
) -> None:
    """Owner, else group, else others: the first that applies, not the best."""
    assert Directory("/x", "volume", present=True, uid=5, gid=6, mode=mode).writable(uid, groups) == writable


def test_a_layer_costs_no_more_than_its_bounds() -> None:
    """Neither in entries nor in what is kept of them, and in whatever pieces it comes."""
    with pytest.raises(RegistryError, match="more than 2 entries"):
        survey((SU, WALL, file("x")), limits=Limits(entries=2))
    with pytest.raises(RegistryError, match="more than 3 directories and links"):
        survey(tuple(directory(f"d{number}") for number in range(4)), limits=Limits(links=3))
    with pytest.raises(MalformedImage, match="a whiteout of nothing"):
        survey((Entry("a/.wh."),))
    assert survey((SU, WALL), pieces=7) == survey((SU, WALL))


def test_what_lies_below_stays_as_it_was() -> None:
    """A transfer that is tried again begins with the same tree."""
    below = survey((SU,))
    before = dict(below)
    Surveyor(1, below, LayerIndexer(ACCOUNTS, Limits()), Limits()).feed(tar(file("bin/su")))
    assert below == before


async def test_an_image_that_is_too_large_is_not_read_at_all() -> None:
    """Every layer would be, and together they are beyond the bound."""

    async def never(*_: object) -> None:
        raise AssertionError

    content = layer(SU)
    layers = Layers(RegistrySettings(limits=Limits(survey_bytes=len(content.blob.data) - 1)))
    described = Descriptor(content.blob.media_type, content.blob.digest, len(content.blob.data))
    config = Config(parse_user(""), Platform("linux", "amd64"), (content.diff_id,))
    with pytest.raises(RegistryError, match="layers together have more than"):
        await layers.survey((described,), config, never)
    await layers.aclose()


BIND = {"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04" + "\x00" * 14}
NGINX = msgspec.structs.replace(owned(file("usr/sbin/nginx", "x"), 0, 0, 0o755), pax=BIND)


def test_programs_that_carry_capabilities_are_those_that_a_container_would_have() -> None:
    """From the attribute in the archive; a file that nobody can execute is given nothing."""
    idle = msgspec.structs.replace(NGINX, name="usr/sbin/idle", mode=0o644)
    tree = survey((NGINX, idle, hardlink("usr/sbin/web", "usr/sbin/nginx")), (SU,))
    bind = FileCapabilities(("NET_BIND_SERVICE",), effective=True)
    assert capable(tree) == (Capable("/usr/sbin/nginx", bind), Capable("/usr/sbin/web", bind))
    assert [each.path for each in special(tree)] == ["/bin/su"]
    assert capable(survey((NGINX,), (file("usr/sbin/nginx", "copied without it"),))) == ()


def test_start_scripts_are_read_and_other_files_are_not() -> None:
    """As far as one is a script by its name and size; the highest layer's counts."""
    script = file("usr/local/bin/docker-entrypoint.sh", "exec gosu redis")
    large = file("entrypoint.sh", b"x" * 65_537)
    tree = survey((script, large, file("etc/passwd", "root:x:0:0::/:/bin/sh\n"), file("bin/run", "exec gosu x")))
    assert scripts(tree) == {"/usr/local/bin/docker-entrypoint.sh": "exec gosu redis"}
    assert scripts(survey((script,), (file(script.name, "exec su-exec app"),))) == {
        f"/{script.name}": "exec su-exec app"
    }
    assert scripts(survey((script,), (whiteout(script.name),))) == {}


async def test_a_base_is_read_once_whoever_builds_on_it() -> None:
    """And an image with another start gets its own answer from it."""
    base = layer(NGINX, file("docker-entrypoint.sh", "exec gosu app"), file("etc/passwd", "app:x:7:7::/:/bin/sh\n"))
    above = [layer(file("a")), layer(file("b"))]
    fetched: list[str] = []
    layers = Layers(RegistrySettings())

    def blob(each: Built) -> Descriptor:
        return Descriptor(each.blob.media_type, each.blob.digest, len(each.blob.data))

    async def fetch(content: Descriptor, sink: Callable[[], Sink]) -> None:
        fetched.append(content.digest)
        taker = sink()
        await taker.feed(next(each.blob.data for each in (base, *above) if each.blob.digest == content.digest))

    found = []
    for each, entrypoint in zip(above, (("/docker-entrypoint.sh",), ("/bin/app",)), strict=True):
        config = Config(
            parse_user(""), Platform("linux", "amd64"), diff_ids=(base.diff_id, each.diff_id), entrypoint=entrypoint
        )
        found.append(await layers.survey((blob(base), blob(each)), config, fetch))
    await layers.aclose()
    assert sorted(fetched) == sorted(each.blob.digest for each in (base, *above))
    bind = FileCapabilities(("NET_BIND_SERVICE",), effective=True)
    assert [each.capable for each in found] == [(Capable("/usr/sbin/nginx", bind),)] * 2
    assert [each.steps_down for each in found] == [(StepDown("/docker-entrypoint.sh", "gosu", "app"),), ()]
