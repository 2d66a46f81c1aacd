"""Tar archives are read as Go reads them, whatever the pieces in which they arrive."""

import io
import tarfile
from collections.abc import Iterator
from contextlib import nullcontext, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.dev.oci import Entry, directory, file, hardlink, symlink, tar
from webhook.errors import MalformedImage
from webhook.registry.layers.tar import BLOCK, Archive, Kind
from webhook.registry.transport.messages import RegistryError

_KINDS: dict[bytes, Kind] = {
    tarfile.REGTYPE: "file",
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "symlink",
    tarfile.LNKTYPE: "hardlink",
    tarfile.FIFOTYPE: "device",
}


class Log:
    """A visitor that keeps everything it is told, and wants every content."""

    def __init__(self, wanted: bool = True) -> None:
        self.entries: list[tuple[Kind, str, str]] = []
        self.contents: list[bytes] = []
        self.overlay: list[bool] = []
        self._wanted = wanted

    def visit(self, kind: Kind, name: str, target: str, size: int, overlay: bool) -> bool:
        """Keep the entry."""
        self.entries.append((kind, name, target))
        self.overlay.append(overlay)
        assert kind == "file" or not size
        return self._wanted

    def content(self, data: bytes) -> None:
        """Keep the content."""
        self.contents.append(data)


def read(archive: bytes, *, pieces: int = 1 << 20, wanted: bool = True) -> Log:
    """The log of an archive that arrives so many bytes at a time."""
    log = Log(wanted)
    reader = Archive(log, 1000)
    for start in range(0, len(archive), pieces):
        reader.feed(archive[start : start + pieces])
    reader.finish()
    return log


def header(name: str, flag: bytes = b"0", size: bytes = b"00000000000", **fields: bytes) -> bytes:
    """A header block by hand, with the right sum unless `checksum` says otherwise."""
    block = bytearray(BLOCK)
    block[: len(name.encode())] = name.encode()
    block[100:108] = b"0000644\0"
    block[124 : 124 + len(size)] = size
    block[156:157] = flag
    block[257:265] = fields.get("magic", b"ustar\x0000")
    prefix = fields.get("prefix", b"")
    block[345 : 345 + len(prefix)] = prefix
    linked = fields.get("target", b"")
    block[157 : 157 + len(linked)] = linked
    block[148:156] = b"        "
    block[148:156] = fields.get("checksum", b"%06o\0 " % sum(block))
    return bytes(block)


END = bytes(2 * BLOCK)
_names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=300).filter(
    lambda name: not name.endswith("/")
)
_entries = st.lists(
    st.builds(file, _names, st.binary(max_size=1500))
    | st.builds(directory, _names)
    | st.builds(symlink, _names, _names)
    | st.builds(hardlink, _names, _names),
    max_size=8,
)


@given(_entries, st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]), st.integers(1, 2000), st.booleans())
def test_every_entry_is_read_as_it_was_written(entries: list[Entry], dialect: int, pieces: int, wanted: bool) -> None:
    """Long and strange names too, in both dialects, however the bytes are cut."""
    log = read(tar(*entries, dialect=dialect), pieces=pieces, wanted=wanted)
    assert log.entries == [
        (_KINDS[each.type], each.name + "/" * (each.type == tarfile.DIRTYPE), each.target) for each in entries
    ]
    contents = [each.data for each in entries if each.type == tarfile.REGTYPE]
    assert log.contents == (contents if wanted else [])


@given(st.binary(max_size=4 * BLOCK), st.integers(1, 600))
def test_noise_is_refused_and_nothing_else_happens(noise: bytes, pieces: int) -> None:
    """No other exception, no endless loop."""
    with suppress(MalformedImage):
        read(noise, pieces=pieces)


@given(_entries.filter(bool), st.data())
def test_one_changed_byte_never_breaks_the_reader(entries: list[Entry], data: st.DataObject) -> None:
    """A damaged archive reads or is refused."""
    archive = bytearray(tar(*entries))
    place = data.draw(st.integers(0, len(archive) - 1))
    archive[place] = data.draw(st.integers(0, 255))
    with suppress(MalformedImage):
        read(bytes(archive))


def pax(**records: str) -> bytes:
    """An extended header that gives the next entry these records."""
    return extended(b"x", **records)


