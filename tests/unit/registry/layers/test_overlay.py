"""The accounts files of an image are those that a container runtime would find, or the image is refused."""

import gc
import weakref
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.dev.oci import Compression, Entry, Layer, directory, file, hardlink, layer, opaque, symlink, whiteout
from webhook.errors import MalformedImage
from webhook.image.passwd import AccountFiles
from webhook.registry.layers.index import LayerIndex
from webhook.registry.layers.overlay import read_accounts
from webhook.registry.layers.reader import Indexed, LayerReader
from webhook.registry.manifest import Descriptor
from webhook.registry.settings import Limits, RegistrySettings
from webhook.registry.transport.messages import RegistryError


def facts(content: Layer, wanted: frozenset[str], limits: Limits | None = None) -> LayerIndex:
    """What one layer says about these paths."""
    blob = content.blob
    settings = RegistrySettings(limits=limits or Limits())
    look = Indexed(wanted, settings.limits)
    reader = LayerReader(
        Descriptor(blob.media_type, blob.digest, len(blob.data)), look, settings, settings.limits.zstd_window
    )
    reader.feed(blob.data)
    found = reader.finish()
    assert found.diff_id == content.diff_id
    return found


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_a_layer_that_was_read_is_let_go_at_once(compression: Compression) -> None:
    """A window of 64 MiB cannot wait until the garbage collector comes by."""
    blob = layer(file("etc/passwd", "app:x:1:1::/:"), compression=compression).blob
    settings = RegistrySettings()
    look = Indexed(frozenset({"etc/passwd"}), settings.limits)
    reader = LayerReader(
        Descriptor(blob.media_type, blob.digest, len(blob.data)), look, settings, settings.limits.zstd_window
    )
    held = [weakref.ref(each) for each in (reader, look, look._archive, look._indexer)]
    gc.disable()
    try:
        reader.feed(blob.data)
        reader.finish()
        del reader, look
        assert [each() for each in held] == [None] * len(held)
    finally:
        gc.enable()


def accounts(
    *layers: Layer, read: list[int] | None = None, group_matters: Callable[[bytes | None], bool] | None = None
) -> AccountFiles:
    """The accounts of the image that the layers make, the base first; `read` gets the numbers of the layers read."""
    steps = read_accounts(len(layers), 8, group_matters)
    try:
        need = next(steps)
        while True:
            if read is not None:
                read.append(need.layer)
            need = steps.send(facts(layers[need.layer], need.wanted))
    except StopIteration as stop:
        found: AccountFiles = stop.value
        return found


PASSWD = file("etc/passwd", "base")
BASE = layer(directory("etc"), PASSWD, file("etc/group", "groups"))


def passwd(*layers: Layer) -> bytes | None:
    """Just /etc/passwd."""
    return accounts(*layers).passwd


