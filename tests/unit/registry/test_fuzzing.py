"""Readers of what strangers send refuse it in their own words, whatever it is. The long form is `tests.support.fuzzing`."""

import pytest

from tests.support.fuzzing import TARGETS, executed


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_a_refusal_leaves_a_reader(name: str) -> None:
    """In many ways, or the mutations reach nothing."""
    assert executed(TARGETS[name], 1500) >= 2
