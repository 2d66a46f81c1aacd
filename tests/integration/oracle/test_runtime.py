"""The real libraries and we give the same answers, to thousands of generated questions.

Where we refuse on purpose what a library takes, the reason stands beside the comparison. `NONROOT_ORACLE_SEED` and
`NONROOT_ORACLE_CASES` vary what is asked.
"""

import base64
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.integration.oracle import cases, program
from tests.support.oracle import BUILD_SECONDS
from webhook.errors import InvalidReference, MalformedImage
from webhook.image import passwd as files
from webhook.image import reference
from webhook.image.config import UID_MAX, Config, normalise_platform, parse_config, parse_user
from webhook.image.passwd import AccountFiles
from webhook.image.user import Identity, ResolutionError, resolve

pytestmark = [
    pytest.mark.skipif(
        shutil.which("go") is None, reason="Go is not on the PATH, so the real libraries cannot be asked"
    ),
    pytest.mark.timeout(BUILD_SECONDS + 300),
]
SEED = int(os.environ.get("NONROOT_ORACLE_SEED", "1"))
CASES = int(os.environ.get("NONROOT_ORACLE_CASES", "5000"))
UINT32 = 2**32 - 1

Object = dict[str, Any]


@pytest.fixture(scope="module")
def oracle() -> Path:
    """The compiled program."""
    return program.build()


@pytest.fixture
def random() -> Random:
    """The same numbers in every run of a test."""
    return Random(SEED)  # noqa: S311  # nothing secret is drawn


@pytest.fixture
def tally(record_property: Callable[[str, object], None], request: pytest.FixtureRequest) -> Any:
    """Counts of agreement and of refusals by reason, printed at the end."""
    counts: Counter[str] = Counter()
    yield counts
    result = ", ".join(f"{count} {what}" for what, count in counts.most_common())
    record_property(request.node.name, f"{counts.total()} questions: {result}")  # the count is the result


def encoded(data: bytes | None) -> str | None:
    """Bytes as Go's JSON writes them."""
    return None if data is None else base64.b64encode(data).decode()


def test_references(oracle: Path, random: Random, tally: Counter[str]) -> None:
    """distribution/reference, ParseDockerRef. We only refuse what it takes for a name without a registry."""
    texts = cases.references(random, CASES)
    for text, theirs in zip(
        texts, program.ask(oracle, [{"ask": "reference", "text": each} for each in texts]), strict=True
    ):
        try:
            found = reference.parse(text)
        except InvalidReference:
            if theirs.get("registry") == "":
                tally["refused on purpose: a host with an underscore, of which it makes no host"] += 1
                continue
            assert "error" in theirs, (text, theirs)
            tally["refused by both"] += 1
            continue
        ours = {"registry": found.registry, "repository": found.repository, "tag": found.tag, "digest": found.digest}
        assert ours == theirs, text
        tally["read alike"] += 1
    assert min(tally["read alike"], tally["refused by both"]) > CASES // 20


def test_users_as_the_cri_reports_them(oracle: Path, random: Random, tally: Counter[str]) -> None:
    """strconv.ParseInt on what stands before the first colon."""
    texts = cases.users(random, CASES)
    for text, theirs in zip(texts, program.ask(oracle, [{"ask": "cri", "text": each} for each in texts]), strict=True):
        found = parse_user(text)
        assert {"uid": found.uid, "name": found.name} == theirs, text
        tally["number" if found.uid is not None else "name"] += 1


def test_which_uids_are_valid(oracle: Path, random: Random, tally: Counter[str]) -> None:
    """k8s.io/apimachinery, IsValidUserID."""
    numbers = [random.randint(-(2**63), 2**63 - 1) >> random.randint(0, 63) for _ in range(CASES)]
    numbers += [-1, 0, 1, UID_MAX - 1, UID_MAX, UID_MAX + 1]
    answers = program.ask(oracle, [{"ask": "uid", "text": str(each)} for each in numbers])
    for number, theirs in zip(numbers, answers, strict=True):
        assert (0 <= number <= UID_MAX) == (not theirs["problems"]), number
        tally["invalid" if theirs["problems"] else "valid"] += 1


def identities(
    oracle: Path, random: Random, tally: Counter[str], ask: str, distrusted: str
) -> Iterator[tuple[str, AccountFiles, Identity, Object]]:
    """User, accounts, our answer and theirs. The kubelet turns an empty USER into the number 0 before anybody sees it.

    Where we have none they have none, or what they make of it is `distrusted`.
    """
    texts = [user.partition(":")[0] or "0" for user in cases.users(random, CASES)]
    found = [AccountFiles(*cases.accounts(random)) for _ in texts]
    questions = [
        {"ask": ask, "text": text, "passwd": encoded(each.passwd), "group": encoded(each.group)}
        for text, each in zip(texts, found, strict=True)
    ]
    for text, each, theirs in zip(texts, found, program.ask(oracle, questions), strict=True):
        ours = resolve(parse_user(text), each)
        assert isinstance(ours, Identity | ResolutionError)
        if isinstance(ours, Identity):
            yield text, each, ours, theirs
            tally["alike"] += 1
        elif ours.kind == "unresolvable":
            assert "error" in theirs, (text, each, ours)
            tally["refused by both"] += 1
        else:
            _must_be_distrusted(text, each)
            tally[f"refused on purpose: {distrusted}"] += 1
    assert tally["alike"] > CASES // 5