@pytest.mark.parametrize(
    ("upper", "expected"),
    [
        pytest.param([], b"base", id="nothing above"),
        pytest.param([file("etc/passwd", "top")], b"top", id="another file"),
        pytest.param([file("./etc//passwd", "top")], b"top", id="an unclean name"),
        pytest.param([file("/etc/passwd", "top")], b"top", id="an absolute name"),
        pytest.param([file("../etc/passwd", "top")], b"top", id="a name that leaves the root"),
        pytest.param([file("a/../etc/passwd", "top")], b"top", id="a name that goes round"),
        pytest.param([file("etc/passwd", "1"), file("etc/passwd", "2")], b"2", id="the later duplicate"),
        pytest.param([file("etc/hosts")], b"base", id="another file beside it"),
        pytest.param([file("etc/passwd-")], b"base", id="a name that begins alike"),
        pytest.param([file("ETC/passwd", "x")], b"base", id="a name in another case"),
        pytest.param([whiteout("etc/passwd")], None, id="a whiteout"),
        pytest.param([whiteout("etc")], None, id="a whiteout of its directory"),
        pytest.param([whiteout("etc/passwd"), file("etc/passwd", "top")], b"top", id="a whiteout and a file"),
        pytest.param([opaque("etc")], None, id="an opaque directory"),
        pytest.param([opaque("usr")], b"base", id="an opaque directory elsewhere"),
        pytest.param([file("etc/passwd", "top"), opaque("etc")], b"top", id="an opaque marker after the file"),
        pytest.param([directory("etc"), opaque("etc"), file("etc/hosts")], None, id="an opaque directory anew"),
        pytest.param([whiteout("etc"), directory("etc"), opaque("etc")], None, id="a whiteout and an opaque directory"),
        pytest.param(
            [whiteout("etc"), directory("etc"), file("etc/passwd", "top"), file("etc/group")],
            b"top",
            id="a whiteout, all anew",
        ),
        pytest.param([file("etc", "a file")], None, id="a file instead of the directory"),
        pytest.param([directory("etc")], b"base", id="the directory again"),
        pytest.param([file(".wh..wh.plnk/1.2", "x")], b"base", id="metadata of AUFS"),
        pytest.param([file("etc/passwd", "top"), whiteout("etc/group")], b"top", id="only the other file removed"),
        pytest.param([symlink("etc/passwd", "/usr/passwd"), file("usr/passwd", "u")], b"u", id="an absolute link"),
        pytest.param([symlink("etc/passwd", "../usr/passwd"), file("usr/passwd", "u")], b"u", id="a relative link"),
        pytest.param([symlink("etc/passwd", "../../../usr/p"), file("usr/p", "u")], b"u", id="a link above the root"),
        pytest.param([symlink("etc/passwd", "./p"), file("etc/p", "u")], b"u", id="a link to a neighbour"),
        pytest.param([symlink("etc/passwd", "group")], b"groups", id="a link to what another layer has"),
        pytest.param([symlink("etc/passwd", "/nowhere")], None, id="a dangling link"),
        pytest.param([file("usr/p", "u"), hardlink("etc/passwd", "usr/p")], b"u", id="a hard link"),
        pytest.param(
            [file("usr/p", "u"), hardlink("etc/passwd", "/usr/./p")], b"u", id="a hard link with an unclean target"
        ),
        pytest.param(
            [file("a", "u"), hardlink("b", "a"), hardlink("c", "b"), hardlink("etc/passwd", "c")],
            b"u",
            id="hard links in a row",
        ),
        pytest.param(
            [file("p", "old"), hardlink("etc/passwd", "p"), file("p", "new")],
            b"old",
            id="a hard link keeps the old content",
        ),
        pytest.param(
            [file("etc/passwd", "x"), whiteout("etc/group"), hardlink("etc/group", "etc/passwd")],
            b"x",
            id="a hard link from it",
        ),
        pytest.param(
            [file("usr/p", "u"), symlink("usr/l", "p"), hardlink("etc/passwd", "usr/l")],
            None,
            id="a hard link to a dangling link",
        ),
        pytest.param(
            [file("etc/p", "u"), symlink("usr/l", "p"), hardlink("etc/passwd", "usr/l")],
            b"u",
            id="a hard link to a link",
        ),
        pytest.param([symlink("x", "etc"), file("y/passwd", "z")], b"base", id="a link that nothing goes through"),
        pytest.param([symlink("x", "usr"), file("x/passwd", "z")], b"base", id="a file through a link elsewhere"),
    ],
)
def test_a_layer_over_the_base(upper: list[Entry], expected: bytes | None) -> None:
    """Whiteouts, opaque markers, links, duplicates."""
    assert passwd(BASE, layer(*upper)) == expected


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        pytest.param([[directory("etc/passwd")]], "not a regular file", id="a directory"),
        pytest.param([[Entry("etc/passwd", b"6")]], "not a regular file", id="a fifo"),
        pytest.param([[Entry("etc/passwd", b"3")]], "not a regular file", id="a device"),
        pytest.param([[file("etc/passwd", b"x" * (10 * 1024 * 1024 + 1))]], "larger than 10 MiB", id="too large"),
        pytest.param([[hardlink("etc/passwd", "usr/p")]], "does not have as a file", id="a hard link to nothing"),
        pytest.param(
            [[hardlink("etc/passwd", "etc/p"), file("etc/p")]], "does not have", id="a hard link to what comes later"
        ),
        pytest.param([[directory("d"), hardlink("etc/passwd", "d")]], "does not have", id="a hard link to a directory"),
        pytest.param(
            [[file("p")], [hardlink("etc/passwd", "p")]], "does not have", id="a hard link into another layer"
        ),
        pytest.param([[symlink("etc/passwd", "passwd")]], "40 symbolic links", id="a link to itself"),
        pytest.param([[symlink("etc/passwd", "group"), symlink("etc/group", "passwd")]], "40", id="links in a circle"),
        pytest.param([[symlink("etc/passwd", "/")]], "root directory", id="a link to the root"),
        pytest.param([[symlink("etc/passwd", "a/../b")]], "down and up", id="a link down and up"),
        pytest.param([[symlink("x", "etc"), file("x/passwd", "z")]], "differently", id="a file through a link to it"),
        pytest.param(
            [[symlink("x", "/"), file("x/etc/passwd", "z")]], "differently", id="a file through a link to the root"
        ),
        pytest.param(
            [[symlink("x", "y"), symlink("y", "etc"), file("x/passwd")]], "differently", id="through two links"
        ),
        pytest.param(
            [[symlink("x", "etc"), hardlink("y", "x"), file("y/passwd")]], "differently", id="through a linked link"
        ),
        pytest.param([[symlink("x", "etc"), whiteout("x/passwd")]], "differently", id="a whiteout through a link"),
        pytest.param([[symlink("x", "etc"), opaque("x")]], "differently", id="an opaque marker through a link"),
        pytest.param([[symlink("x", "x"), file("x/y")]], "40 symbolic links", id="a name through a circle"),
        pytest.param(
            [[PASSWD, symlink("x", "etc"), hardlink("etc/group", "x/passwd")]],
            "differently",
            id="a target through a link",
        ),
        pytest.param([[file("etc"), file("etc/passwd")]], 'below "/etc"', id="a file below a file"),
        pytest.param([[file(".wh.")]], "whiteout of nothing", id="an empty whiteout"),
        pytest.param([[PASSWD], [PASSWD, whiteout("etc/passwd")]], "differently", id="a file, then its whiteout"),
        pytest.param([[PASSWD], [PASSWD, whiteout("etc")]], "differently", id="a directory, then its whiteout"),
        pytest.param([[PASSWD], [opaque("")]], "root directory", id="an opaque root"),
        pytest.param([[PASSWD], [file("etc"), directory("etc")]], "differently", id="a file, then a directory"),
        pytest.param(
            [[symlink("etc", "usr/etc")], [file("etc/hosts")]], "differently", id="a directory over a link to one"
        ),
        pytest.param([[PASSWD], [whiteout("etc"), directory("etc")]], "differently", id="removed and made anew"),
        pytest.param([[PASSWD], [whiteout("etc"), file("etc/hosts")]], "differently", id="removed and implied anew"),
        pytest.param(
            [[Entry("etc", b"5", pax={"SCHILY.xattr.user.overlay.opaque": "y"})]],
            "differently",
            id="overlayfs's own mark",
        ),
        pytest.param(
            [[symlink("etc/passwd", f"/{1}"), *(symlink(str(n), str(n + 1)) for n in range(1, 12))]],
            "worth",
            id="a long way",
        ),
    ],
)
def test_what_runtimes_refuse_or_differ_on_is_refused(layers: list[list[Entry]], reason: str) -> None:
    """Never guessed."""
    with pytest.raises(MalformedImage, match=reason):
        accounts(*(layer(*entries) for entries in layers))


