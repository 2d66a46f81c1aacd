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


class Time:
    """A clock for work and rests; `namespace` is who works."""

    def __init__(self) -> None:
        self.now = self.used = 0.0
        self.rests: list[tuple[str, float]] = []
        self.turns = ThreadTurns(1, 5.0, lambda: self.now, lambda: self.used, self.rest)
        self.namespace = "evil"

    def rest(self, seconds: float) -> None:
        self.rests.append((self.namespace, round(seconds, 3)))

    def work(self, seconds: float) -> None:
        with self.turns.turn(self.namespace):
            self.used += seconds


def test_the_more_it_has_had_the_longer_a_namespace_rests() -> None:
    """Seven times its last turn where it has had five seconds; none of that is another's, and time forgives it."""
    time = Time()
    time.work(1.0)
    time.now += 12  # one second is forgiven
    time.work(4.0)
    time.now += 24  # two of four
    time.work(1.0)
    assert time.rests == [("evil", 1.4), ("evil", 22.4), ("evil", 4.2)]
    time.namespace = "good"
    time.work(0.1)
    assert time.rests[3:] == [("good", 0.014)]


def test_all_threads_of_a_namespace_rest() -> None:
    """One whose turn comes while another rests does so until both have."""
    time = Time()
    time.work(1.0)
    time.work(1.0)
    assert time.rests == [("evil", 1.4), ("evil", 4.2)]


def test_who_never_stops_comes_to_its_share() -> None:
    """Twice that in the first minute, and five seconds a minute in the end."""
    time, spent = Time(), list[float]()
    for minute in range(1, 6):
        before = time.used
        while time.now < 60 * minute:
            time.rests.clear()
            time.work(0.01)
            time.now += 0.01 + sum(seconds for _, seconds in time.rests)
        spent.append(time.used - before)
    assert spent[0] == pytest.approx(10.5, abs=0.5)
    assert spent[-1] == pytest.approx(5.0, abs=0.3)


def test_short_rests_are_left_for_the_next() -> None:
    """Sleeping takes longer than they are."""
    time = Time()
    while not time.rests:
        time.work(0.001)
    assert time.used == pytest.approx(0.038)  # they sum up to 0.001 with the 38th
    assert time.rests == [("evil", 0.001)]


def test_namespaces_are_forgotten_when_there_are_too_many() -> None:
    turns = ThreadTurns(1, 5.0)
    for number in range(2000):
        with turns.turn(f"{number}"):
            pass
    assert len(turns._spent) == 1000
    assert "1999" in turns._spent
