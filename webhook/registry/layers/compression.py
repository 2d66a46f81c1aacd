"""The decompression of a layer, by its first bytes: media types are not always right.

Sources: containerd/containerd pkg/archive/compression/compression.go (magic numbers); RFC 1952 and RFC 8878.
"""

from collections.abc import Callable
from typing import IO, Protocol, cast

import zstandard
from isal import isal_zlib

from webhook.errors import MalformedImage
from webhook.registry.transport.messages import RegistryError

_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"  # after a first byte of 0x50 to 0x5f
_PIECE = 1 << 20
_NO_ROOM = "requires too much memory"  # facebook/zstd lib/common/error_private.c, frameParameter_windowTooLarge
_ISAL_ERROR = cast(type[Exception], isal_zlib.error)  # its type hint says that it is an instance
_SLICE = 1 << 16  # what is copied again for every gzip member; eStargz has a member per file

Write = Callable[[bytes], None]


class LargeWindow(RegistryError):
    """A zstd frame asks for more memory than its reader was given: who has more to give may begin again."""

    def __init__(self, window: int) -> None:
        super().__init__("tooLarge", f"a layer's zstd data needs a window of more than {window >> 20} MiB")


class Decompressor:
    """Takes compressed bytes, writes uncompressed ones, 1 MiB at a time at most; `MalformedImage` where it cannot.

    `window` is what a zstd frame may ask for, in bytes; `LargeWindow` where one asks for more.

    It knows its writer only while it is fed. Otherwise the two would hold each other, and a window of up to 64 MiB, until
    the garbage collector comes by.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._head = b""
        self._codec: _Codec | None = None

    def feed(self, data: bytes, write: Write) -> None:
        """Take the next bytes."""
        if self._codec is None:
            self._head += data
            if len(self._head) >= len(_ZSTD):
                self._begin(write)
        else:
            self._codec.feed(data, write)

    def finish(self, write: Write) -> None:
        """The bytes are at their end."""
        if self._head:
            self._begin(write)
        if self._codec is not None:
            self._codec.finish(write)

    def _begin(self, write: Write) -> None:
        head, self._head = self._head, b""
        if head.startswith(_GZIP):
            self._codec = _Gzip()
        elif head.startswith(_ZSTD) or (head[0] & 0xF0 == 0x50 and head[1:4] == _SKIPPABLE):
            self._codec = _Zstd(self._window)
        else:
            self._codec = _Plain()
        self._codec.feed(head, write)


class _Codec(Protocol):
    """One of the forms that a layer comes in."""

    def feed(self, data: bytes, write: Write) -> None: ...

    def finish(self, write: Write) -> None: ...


class _Plain:
    """Bytes as they are."""

    def feed(self, data: bytes, write: Write) -> None:
        for start in range(0, len(data), _PIECE):
            write(data[start : start + _PIECE])

    def finish(self, write: Write) -> None:
        """Nothing is held back."""


class _Gzip:
    """Member after member. Slices keep what a member leaves over small, a limit keeps what it yields small."""

    def __init__(self) -> None:
        self._inflater: isal_zlib.Decompress | None = None

    def feed(self, data: bytes, write: Write) -> None:
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
                    write(piece)
                if self._inflater.eof:
                    rest = self._inflater.unused_data
                    self._inflater = None
                    continue
                rest = self._inflater.unconsumed_tail
                if not piece and len(rest) in {0, before}:
                    break

    def finish(self, write: Write) -> None:
        if self._inflater is not None:
            self.feed(b"", write)
        if self._inflater is not None:
            raise MalformedImage("a layer's gzip data breaks off")


class _Zstd:
    """Frame after frame; the stream hands on 128 KiB at a time, however much a few bytes stand for."""

    def __init__(self, window: int) -> None:
        self._window = window
        decompressor = zstandard.ZstdDecompressor(max_window_size=window)
        self._sink = _Sink()
        self._stream = decompressor.stream_writer(cast(IO[bytes], self._sink), closefd=False)

    def feed(self, data: bytes, write: Write) -> None:
        self._sink.take = write
        try:
            self._stream.write(data)
        except zstandard.ZstdError as error:
            if _NO_ROOM in str(error):
                raise LargeWindow(self._window) from None
            raise MalformedImage("a layer's zstd data is damaged") from None
        finally:
            self._sink.take = None

    def finish(self, write: Write) -> None:
        """Nothing is held back."""


class _Sink:
    """The one method of a file that zstandard calls."""

    take: Write | None = None

    def write(self, data: bytes) -> int:
        if self.take is not None:
            self.take(bytes(data))
        return len(data)
