"""Threads take turns by namespace, not by who came first."""

import threading
import time

import pytest

from webhook.registry.layers.turns import ThreadTurns


def work(turns: ThreadTurns, namespace: str, done: list[str]) -> threading.Thread:
    """A thread that waits for a turn of the namespace, and then notes that it had it."""

    def run() -> None:
        with turns.turn(namespace):
            done.append(namespace)

    thread = threading.Thread(target=run)
    waiting = sum(map(len, turns._waiting.values()))
    thread.start()
    while sum(map(len, turns._waiting.values())) == waiting:
        time.sleep(0.001)
    return thread


def test_turns_go_round_by_namespace() -> None:
    """One that has many pieces of work waiting has one turn, and then the next has one."""
    turns, done = ThreadTurns(1, 5.0), list[str]()
    with turns.turn("evil"):
        threads = [work(turns, each, done) for each in ("evil", "evil", "evil", "good", "good", "other")]
        assert not done
    for thread in threads:
        thread.join()
    assert done == ["evil", "good", "other", "evil", "good", "evil"]
    with turns.turn("evil"):  # nobody waits any more
        assert not turns._waiting


def test_no_more_work_at_once_than_there_are_turns() -> None:
    """One that fails gives its turn back, too."""
    turns, done = ThreadTurns(2, 5.0), list[str]()
    with pytest.raises(ValueError, match="broken"), turns.turn("a"):
        raise ValueError("broken")
    with turns.turn("a"):
        with turns.turn("b"):
            thread = work(turns, "c", done)
            assert not done
        thread.join()
        assert done == ["c"]


def test_who_has_had_much_rests() -> None:
    """After each turn, for seven times as long, until time has passed; another does not."""
    now, used, rests = [0.0], [0.0], list[tuple[str, float]]()
    namespace = "evil"
    turns = ThreadTurns(1, 5.0, lambda: now[0], lambda: used[0], lambda seconds: rests.append((namespace, seconds)))

    def work(seconds: float) -> None:
        with turns.turn(namespace):
            used[0] += seconds

    for seconds in (3.0, 2.0, 0.5, 0.25):
        work(seconds)
    assert rests == [("evil", 3.5), ("evil", 1.75)]
    namespace = "good"
    work(4.0)
    namespace = "evil"
    now[0] += 30  # 2.5 of 5.75 are forgiven
    work(1.5)
    work(1.0)
    assert rests[2:] == [("evil", 7.0)]
    now[0] += 3600
    work(5.0)
    assert len(rests) == 3


def test_namespaces_are_forgotten_when_there_are_too_many() -> None:
    turns = ThreadTurns(1, 5.0)
    for number in range(2000):
        with turns.turn(f"{number}"):
            pass
    assert len(turns._spent) == 1000
    assert "1999" in turns._spent