def test_links_lead_across_layers() -> None:
    """The link in one layer, its target in another, as NixOS images have it."""
    store = layer(file("nix/store/abc-passwd", "nix"), directory("etc"))
    link = layer(symlink("etc/passwd", "/nix/store/abc-passwd"))
    assert passwd(store, link) == passwd(link, store) == b"nix"


def test_a_linked_directory_is_followed() -> None:
    """/etc itself may be a link, if no layer above has it as a directory."""
    base = layer(directory("usr/etc"), file("usr/etc/passwd", "u"), symlink("etc", "usr/etc"))
    assert passwd(base, layer(file("bin/app"))) == b"u"
    assert passwd(base, layer(file("usr/etc/passwd", "above"))) == b"above"


def test_reading_stops_at_the_layer_that_decides() -> None:
    """Nothing below it is read."""
    read: list[int] = []
    assert accounts(BASE, layer(file("x")), BASE, layer(file("y")), read=read) == AccountFiles(b"base", b"groups")
    assert set(read) == {3, 2}


def without_group(*layers: Layer) -> tuple[AccountFiles, list[int]]:
    """The accounts where the group file decides nothing, and the layers that were read."""
    read: list[int] = []
    return accounts(*layers, read=read, group_matters=lambda _: False), list(dict.fromkeys(read))


