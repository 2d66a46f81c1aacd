"""A layer's tar archive, entry by entry, read exactly as Go's archive/tar reads it, from bytes that arrive in pieces.

Python's own tarfile differs where it matters: it lets a global PAX header rename later entries, takes one zero block
for the end, and gives links and directories a body. What Go refuses is `MalformedImage`, and so is what containerd
refuses (GNU sparse files and every type flag that is not a plain one) or what is too intricate to be told apart (PAX
sparse files).

Sources: golang archive/tar reader.go, strconv.go and format.go; containerd/containerd pkg/archive/tar.go
(createTarFile).
"""

import re
import zlib
from collections.abc import Generator
from typing import Literal, Protocol

import msgspec

from webhook.errors import MalformedImage
from webhook.image import capabilities
from webhook.image.capabilities import FileCapabilities
from webhook.image.golang import parse_decimal
from webhook.registry.transport.messages import RegistryError

Kind = Literal["file", "directory", "symlink", "hardlink", "device"]

BLOCK = 512
_ZERO = bytes(BLOCK)
_SPECIAL_LIMIT = 1 << 20  # archive/tar, maxSpecialFileSize
_RECORDS_LIMIT = 1000  # of one header, which is read in one go: a file has a record for each of its attributes
_INT64_MAX = 2**63 - 1
_OCTAL = re.compile(rb"[0-7]+\Z")
_RECORD = re.compile(rb"([0-9]+) ")
_XATTR = "SCHILY.xattr."
_CAPABILITY = _XATTR + capabilities.ATTRIBUTE
_KINDS: dict[bytes, Kind] = {
    b"0": "file",
    b"\0": "file",
    b"1": "hardlink",
    b"2": "symlink",
    b"3": "device",
    b"4": "device",
    b"5": "directory",
    b"6": "device",
}


class Visitor(Protocol):
    """A receiver of the entries of an archive, in their order."""

    def visit(self, kind: Kind, name: str, target: str, size: int, overlay: bool) -> bool:
        """One entry, its names verbatim; `overlay` if it has overlayfs's own attributes. True asks for the content."""
        ...

    def content(self, data: bytes) -> None:
        """The content of the file that was just asked for."""
        ...


class Attributes(msgspec.Struct, frozen=True):
    """The owner of an entry, its permission bits with setuid, setgid and sticky, and its file capabilities."""

    uid: int
    gid: int
    mode: int
    capabilities: FileCapabilities | None = None


class Archive:
    """Feed it the uncompressed bytes in pieces of any size, then `finish` it. What follows the archive's end is ignored.

    `entries` bounds how many headers it may have, extended ones and each of their records included: they take as long to
    read as an entry, and a compressed layer has a million of them in little space. `RegistryError` beyond.
    """

    def __init__(self, visitor: Visitor, entries: int) -> None:
        self._visitor = visitor
        self._allowed = self._left = entries
        self._padding = 0
        self._block, self._records = _ZERO, dict[str, str]()
        self._steps = self._entries()
        self._need = next(self._steps)  # above 0: that many bytes at once; below: so many to drop; 0: the end was read
        self._held = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        position, size = 0, len(data)
        while position < size and self._need:
            if self._need < 0:
                dropped = min(-self._need, size - position)
                position += dropped
                self._need += dropped
                if not self._need:
                    self._step(b"")
            elif not self._held and size - position >= self._need:
                position += self._need
                self._step(data[position - self._need : position])
            else:
                wanted = self._need - len(self._held)
                self._held += data[position : position + wanted]
                position += wanted
                if len(self._held) == self._need:
                    piece = bytes(self._held)
                    self._held.clear()
                    self._step(piece)

    def finish(self) -> None:
        """The bytes are at their end; the archive may end at a header, or in the padding of its last file."""
        if self._need < 0 and -self._need <= self._padding:
            self._step(b"")
        if self._held or self._need < 0:
            raise MalformedImage("a layer's tar archive breaks off in the middle of an entry")
        if self._need:
            try:
                self._steps.throw(EOFError())
            except StopIteration:
                return
            except EOFError:
                raise MalformedImage("a layer's tar archive breaks off in the middle of an entry") from None
        self._steps.close()  # it holds us, as we hold it

    def attributes(self) -> Attributes:
        """The attributes of the entry whose `visit` is running; read on demand, because few visitors want them."""
        block, headers = self._block, self._records
        return Attributes(
            uid=_decimal("uid", headers.get("uid"), _number(block[108:116])),
            gid=_decimal("gid", headers.get("gid"), _number(block[116:124])),
            mode=_number(block[100:108]) & 0o7777,
            capabilities=_capabilities(headers.get(_CAPABILITY)),
        )

    def _step(self, piece: bytes) -> None:
        self._need = self._steps.send(piece)

    def _entries(self) -> Generator[int, bytes, None]:
        """The grammar. Yields how much it needs next, as `_need` says; receives those bytes."""
        records: dict[str, str] = {}
        long_name = long_target = ""
        while True:
            try:
                block = yield BLOCK
                if block == _ZERO:
                    block = yield BLOCK
                    if block != _ZERO:
                        raise MalformedImage("a layer's tar archive goes on after a single zero block")
                    yield 0
                    return
            except EOFError:
                return
            flag, name, target, size = self._read_header(block)
            if flag in b"xgLK":
                if size > _SPECIAL_LIMIT:
                    raise MalformedImage("a layer's tar archive has an extended header of more than 1 MiB")
                data = (yield size) if size else b""
                if padding := -size % BLOCK:
                    yield from self._drop(0, padding)
                if flag == b"x":
                    records = self._read_records(data)
                elif flag == b"L":
                    long_name = _text(data)
                elif flag == b"K":
                    long_target = _text(data)
                else:  # a global header is an entry of its own, which ends what was said about the next one
                    self._read_records(data)
                    records, long_name, long_target = {}, "", ""
                continue
            if records:
                name, target = records.get("path") or name, records.get("linkpath") or target
                size = _decimal("size", records.get("size"), size)
            name, target = long_name or name, long_target or target
            kind = _KINDS.get(flag)
            if kind is None:
                raise MalformedImage(f"a layer's tar archive has an entry of the type {flag.decode('latin-1')!a}")
            if flag == b"\0" and name.endswith("/"):
                kind = "directory"
            overlay = any(".overlay." in key for key in records if key.startswith(_XATTR))
            self._block, self._records = block, records
            records, long_name, long_target = {}, "", ""
            if kind != "file":
                self._visitor.visit(kind, name, target, 0, overlay)
                continue
            padding = -size % BLOCK
            if self._visitor.visit(kind, name, target, size, overlay):
                self._visitor.content((yield size) if size else b"")
                size = 0
            if size or padding:
                yield from self._drop(size, padding)

    def _count(self, headers: int) -> None:
        self._left -= headers
        if self._left < 0:
            raise RegistryError("tooLarge", f"a layer has more than {self._allowed} entries and records about them")

    def _read_header(self, block: bytes) -> tuple[bytes, str, str, int]:
        self._count(1)
        return _header(block)

    def _read_records(self, data: bytes) -> dict[str, str]:
        records = data.count(b"\n")
        if records > _RECORDS_LIMIT:
            raise RegistryError("tooLarge", f"a layer has an entry with more than {_RECORDS_LIMIT} records about it")
        self._count(records)
        return _records(data)

    def _drop(self, size: int, padding: int) -> Generator[int, bytes, None]:
        self._padding = padding
        yield -(size + padding)


