"""What is kept of a run."""

import pytest

from tests.versions import __main__ as running
from tests.versions import results
from tests.versions.__main__ import Recorder

ALL = [pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED]


@pytest.mark.parametrize("code", list(pytest.ExitCode))
def test_a_run_that_did_not_come_to_its_end_is_not_kept(code: pytest.ExitCode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one that was interrupted some tests have passed."""
    kept: list[str] = []

    def main(_: list[str], plugins: list[Recorder]) -> pytest.ExitCode:
        plugins[0].outcomes["a.py::b"] = "passed"
        return code

    monkeypatch.setattr(running, "_reported", lambda: ("1.36.3", ""))
    monkeypatch.setattr(pytest, "main", main)
    monkeypatch.setattr(results, "keep", lambda *given: kept.append(given[2]))
    assert running._here(["CRDs"]) == code
    assert kept == (["CRDs"] if code in ALL else [])
