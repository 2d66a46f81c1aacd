"""Signals are held back while a process is being started."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from deploy.local.commands import signals_held


def test_a_signal_comes_when_the_process_is_known() -> None:
    known = []

    def start() -> None:
        with signals_held():
            signal.raise_signal(signal.SIGINT)
            known.append(True)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            start()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert known


def test_a_thread_has_no_signals_to_hold() -> None:
    def start() -> bool:
        with signals_held():
            return True

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(start).result()
