"""A great many manifests: what is found in each, and that fixing them changes nothing but what is meant."""

import asyncio
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images import Table
from tests.unit.check.corpus import FILES, IMAGES, File
from webhook.check.fix import Fixes, fix
from webhook.check.manifest.decode import plain
from webhook.check.manifest.objects import objects
from webhook.check.manifest.parser import MalformedYaml, documents
from webhook.check.report import Report
from webhook.check.run import Request, check

_INJECTED = {"runAsUser", "runAsGroup", "runAsNonRoot", "allowPrivilegeEscalation", "capabilities", "seccompProfile"}
_CURED = {"named-user"}
_NO_CURE = "platforms-disagree"  # no one number is right


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
async def test_every_finding_of_the_corpus_is_made_and_no_other(file: File) -> None:
    """Rule by rule, on its line; what cannot be evaluated is skipped on its line, for its reason."""
    report = await checked(file.path)
    assert found(report) == file.findings
    assert [each.line for each in report.skipped] == [line for line, _ in file.skipped]
    for each, (_, words) in zip(report.skipped, file.skipped, strict=True):
        assert words in each.reason
    rules = {each.rule: each.severity for each in report.findings}
    result = 1 if "error" in rules.values() else 3 if file.skipped or "unknown" in rules.values() else 0
    assert report.exit_code() == result


def test_the_corpus_is_large_and_speaks_of_every_rule() -> None:
    """150 objects at least, of all the shapes in which they come."""
    counted = sum(1 for file in FILES for _ in _documents(file.text))
    assert counted >= 150, counted
    spoken = {rule for file in FILES for _, rule in file.findings}
    assert spoken >= {
        "root-user",
        "root-image",
        "named-user",
        "unresolvable-user",
        "unknown-image",
        "windows-administrator",
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_fixed_file_differs_by_what_was_meant_and_checks_clean(file: File, tmp_path: Path) -> None:
    """What injection cures is gone, what it does not cure is told as before; a second run finds nothing to do."""
    _fix_and_compare(file.path.read_bytes(), tmp_path / file.name)


_LINES = st.sampled_from(["\n", "# a comment\n", "   # indented\n", "\n\n"])
_READABLE = [file for file in FILES if file.path.suffix == ".yaml" and not file.skipped and "%YAML" not in file.text]


@st.composite
def mangled(draw: st.DrawFn) -> str:
    """Several files in one, with comments and empty lines between theirs, perhaps with the line ends of Windows."""
    out: list[str] = []
    for file in draw(st.lists(st.sampled_from(_READABLE), min_size=1, max_size=2)):
        lines = file.text.removeprefix("\ufeff").replace("\r\n", "\n").splitlines(keepends=True)
        lines[-1] = lines[-1].removesuffix("\n") + "\n"
        for place in sorted(draw(st.lists(st.integers(0, len(lines)), max_size=6)), reverse=True):
            lines.insert(place, draw(_LINES))
        out += [*lines, "---\n"]
    text = "".join(out[:-1])
    if draw(st.booleans()):
        text = text.removesuffix("\n")
    text = text.replace("\n", "\r\n") if draw(st.booleans()) else text
    return draw(st.sampled_from(["", "\ufeff"])) + text


@given(mangled())
def test_however_the_corpus_is_mangled_a_fix_changes_only_what_was_meant(text: str) -> None:
    """Comments and empty lines anywhere, several files in one, other line ends."""
    with tempfile.TemporaryDirectory() as folder:
        _fix_and_compare(text.encode(), Path(folder) / "x.yaml")


async def checked(path: Path) -> Report:
    """The check of one file, by the images of the corpus."""
    return await check(Request((str(path),)), Table(IMAGES))


async def fixed(path: Path) -> Fixes:
    """The fix of one file, by the images of the corpus; nothing is written."""
    return await fix(Request((str(path),)), Table(IMAGES))


def found(report: Report) -> Counter[tuple[int, str]]:
    """What was found, by line and rule."""
    return Counter((each.line, each.rule) for each in report.findings)


def _fix_and_compare(raw: bytes, path: Path) -> None:
    path.write_bytes(raw)
    before = asyncio.run(checked(path))
    fixes = asyncio.run(fixed(path))
    after = fixes.changes[0].after if fixes.changes else raw.decode()
    text = raw.decode()
    assert _kept(text, after)
    assert ("\r\n" in text) is ("\r\n" in after)
    for old, new in zip(_documents(text), _documents(after), strict=True):
        _compare(old, new)
    path.write_bytes(after.encode())
    then = asyncio.run(checked(path))
    assert Counter(each.rule for each in then.findings) == Counter(each.rule for each in fixes.rest.findings)
    left, faults = _by_container(then), _by_container(before)
    assert left <= faults
    assert {rule for _, _, rule in faults - left} <= _CURED
    if len(fixes.rest.skipped) == len(before.skipped):  # every edit could be made
        open_still = {(each, container) for each, container, rule in left if rule == _NO_CURE}
        assert all((each, container) in open_still for each, container, rule in left if rule in _CURED)
    assert asyncio.run(fixed(path)).changes == ()


def _by_container(report: Report) -> Counter[tuple[Any, str, str]]:
    """The findings without their places, which a fix moves."""
    return Counter((each.object, each.container, each.rule) for each in report.findings)


def _kept(before: str, after: str) -> bool:
    """Whether every character of `before` is in `after`, in its order, but for nulls that were filled."""
    rest = iter(after)
    return all(letter in rest for letter in re.sub(r"(securityContext:) (?:null|~)", r"\1", before))


def _documents(text: str) -> Iterator[Any]:
    """The data of every document up to the first that is none."""
    with suppress(MalformedYaml):
        for root in documents(text.removeprefix("\ufeff")):
            for each in objects(root):
                yield plain(each.node)


def _compare(old: Any, new: Any, inside: bool = False) -> None:
    """Nothing is gone, and nothing has come but fields of a securityContext."""
    if isinstance(old, dict):
        for key in new.keys() - old.keys():
            assert key == "securityContext" or (inside and key in _INJECTED), key
        for key, value in old.items():
            if value is None and key == "securityContext":
                assert set(new[key] or ()) <= _INJECTED
            else:
                _compare(value, new[key], inside or key == "securityContext")
    elif isinstance(old, list):
        for one, other in zip(old, new, strict=True):
            _compare(one, other)
    else:
        assert old == new or (old is None and inside)
