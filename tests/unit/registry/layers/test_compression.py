"""Layers are decompressed by what they are, a bounded piece at a time."""

import gzip
import struct
import zlib
from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from webhook.errors import MalformedImage
from webhook.registry.layers.compression import Decompressor, LargeWindow

_SKIPPABLE = struct.pack("<II", 0x184D2A50, 4) + b"skip"
_WINDOW = 1 << 23


def decompressed(data: bytes, *, pieces: int = 1 << 20, window: int = _WINDOW) -> list[bytes]:
    """The pieces that come out when `data` goes in so many bytes at a time."""
    out: list[bytes] = []
    decompressor = Decompressor(window)
    for start in range(0, len(data), pieces):
        decompressor.feed(data[start : start + pieces], out.append)
    decompressor.finish(out.append)
    return out


def zstd(data: bytes) -> bytes:
    """One frame."""
    return zstandard.ZstdCompressor().compress(data)


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=4), st.integers(1, 500))
def test_members_and_frames_are_read_one_after_the_other(parts: list[bytes], pieces: int) -> None:
    """As eStargz and zstd:chunked write them, however the bytes are cut."""
    whole = b"".join(parts)
    assert b"".join(decompressed(b"".join(map(gzip.compress, parts)), pieces=pieces)) == whole
    frames = _SKIPPABLE + b"".join(zstd(part) + _SKIPPABLE for part in parts)
    assert b"".join(decompressed(frames, pieces=pieces)) == whole


@given(st.binary(max_size=3000), st.integers(1, 500))
def test_any_other_bytes_never_break_it(data: bytes, pieces: int) -> None:
    """Whether they look compressed or not."""
    for noise in (data, b"\x1f\x8b\x08" + data, b"\x28\xb5\x2f\xfd" + data, gzip.compress(data) + data):
        with suppress(MalformedImage, LargeWindow):
            decompressed(noise, pieces=pieces)


@pytest.mark.parametrize("data", [b"", b"a", b"\x1f\x8b", b"plain text"])
def test_what_is_not_compressed_stays_as_it_is(data: bytes) -> None:
    """Short data too, which is never taken for the beginning of something."""
    assert b"".join(decompressed(data)) == data


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_a_bomb_comes_out_in_small_pieces(compress: object) -> None:
    """So that a limit can stop it: a few bytes never become a large one."""
    bomb = gzip.compress(bytes(64 << 20)) if compress is gzip.compress else zstd(bytes(64 << 20))
    pieces = decompressed(bomb)
    assert sum(map(len, pieces)) == 64 << 20
    assert max(map(len, pieces)) <= 1 << 20


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (gzip.compress(b"x" * 1000, mtime=0)[:-9], "breaks off"),
        (gzip.compress(b"x", mtime=0) + b"tail", "damaged|breaks off"),
        (gzip.compress(b"x", mtime=0)[:-8] + bytes(8), "damaged"),
        (b"\x1f\x8b\x08\x00" + bytes(6) + b"\xff" * 40, "damaged"),
        (zstd(b"x") + b"tail!", "damaged"),
    ],
)
def test_damage_is_refused(data: bytes, reason: str) -> None:
    """With a reason."""
    with pytest.raises(MalformedImage, match=reason):
        decompressed(data)


def test_a_window_is_limited() -> None:
    """It is memory that a frame asks for."""
    parameters = zstandard.ZstdCompressionParameters(window_log=24, compression_level=1, write_content_size=False)
    frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = frame.compress(bytes(100)) + frame.flush()
    assert b"".join(decompressed(data, window=1 << 24)) == bytes(100)
    with pytest.raises(LargeWindow, match="more than 1 MiB"):
        decompressed(data, window=1 << 20)


def test_what_the_reader_raises_comes_through() -> None:
    """Out of either decompressor, as it is."""

    def stop(piece: bytes) -> None:
        raise MalformedImage("stop here")

    for data in (gzip.compress(b"x"), zstd(b"x"), b"plain"):
        with pytest.raises(MalformedImage, match="stop here"):
            Decompressor(_WINDOW).feed(data, stop)


def test_raw_deflate_is_not_gzip() -> None:
    """Only what runtimes sniff is decompressed."""
    data = zlib.compress(b"x" * 100)
    assert b"".join(decompressed(data)) == data
