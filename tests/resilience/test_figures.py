"""What is shown was measured, and nothing that was measured is kept back."""

from tests.resilience import figures


def test_the_page_and_the_documentation_show_what_was_kept() -> None:
    """`python -m tests.resilience.figures` writes both."""
    results = figures.load()
    assert results.faults
    shown = figures.SECTION.read_text(encoding="utf-8")
    assert figures.filled_in(shown, results) == shown
    assert figures.page(results) == figures.PAGE.read_text(encoding="utf-8")


def test_no_verdict_was_wrong() -> None:
    """The documentation says so."""
    assert not [each.fault for each in figures.load().faults.values() if each.wrong]
