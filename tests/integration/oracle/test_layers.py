"""Archives and layers mean to us what they mean to Go and to containerd, whose own code is asked, on a real overlayfs."""

import os
import shutil
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.dev.oci import Entry, directory, file, hardlink, opaque, raw_layer, symlink, tar, whiteout
from tests.integration.oracle.layers_program import Oracle
from tests.unit.registry.layers import test_overlay, test_tar
from webhook.errors import MalformedImage
from webhook.image.passwd import AccountFiles
from webhook.registry.layers.paths import ancestors

pytestmark = [
    pytest.mark.skipif(shutil.which("go") is None, reason="the oracle is a Go program"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the oracle mounts an overlayfs"),
]
_SETTINGS = settings(max_examples=1500, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
# What containerd refuses, what is too intricate, and GNU headers with a field that Go takes for a prefix.
_OURS = ("entry of the type", "sparse", "no octal number", "beyond 64 bits")
_TYPES = {"0": "file", "1": "hardlink", "2": "symlink", "3": "device", "4": "device", "5": "directory", "6": "device"}


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    """One process for the module."""
    process = Oracle()
    try:
        process.entries(b"")
    except (ValueError, BrokenPipeError):
        pytest.skip("the oracle may not mount here")
    yield process
    process.close()


def compare(oracle: Oracle, archive: bytes) -> None:
    """Where Go reads an archive we read the same, or refuse it for a reason of our own; where Go fails a pull fails."""
    entries, error = oracle.entries(archive)
    if error:
        return
    try:
        log = test_tar.read(archive, wanted=False)
    except MalformedImage as refused:
        assert any(reason in str(refused) for reason in _OURS), refused
        return
    assert log.entries == [(_TYPES[kind], name, link) for kind, name, link in entries if kind != "g"]


def rows(test: Any) -> list[tuple[Any, str]]:
    """The first value and the id of every row of a parametrised test."""
    return [(parameter.values[0], parameter.id) for mark in test.pytestmark for parameter in mark.args[1]]


_ARCHIVES = [*rows(test_tar.test_what_go_reads_is_read), *rows(test_tar.test_what_go_refuses_is_refused)]


@pytest.mark.parametrize("archive", [pytest.param(archive, id=name) for archive, name in _ARCHIVES])
def test_the_archives_by_hand(oracle: Oracle, archive: bytes) -> None:
    """Every row of the other tests."""
    compare(oracle, archive)


_dialects = st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])


@_SETTINGS
@given(test_tar._entries.filter(bool), st.data())
def test_damaged_archives(oracle: Oracle, entries: list[Entry], data: st.DataObject) -> None:
    """Up to three bytes of headers changed, with the sums made right again or not."""
    try:
        archive = bytearray(tar(*entries, dialect=data.draw(_dialects)))
    except (ValueError, UnicodeError):
        return
    for _ in range(data.draw(st.integers(0, 3))):
        block = data.draw(st.integers(0, len(archive) // 512 - 1)) * 512
        place = block + data.draw(st.sampled_from([*range(10), *range(100, 180), *range(257, 270), 345, 357, 369, 508]))
        archive[place] = data.draw(st.sampled_from([*b"\0 0123457xgLKS/=\n", 128, 255]))
        if data.draw(st.booleans()):
            archive[block + 148 : block + 156] = b"        "
            archive[block + 148 : block + 156] = b"%06o\0 " % sum(archive[block : block + 512])
    compare(oracle, bytes(archive))


_parts = st.sampled_from(["etc", "passwd", "group", "usr", "a", "b"])
_paths = st.sampled_from(["etc/passwd", "etc", "usr/etc/passwd"]) | st.lists(_parts, min_size=1, max_size=3).map(
    "/".join
)
_targets = _paths | _paths.map("/{}".format) | _paths.map("../{}".format) | _paths.map("../../{}".format)
_extracted = (
    st.builds(file, _paths, st.sampled_from(["1", "2", "3"]))
    | st.builds(directory, _paths)
    | st.builds(symlink, _paths, _targets)
    | st.builds(hardlink, _paths, _paths)
    | st.builds(whiteout, _paths)
    | st.builds(opaque, _paths)
)


def compare_layers(oracle: Oracle, layers: list[list[Entry]]) -> tuple[bool, bool]:
    """Where we have an answer, overlayfs gives it or fails; returns whether we, and whether it, had one.

    Plain extraction gives it too, unless it writes through links of lower layers: below the layer that decides we do
    not look.
    """
    archives = [tar(*entries) for entries in layers]
    overlay, native = oracle.files(archives)
    failed = any(isinstance(each, str) for each in overlay.values())
    try:
        found = test_overlay.accounts(*map(raw_layer, archives))
    except MalformedImage:
        return False, not failed
    links = {entry.name for entries in layers for entry in entries if entry.type in {b"1", b"2"}}
    through = any(place in links for entries in layers for entry in entries for place in ancestors(entry.name))
    for path, ours in (("/etc/passwd", found.passwd), ("/etc/group", found.group)):
        for theirs in (overlay[path], *(() if through else (native[path],))):
            assert isinstance(theirs, str) or theirs == ours, (path, ours, overlay, native)
    return True, not failed


_BASE = [directory("etc"), test_overlay.PASSWD, file("etc/group", "groups")]
_LAYERS = [
    *(([_BASE, upper], name) for upper, name in rows(test_overlay.test_a_layer_over_the_base)),
    *rows(test_overlay.test_what_runtimes_refuse_or_differ_on_is_refused),
]


@pytest.mark.parametrize("layers", [pytest.param(layers, id=name) for layers, name in _LAYERS])
def test_the_layers_by_hand(oracle: Oracle, layers: list[list[Entry]]) -> None:
    """Every row of the other tests."""
    compare_layers(oracle, layers)


def test_generated_layers(oracle: Oracle) -> None:
    """Thousands of images, and few refused that containerd would extract."""
    answered = {True: 0, False: 0}

    @_SETTINGS
    @given(st.lists(st.lists(_extracted, max_size=5), min_size=1, max_size=3))
    def images(layers: list[list[Entry]]) -> None:
        ours, theirs = compare_layers(oracle, layers)
        if theirs:
            answered[ours] += 1

    images()
    print(f"of what containerd extracts we answer {answered[True]} and refuse {answered[False]}")
    assert answered[True] > 5 * answered[False]


def test_an_image_without_accounts(oracle: Oracle) -> None:
    """Neither file."""
    overlay, native = oracle.files([tar(file("app"))])
    assert overlay == native == {"/etc/passwd": None, "/etc/group": None}
    assert test_overlay.accounts(raw_layer(tar(file("app")))) == AccountFiles(None, None)
