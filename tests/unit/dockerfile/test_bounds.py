"""A Dockerfile is a stranger's text: whatever it holds, an answer comes soon, or a reason why not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.dockerfiles import dockerfiles
from webhook.check.practices import BuildContext, dockerfile
from webhook.dockerfile import Malformed, evaluate
from webhook.dockerfile.rules import check

REFUSED = {
    "longer than a Dockerfile": ("FROM a\n" + "#" * 1024 + "\n") * 1100,
    "a line longer than BuildKit reads": "FROM a\nRUN " + "x" * 65536,
    "variables that double": "FROM a\nENV A=aaaaaaaa\n" + "ENV A=$A$A\n" * 40,
    "substitutions inside each other": "FROM a\nUSER " + "${A:-" * 5000,
    "arrays inside each other": "FROM a\nRUN " + "[" * 50000 + "]" * 10000,
    "a thousand stages and one": "FROM a\n" * 1001,
    "triggers without end": "FROM a AS s\n"
    + "ONBUILD USER x\n" * 500
    + "FROM s\n" * 1
    + "".join(
        f"FROM s AS s{index}\nCOPY --from=s{index - 1} /a /a\n" if index else "FROM s AS s0\n" for index in range(100)
    ),
    "a pattern of question marks": f"FROM scratch\nENV A={'a' * 50000}\nUSER ${{A##*{'?' * 9000}b}}\n",
}
LARGE = {
    "instructions": "FROM a\n" + "USER a\n" * 28000,
    "variables": "FROM a\n" + "".join(f"ENV A{index}=$A{index - 1}\n" for index in range(10000)),
    "continuations": "FROM a\nRUN a \\\n" + "b \\\n" * 48000 + "c\n",
    "commands": "FROM a\n" + "RUN a && b; c | d\n" * 11200,
    "heredocs": "FROM a\n" + "RUN <<A\nx\nA\n" * 12000,
    "one heredoc": "FROM a\nRUN <<A\n" + "a && b\n" * 28000 + "A\n",
    "open substitutions": "FROM a\nRUN " + "\\\n".join(["$( ${ ` \" ' " * 1600] * 8),
    "many values in one script": 'FROM scratch\nENV A="' + "a " * 12000 + '"\nRUN ' + "\\\n".join(["$A " * 4000] * 10),
    "folders and copies": "FROM a\n"
    + "".join(f"COPY --chown=1 a /d{index}\n" for index in range(3200))
    + "USER 5\n"
    + "".join(f"RUN mkdir /x{index}\n" for index in range(4800)),
    "accounts": "FROM scratch\n" + "COPY <<E /etc/passwd\na:x:1:1::/:\nE\n" * 4800 + "USER a",
    "deep folders": "FROM a\nUSER 5\nRUN mkdir " + "\\\n".join(["/a" * 12000] * 8),
    "stages": "".join(f"FROM s{index - 1} AS s{index}\nENV A{index}=1\nUSER $A{index}\n" for index in range(400)),
    "flags": "FROM a\nRUN " + "\\\n".join(["--mount=target=/a " * 1200] * 9) + " x",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_is_too_much_is_refused_in_words(text: str) -> None:
    """Soon, with a line, and without repeating the text."""
    start = time.process_time()
    found = evaluate(text)
    assert isinstance(found, Malformed)
    assert found.line >= 1
    assert len(found.reason) < 300
    assert time.process_time() - start < 5


@pytest.mark.no_cover  # by which it takes up to ten times as long
@pytest.mark.thorough
@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE)
def test_a_large_file_takes_seconds_at_most(text: str) -> None:
    """Evaluation, rules and table together; generous, for a busy machine: what is not linear takes minutes."""
    start = time.process_time()
    found = evaluate(text)
    assert not isinstance(found, Malformed), found
    check(found)
    dockerfile.rows(found, BuildContext())
    assert time.process_time() - start < 20


@settings(derandomize=True)
@given(st.one_of(dockerfiles(hard=True).map(lambda made: made[0]), st.text(max_size=100).map("FROM a\n{}".format)))
def test_nothing_is_raised_for_any_text(text: str) -> None:
    """Neither by the evaluation nor by rules and table; a message is always one printable line."""
    found = evaluate(text)
    if isinstance(found, Malformed):
        assert found.reason.isprintable()
        assert found.line <= text.count("\n") + 1
        return
    for finding in check(found):
        assert finding.message.isprintable()
        assert 1 <= finding.line <= text.count("\n") + 1
    dockerfile.rows(found, BuildContext())