def test_no_layer_is_read_for_a_group_file_that_decides_nothing() -> None:
    """Where it is in what was read it is taken, and where its look would lead on it is left."""
    above = layer(file("etc/passwd", "app"))
    assert without_group(BASE, layer(file("x")), above) == (AccountFiles(b"app", None, group_read=False), [2])
    assert without_group(above, BASE) == (AccountFiles(b"base", b"groups"), [1])
    assert without_group(BASE, layer(directory("etc"), PASSWD, whiteout("etc/group"))) == (AccountFiles(b"base"), [1])
    linked = layer(directory("etc"), PASSWD, symlink("etc/group", "groups"), file("etc/groups", "linked"))
    assert without_group(BASE, linked) == (AccountFiles(b"base", None, group_read=False), [1])
    assert accounts(BASE, layer(file("x")), above, group_matters=b"app".__eq__) == AccountFiles(b"app", b"groups")


def test_links_to_the_passwd_file_are_followed_though_the_group_file_decides_nothing() -> None:
    """What they lead to is read, and what is in the same layers is known of the group file, too."""
    base = layer(directory("etc"), symlink("etc/passwd", "users"), file("etc/users", "u"), file("etc/group", "groups"))
    assert without_group(base, layer(file("x"))) == (AccountFiles(b"u", b"groups"), [1, 0])


def test_no_layers_no_accounts() -> None:
    """An image from scratch has neither file."""
    assert accounts() == accounts(layer(file("app"))) == AccountFiles(None, None)


def test_links_and_entries_are_counted() -> None:
    """Before they fill the memory."""
    many = layer(*(symlink(f"l{number}", "x") for number in range(20)))
    with pytest.raises(RegistryError, match="symbolic links take more than 0 MiB"):
        facts(many, frozenset({"etc/passwd"}), Limits(link_bytes=19 * 204))
    again = layer(*[symlink("l", "x"), file("l")] * 20, symlink("l", "x" * 100), symlink("l", "x"))
    facts(again, frozenset({"etc/passwd"}), Limits(link_bytes=400))
    with pytest.raises(RegistryError, match="10 entries"):
        facts(many, frozenset({"etc/passwd"}), Limits(entries=10))