def extended(flag: bytes, **records: str) -> bytes:
    """A PAX header of that type."""
    body = b""
    for key, value in records.items():
        rest = f" {key}={value}\n".encode()
        length = len(rest) + 1
        while len(str(length)) + len(rest) != length:
            length += 1
        body += str(length).encode() + rest
    return header("pax", flag, size=b"%011o" % len(body)) + body.ljust(-(-len(body) // BLOCK) * BLOCK, b"\0")


def refused() -> Iterator[tuple[str, bytes, str]]:
    """Archives that Go or containerd refuses."""
    yield "a single zero block before data", bytes(BLOCK) + header("a") + END, "single zero block"
    yield "a wrong sum", header("a", checksum=b"000001\0 ") + END, "no tar archive"
    yield "GNU sparse", header("a", b"S") + END, "type 'S'"
    yield "contiguous files", header("a", b"7") + END, "type '7'"
    yield "a size in other digits", header("a", size=b"0000000008 ") + END, "no octal"
    yield "a size with a sign", header("a", size=b"+0000000001") + END, "no octal"
    yield "a size with an underscore", header("a", size=b"0_000000001") + END, "no octal"
    yield "a PAX size that is none", pax(size="-1") + header("b") + END, "PAX size"
    yield "a negative size in base 256", header("a", size=b"\xff" * 12) + END, "negative size"
    yield "a size beyond 64 bits", header("a", size=b"\x80" + b"\x7f" * 11) + END, "64 bits"
    yield "an end inside a header", header("a")[:300], "breaks off"
    yield "an end inside content", header("a", size=b"00000001000") + bytes(100), "breaks off"
    yield "an extended header beyond 1 MiB", header("a", b"x", size=b"00004000001"), "1 MiB"
    yield "an end inside an extended header", header("a", b"x", size=b"00000000010"), "breaks off"
    for record in (
        b"8 path=x\n",
        b"x path=b\n",
        b"10 path=a\0\n",
        b"8 =path\n",
        b"10 path=ab",
        b"5 a=\n5 b=\n9",
        b"4 a\n",
    ):
        padded = record.ljust(BLOCK, b"\0")
        yield f"PAX {record!r}", header("a", b"x", size=b"%011o" % len(record)) + padded + header("b") + END, "PAX"
    sparse = b"22 GNU.sparse.major=1\n"
    yield "PAX sparse", header("a", b"x", size=b"%011o" % 22) + sparse.ljust(BLOCK, b"\0") + header("b") + END, "sparse"


@pytest.mark.parametrize(("archive", "reason"), [pytest.param(a, r, id=name) for name, a, r in refused()])
def test_what_go_refuses_is_refused(archive: bytes, reason: str) -> None:
    """With a reason that says what is wrong."""
    with pytest.raises(MalformedImage, match=reason):
        read(archive)


def gnu(flag: bytes, body: bytes) -> bytes:
    """GNU's way of giving the next entry a long name or link target."""
    return header("././@LongLink", flag, size=b"%011o" % len(body)) + body.ljust(-(-len(body) // BLOCK) * BLOCK, b"\0")


@pytest.mark.parametrize(
    ("archive", "names"),
    [
        pytest.param(b"", [], id="nothing"),
        pytest.param(header("a"), ["a"], id="no end"),
        pytest.param(header("a") + bytes(BLOCK), ["a"], id="one zero block at the end"),
        pytest.param(header("a") + END + header("b"), ["a"], id="what follows the end does not count"),
        pytest.param(header("b", prefix=b"a"), ["a/b"], id="a prefix"),
        pytest.param(header("b", prefix=b"a", magic=b"ustar  \0"), None, id="a prefix in GNU's dialect"),
        pytest.param(header("a/", b"\0"), ["a/"], id="an old directory"),
        pytest.param(header("link", b"2", size=b"00000001000", target=b"x") + header("b"), ["link", "b"], id="no body"),
        pytest.param(pax(path="real") + header("a"), ["real"], id="a PAX path"),
        pytest.param(pax(path="") + header("a"), ["a"], id="an empty PAX path"),
        pytest.param(extended(b"g", path="all") + header("a"), ["a"], id="a global path renames nothing"),
        pytest.param(
            pax(path="x") + extended(b"g", path="y") + header("a"), ["a"], id="a global header ends the other"
        ),
        pytest.param(pax(path="x") + pax(comment="y") + header("a"), ["a"], id="the last of two extended headers"),
        pytest.param(header("b", size=b"           3") + b"abc" + bytes(509), ["b"], id="spaces before digits"),
        pytest.param(header("b", size=b"\x80" + bytes(10) + b"\3") + b"abc" + bytes(509), ["b"], id="base 256"),
        pytest.param(pax(size="3") + header("b") + b"abc" + bytes(509) + header("c"), ["b", "c"], id="a PAX size"),
        pytest.param(header("b", size=b"00000000003") + b"abc", ["b"], id="no padding at the end"),
        pytest.param(gnu(b"L", b"long\0") + header("a"), ["long"], id="GNU's long name"),
        pytest.param(gnu(b"L", b"") + header("a"), ["a"], id="GNU's empty long name"),
        pytest.param(gnu(b"L", b"x" * 512) + header("a"), ["x" * 512], id="GNU's long name of a whole block"),
        pytest.param(gnu(b"K", b"far") + header("a", b"2", target=b"b"), ["a"], id="GNU's long link target"),
        pytest.param(pax(path="pax") + gnu(b"L", b"gnu") + header("a"), ["gnu"], id="GNU's name over PAX's"),
        pytest.param(header("a", magic=b"ustar  \0", prefix=b"00000000001\0"), ["a"], id="GNU's times"),
    ],
)
def test_what_go_reads_is_read(archive: bytes, names: list[str] | None) -> None:
    """Names as Go gives them; None where Go itself takes a damaged field for a prefix, and we refuse."""
    if names is None:
        with pytest.raises(MalformedImage):
            read(archive)
    else:
        assert [name for _, name, _ in read(archive).entries] == names


def test_an_old_directory_is_a_directory() -> None:
    """A trailing slash makes one of the old type flag only."""
    assert [kind for kind, _, _ in read(header("a/", b"\0") + header("b/", b"0")).entries] == ["directory", "file"]


def test_sums_over_signed_bytes_are_taken_too() -> None:
    """As some old archivers wrote them."""
    block = bytearray(header("\u00e9" * 10))
    block[148:156] = b"        "
    signed = sum(byte - 256 if byte > 127 else byte for byte in block)
    block[148:156] = b"%06o\0 " % signed
    assert read(bytes(block)).entries == [("file", "\u00e9" * 10, "")]


def test_overlayfs_attributes_are_reported() -> None:
    """They would hide or move what lower layers have."""
    log = Log(wanted=False)
    reader = Archive(log, 1000)
    marked = {"SCHILY.xattr.trusted.overlay.opaque": "y"}
    reader.feed(tar(Entry("etc", tarfile.DIRTYPE, pax=marked), Entry("usr", pax={"SCHILY.xattr.user.mime": "x"})))
    reader.finish()
    assert log.overlay == [True, False]


def test_python_and_we_agree_on_an_ordinary_archive() -> None:
    """Against the standard library, for what both read alike."""
    archive = tar(directory("etc"), file("etc/passwd", "root:x:0:0::/:\n"), symlink("bin", "usr/bin"))
    with tarfile.open(fileobj=io.BytesIO(archive)) as reference:
        assert [member.name for member in reference] == [name.rstrip("/") for _, name, _ in read(archive).entries]


@pytest.mark.parametrize("flag", ["g", "x", "L", "K", "0", "5"])
def test_every_header_counts(flag: str) -> None:
    """Extended ones, too, which compress to nothing."""
    blocks = header("h", flag.encode()) * 30
    reader = Archive(Log(wanted=False), 30)
    reader.feed(blocks)
    with pytest.raises(RegistryError, match="more than 30 entries") as refused:
        reader.feed(header("h", flag.encode()))
    assert refused.value.cause == "tooLarge"


@pytest.mark.parametrize("flag", ["g", "x"])
def test_every_record_of_a_header_counts(flag: str) -> None:
    """A header of a mebibyte has a hundred thousand."""
    records = b"11 aaaa=bb\n" * 29
    block = header("h", flag.encode(), b"%011o" % len(records)) + records + bytes(-len(records) % BLOCK)
    Archive(Log(wanted=False), 30).feed(block)
    with pytest.raises(RegistryError, match="more than 29 entries"):
        Archive(Log(wanted=False), 29).feed(block)


@pytest.mark.parametrize("flag", ["g", "x"])
def test_a_header_of_too_many_records_is_not_read(flag: str) -> None:
    """Those that a file may need are."""
    for number, excess in ((1000, ""), (1001, "more than 1000 records")):
        records = b"11 aaaa=bb\n" * number
        block = header("h", flag.encode(), b"%011o" % len(records)) + records + bytes(-len(records) % BLOCK)
        archive = Archive(Log(wanted=False), 2_000_000)
        with pytest.raises(RegistryError, match=excess) if excess else nullcontext():
            archive.feed(block)
