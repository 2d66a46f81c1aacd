"""Every Dockerfile of the corpus: its USER, base, evident uid and findings."""

from __future__ import annotations

import pytest

from tests.unit.dockerfile import corpus
from webhook.dockerfile import Evaluation, Malformed, evaluate
from webhook.dockerfile.rules import check


@pytest.mark.parametrize("case", corpus.CASES, ids=lambda case: case.id)
def test_a_dockerfile_builds_what_its_case_says(case: corpus.Case) -> None:
    """All of it, or the line where it breaks."""
    found = evaluate(case.text, target=case.target, build_args=case.build_args)
    if case.malformed:
        assert isinstance(found, Malformed)
        assert found.line == case.malformed
        assert found.reason.isprintable()
        return
    assert isinstance(found, Evaluation)
    assert (found.user, found.base) == (case.user, case.base)
    assert (found.evidence.uid if found.name else None) == case.uid
    assert tuple(f"{finding.rule}:{finding.line}" for finding in check(found)) == case.findings


def test_the_corpus_is_whole() -> None:
    """At least sixty files, each with a case, and no case without its file."""
    files = {path.stem for path in corpus.HERE.glob("*.Dockerfile")}
    assert files == {case.file for case in corpus.CASES}
    assert len(files) >= 60