_paths = st.lists(st.sampled_from(["etc", "passwd", "usr", "a"]), min_size=1, max_size=3).map("/".join)
_entries = (
    st.builds(file, _paths, st.sampled_from(["1", "2"]))
    | st.builds(directory, _paths)
    | st.builds(symlink, _paths, _paths | _paths.map("/{}".format) | _paths.map("../{}".format))
    | st.builds(hardlink, _paths, _paths)
    | st.builds(whiteout, _paths)
    | st.builds(opaque, _paths)
)


class Disagreement(Exception):
    """Extraction fails, or would differ between snapshotters."""


class Tree:
    """A plain model of what extraction does: one directory, layer after layer, as a snapshotter without overlayfs does it.

    It refuses every entry whose name leads through a link, so that it agrees with overlayfs wherever it has an answer.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, tuple[str, str]] = {"": ("directory", "")}

    def apply(self, entries: list[Entry]) -> None:
        """Extract one layer: removals first, since they concern lower layers only."""
        own: set[str] = set()
        removed: set[str] = set()
        for entry in entries:
            parent, _, base = entry.name.rpartition("/")
            if base == ".wh..wh..opq":
                removed |= {path for path in self.nodes if path.startswith(f"{parent}/")}
            elif base.startswith(".wh."):
                gone = f"{parent}/{base[4:]}" if parent else base[4:]
                removed |= {path for path in self.nodes if path == gone or path.startswith(f"{gone}/")}
        for path in removed:
            del self.nodes[path]
        for entry in entries:
            parent, _, base = entry.name.rpartition("/")
            self._parents(parent, own)
            if base.startswith(".wh."):
                continue
            self._extract(entry, own)

    def _parents(self, parent: str, own: set[str]) -> None:
        place = ""
        for part in parent.split("/") if parent else ():
            place = f"{place}/{part}" if place else part
            kind, _ = self.nodes.setdefault(place, ("directory", ""))
            if kind != "directory":
                raise Disagreement
            own.add(place)

    def _extract(self, entry: Entry, own: set[str]) -> None:
        is_directory = entry.type == b"5"
        existing = self.nodes.get(entry.name)
        if existing and not (is_directory and existing[0] == "directory"):
            for path in [path for path in self.nodes if path == entry.name or path.startswith(f"{entry.name}/")]:
                del self.nodes[path]
                own.discard(path)
        own.add(entry.name)
        if is_directory:
            self.nodes[entry.name] = ("directory", "")
        elif entry.type == b"2":
            self.nodes[entry.name] = ("link", entry.target)
        elif entry.type == b"1":
            target = self.nodes.get(entry.target)
            if target is None or target[0] == "directory" or entry.target not in own:
                raise Disagreement
            self.nodes[entry.name] = target
        else:
            self.nodes[entry.name] = ("file", entry.data.decode())

    def read(self, path: str) -> bytes | None:
        """A file, through links."""
        pending, place, followed = path.split("/")[::-1], "", 0
        while pending:
            part = pending.pop()
            if part in {"", "."}:
                continue
            if part == "..":
                place = place.rpartition("/")[0]
                continue
            if self.nodes[place][0] != "directory":
                return None
            here = f"{place}/{part}" if place else part
            kind, target = self.nodes.get(here, ("", ""))
            if not kind:
                return None
            if kind == "link":
                followed += 1
                if followed > 40:
                    raise Disagreement
                place = "" if target.startswith("/") else place
                pending.extend(target.split("/")[::-1])
            else:
                place = here
        kind, data = self.nodes[place]
        if kind != "file":
            raise Disagreement
        return data.encode()


@given(st.lists(st.lists(_entries, max_size=6), max_size=4))
def test_an_answer_is_what_extraction_gives(layers: list[list[Entry]]) -> None:
    """Whenever both a plain extraction and we have an answer, it is the same; we may refuse more."""
    tree = Tree()
    try:
        for entries in layers:
            tree.apply(entries)
        expected = tree.read("etc/passwd")
    except Disagreement:
        return
    try:
        found = passwd(*(layer(*entries) for entries in layers))
    except MalformedImage:
        return
    assert found == expected