def test_identities_by_containerd(oracle: Path, random: Random, tally: Counter[str]) -> None:
    """The runtime's own WithUser and WithAdditionalGIDs on a root file system; we also refuse what is `invalid`."""
    distrusted = "a uid out of range, which containerd cuts or looks up as a name"
    for text, each, ours, theirs in identities(oracle, random, tally, "containerd", distrusted):
        assert ours.groups is not None
        assert {"uid": ours.uid, "gid": ours.gid, "groups": list(ours.groups)} == theirs, (text, each)


def test_identities_by_moby(oracle: Path, random: Random, tally: Counter[str]) -> None:
    """moby/sys user, GetExecUser, which CRI-O calls and then casts to 32 bits."""
    distrusted = "a uid out of range, which CRI-O cuts"
    for text, each, ours, theirs in identities(oracle, random, tally, "moby", distrusted):
        assert (ours.uid, ours.gid) == (theirs["uid"] & UINT32, theirs["gid"] & UINT32), (text, each)
        entry = files.by_uid(each, ours.uid) if parse_user(text).uid is not None else files.by_name(each, text)
        # Unlike in containerd a group of the user's own name counts, and a nameless user has none; injection heeds both.
        name = entry.name if entry else ""
        own = {group.gid for group in files.groups(each.group) if name and name in group.members}
        assert {gid & UINT32 for gid in own} == {gid & UINT32 for gid in theirs["groups"]}, (text, each)


def _must_be_distrusted(text: str, each: AccountFiles) -> None:
    """The number, or the uid of the name's line, is outside of what the kubelet takes."""
    user = parse_user(text)
    if user.looks_numeric:
        assert user.uid is None or not 0 <= user.uid <= UID_MAX
        return
    entry = files.by_name(each, text)
    assert entry is not None
    assert not 0 <= entry.uid <= UID_MAX


# Why we refuse a config that Go reads: two readers could differ on it, or Go itself throws something away.
ON_PURPOSE = {
    "twice": "a key twice",
    "which Go would take for": "a key in another case",
    "surrogate": "half of a surrogate pair",
    "is not UTF-8": "bytes that are no UTF-8",
    "is not a list of strings": "null in a list",
}
# Fields that say nothing about who runs are not decoded, so their types are not checked.
UNREAD = ("created", "history", "Labels", "os.features", "parsing time", "Time.UnmarshalJSON")


def test_configs(oracle: Path, random: Random, tally: Counter[str]) -> None:
    """encoding/json into image-spec's own types."""
    raws = cases.configs(random, CASES)
    for raw, theirs in zip(
        raws, program.ask(oracle, [{"ask": "config", "raw": encoded(each)} for each in raws]), strict=True
    ):
        try:
            ours = parse_config(raw)
        except MalformedImage as error:
            if "error" in theirs:
                tally["refused by both"] += 1
                continue
            why = next((reason for words, reason in ON_PURPOSE.items() if words in str(error)), None)
            assert why is not None, (raw, str(error), theirs)
            tally[f"refused on purpose: {why}"] += 1
            continue
        if "error" in theirs:
            assert any(field in theirs["error"] for field in UNREAD), (raw, theirs)
            tally["read, whatever is in a field that we do not need"] += 1
            continue
        assert _as_go(ours) == _normalised(theirs), raw
        tally["read alike"] += 1
    assert tally["read alike"] > CASES // 5


def _as_go(config: Config) -> Object:
    platform = config.platform
    return {
        "user": config.user.text,
        "platform": (platform.os, platform.architecture, platform.variant),
        "diff_ids": list(config.diff_ids),
        "working_dir": config.working_dir,
        "env": list(config.env),
        "entrypoint": list(config.entrypoint),
        "command": list(config.command),
        "volumes": list(config.volumes),
        "exposed_ports": list(config.exposed_ports),
    }


def _normalised(theirs: Object) -> Object:
    platform = normalise_platform(theirs.pop("os"), theirs.pop("architecture"), theirs.pop("variant"))
    lists = {key: sorted(value) if isinstance(value, dict) else value or [] for key, value in theirs.items()}
    texts = {key: theirs[key] for key in ("user", "working_dir")}
    return lists | texts | {"platform": (platform.os, platform.architecture, platform.variant)}


def test_platforms(oracle: Path, random: Random, tally: Counter[str]) -> None:
    """containerd/platforms, Normalize; for an empty system it takes the one that it runs on."""
    given = cases.platforms(random, CASES)
    answers = program.ask(oracle, [{"ask": "platform", "platform": each} for each in given])
    for each, theirs in zip(given, answers, strict=True):
        found = normalise_platform(each["os"], each["architecture"], each["variant"])
        ours = {"os": found.os or "linux", "architecture": found.architecture, "variant": found.variant}
        assert ours == theirs, each
        tally["alike"] += 1
