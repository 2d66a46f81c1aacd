"""How long Pods are asked to come again for one reason."""

from tests.support.clock import Clock
from webhook.admission.retry_window import REASONS_LIMIT, RETRY_WINDOW, RetryWindow


def test_it_closes_and_opens_again_once_the_reason_is_gone_for_long() -> None:
    clock = Clock()
    windows: RetryWindow[str] = RetryWindow(clock)
    for seconds, expected in ((0, True), (RETRY_WINDOW - 1, True), (1, False), (RETRY_WINDOW, False), (1, True)):
        clock.now += seconds
        assert windows.is_open("a") is expected


def test_a_reason_that_is_forgotten_begins_anew() -> None:
    clock = Clock()
    windows: RetryWindow[str] = RetryWindow(clock)
    assert windows.is_open("a")
    clock.now += RETRY_WINDOW
    windows.forget("a")
    windows.forget("never met")
    assert windows.is_open("a")


def test_so_many_reasons_are_remembered() -> None:
    """The one met longest ago is the first to go."""
    clock = Clock()
    windows: RetryWindow[int] = RetryWindow(clock)
    for number in range(REASONS_LIMIT):
        windows.is_open(number)
    clock.now += RETRY_WINDOW
    assert not windows.is_open(0)  # met again, so that the next oldest goes
    windows.is_open(REASONS_LIMIT)
    assert len(windows) == REASONS_LIMIT
    assert not windows.is_open(0)
    assert windows.is_open(1)