def _capabilities(record: str | None) -> FileCapabilities | None:
    return None if record is None else capabilities.parse(record.encode("utf-8", "surrogateescape"))


def _header(block: bytes) -> tuple[bytes, str, str, int]:
    """Type flag, name, link target and size of a header block."""
    _check_sum(block)
    name, target, size = _text(block[:100]), _text(block[157:257]), _number(block[124:136])
    prefix = ""
    if block[257:263] == b"ustar\0":
        prefix = _text(block[345:476] if block[508:512] == b"tar\0" else block[345:500])
    elif block[257:265] == b"ustar  \0" and any(block[345:369]):
        for time in (block[345:357], block[357:369]):  # Go takes what are no times for a name's prefix
            if time[0]:
                _number(time)
    if size < 0:
        raise MalformedImage("a layer's tar archive has an entry of negative size")
    return block[156:157], f"{prefix}/{name}" if prefix else name, target, size


def _check_sum(block: bytes) -> None:
    """The sum of all bytes, the field itself counted as spaces; over unsigned bytes or, in old archives, signed ones.

    Adler-32's lower half is one plus the sum modulo 65521, which 256 bytes cannot pass: six times faster than a loop.
    """
    claimed = _octal(block[148:156])
    unsigned = (zlib.adler32(block[:256]) & 0xFFFF) + (zlib.adler32(block[256:]) & 0xFFFF) - 2
    unsigned += 8 * ord(" ") - sum(block[148:156])
    if claimed == unsigned:
        return
    others = block[:148] + block[156:]
    if claimed != unsigned - 256 * sum(1 for byte in others if byte > 127):
        raise MalformedImage("a layer is no tar archive, or a damaged one")


def _number(field: bytes) -> int:
    """A numeric field: octal digits, or base 256 where the first bit is set."""
    if not field[0] & 0x80:
        return _octal(field)
    width = 8 * len(field) - 1
    value = int.from_bytes(field) & ((1 << width) - 1)
    if field[0] & 0x40:
        value -= 1 << width
    if not -_INT64_MAX - 1 <= value <= _INT64_MAX:
        raise MalformedImage("a layer's tar archive has a number beyond 64 bits")
    return value


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0").partition(b"\0")[0]
    if not digits:
        return 0
    if not _OCTAL.match(digits):
        raise MalformedImage("a layer's tar archive has a field that is no octal number")
    return int(digits, 8)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _decimal(name: str, record: str | None, otherwise: int) -> int:
    """The number of a PAX record that is there, else the header's."""
    if not record:
        return otherwise
    number = parse_decimal(record)
    if number is None or not 0 <= number <= _INT64_MAX:
        raise MalformedImage(f"a layer's tar archive has a PAX {name} that is no number")
    return number


def _records(data: bytes) -> dict[str, str]:
    r"""The records of a PAX header: `LENGTH KEY=VALUE\n`, the last of a key counts."""
    found: dict[str, str] = {}
    position = 0
    while position < len(data):
        match = _RECORD.match(data, position, position + 21)
        length = int(match[1]) if match else 0
        end = position + length
        if match is None or length < 5 or end > len(data) or match.end() >= end or data[end - 1] != 0x0A:
            raise MalformedImage("a layer's tar archive has a malformed PAX header")
        key, equals, value = data[match.end() : end - 1].partition(b"=")
        if (
            not key
            or not equals
            or b"\0" in key
            or (b"\0" in value and key in {b"path", b"linkpath", b"uname", b"gname"})
        ):
            raise MalformedImage("a layer's tar archive has a malformed PAX record")
        if key.startswith(b"GNU.sparse."):
            raise MalformedImage("a layer's tar archive has a sparse file")
        found[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        position = end
    return found
