"""Whatever a Dockerfile says, we and BuildKit's own converter come to the same USER, or both refuse it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.oracle.buildkit_program import Oracle, disagreements
from tests.support.dockerfiles import dockerfiles
from tests.unit.dockerfile import corpus
from tests.unit.dockerfile.faults import FAULTS, ODDITIES

pytestmark = [
    pytest.mark.skipif(shutil.which("go") is None, reason="the oracle is a Go program"),
]
_VAGUE = "we do not know the USER"  # right, if not sharp: `${X##*}` is empty whatever X is
_SETTINGS = settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

_TRIGGERS = (
    "USER trigger",
    "ENV APP=trigger",
    "ARG UID=trigger",
    "ARG HOME_DIR",
    "USER ${UID:-none}",
    "WORKDIR trigger",
    "RUN <<EOF\nUSER bad\nEOF",
    "COPY --from=one /a /b",
    "# no instruction",
    "FROM x",
    "USER a\nUSER b",
    "USR x",
)


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    """One process for the module."""
    process = Oracle()
    yield process
    process.close()


@pytest.mark.parametrize("case", corpus.CASES, ids=lambda case: case.id)
def test_the_corpus_says_what_buildkit_says(oracle: Oracle, case: corpus.Case) -> None:
    """With the base known three ways, and with the base unknown."""
    assert disagreements(oracle, case.text, case.target, case.build_args) == []


@pytest.mark.parametrize("text", [*(text for text, _, _ in FAULTS), *(text for text, _ in ODDITIES)])
def test_faults_and_oddities_are_buildkits_own(oracle: Oracle, text: str) -> None:
    """It refuses what we refuse, and takes what we take."""
    assert disagreements(oracle, text) == []


@_SETTINGS
@given(dockerfiles(hard=False))
def test_plain_files_agree(oracle: Oracle, made: tuple[str, str | None, dict[str, str]]) -> None:
    """Most of these build."""
    assert [found for found in disagreements(oracle, *made) if not found.startswith(_VAGUE)] == []


@settings(_SETTINGS, max_examples=100)
@given(dockerfiles(hard=False), st.lists(st.sampled_from(_TRIGGERS), max_size=3).map(tuple))
def test_triggers_of_the_base_agree(
    oracle: Oracle, made: tuple[str, str | None, dict[str, str]], onbuild: tuple[str, ...]
) -> None:
    """They run in every stage that is built directly on it; those of images that files are taken from are only read."""
    if not re.search(
        r"(?i) as one\b", made[0]
    ):  # then `one` is an image, with the same trigger, and BuildKit never ends
        onbuild = tuple(each for each in onbuild if "--from=one" not in each)
    assert [found for found in disagreements(oracle, *made, onbuild) if not found.startswith(_VAGUE)] == []


@_SETTINGS
@given(dockerfiles(hard=True))
def test_hard_files_agree(oracle: Oracle, made: tuple[str, str | None, dict[str, str]]) -> None:
    """Most of these are refused, and by both."""
    assert [found for found in disagreements(oracle, *made) if not found.startswith(_VAGUE)] == []
