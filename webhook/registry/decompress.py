"""A layer's compression, told from its first bytes: what media types claim is not always so.

Sources: containerd/containerd pkg/archive/compression/compression.go (magic numbers); RFC 1952 and RFC 8878.
"""

from collections.abc import Callable
from typing import IO, cast

import zstandard
from isal import isal_zlib

from webhook.errors import MalformedImage

_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"  # after a first byte of 0x50 to 0x5f
_PIECE = 1 << 20
_ISAL_ERROR = cast(type[Exception], isal_zlib.error)  # its type hint says that it is an instance
_SLICE = 1 << 16  # what is copied again for every gzip member; eStargz has a member per file


class Decompressor:
    """Takes compressed bytes, writes uncompressed ones, 1 MiB at a time at most; `MalformedImage` where it cannot."""

    def __init__(self, write: Callable[[bytes], None], window: int) -> None:
        self._write = write
        self._window = window
        self._head = b""
        self._take: Callable[[bytes], None] = self._gather
        self._inflater: isal_zlib.Decompress | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._take(data)

    def finish(self) -> None:
        """The bytes are at their end."""
        if self._head:
            self._begin()
        if self._inflater is not None:
            self._gunzip(b"")
        if self._inflater is not None:
            raise MalformedImage("a layer's gzip data breaks off")

    def _gather(self, data: bytes) -> None:
        self._head += data
        if len(self._head) >= len(_ZSTD):
            self._begin()

    def _begin(self) -> None:
        head, self._head = self._head, b""
        if head.startswith(_GZIP):
            self._inflater = isal_zlib.decompressobj(wbits=31)
            self._take = self._gunzip
        elif head.startswith(_ZSTD) or (head[0] & 0xF0 == 0x50 and head[1:4] == _SKIPPABLE):
            self._take = self._zstd()
        else:
            self._take = self._plain
        self._take(head)

    def _plain(self, data: bytes) -> None:
        for start in range(0, len(data), _PIECE):
            self._write(data[start : start + _PIECE])

    def _gunzip(self, data: bytes) -> None:
        """Member after member. Slices keep what a member leaves over small, a limit keeps what it yields small."""
        for start in range(0, max(len(data), 1), _SLICE):
            rest = data[start : start + _SLICE]
            while True:
                if self._inflater is None:
                    if not rest:
                        break
                    self._inflater = isal_zlib.decompressobj(wbits=31)
                before = len(rest)
                try:
                    piece = self._inflater.decompress(rest, _PIECE)
                except _ISAL_ERROR:
                    raise MalformedImage("a layer's gzip data is damaged") from None
                if piece:
                    self._write(piece)
                if self._inflater.eof:
                    rest = self._inflater.unused_data
                    self._inflater = None
                    continue
                rest = self._inflater.unconsumed_tail
                if not piece and len(rest) in {0, before}:
                    break

    def _zstd(self) -> Callable[[bytes], None]:
        """Frame after frame; the writer hands on 128 KiB at a time, however much a few bytes stand for."""
        decompressor = zstandard.ZstdDecompressor(max_window_size=self._window)
        stream = decompressor.stream_writer(cast(IO[bytes], _Writer(self._write)), closefd=False)

        def take(data: bytes) -> None:
            try:
                stream.write(data)
            except zstandard.ZstdError:
                raise MalformedImage("a layer's zstd data is damaged or needs too large a window") from None

        return take


class _Writer:
    """The one method of a file that zstandard calls."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def write(self, data: bytes) -> int:
        self._write(bytes(data))
        return len(data)
