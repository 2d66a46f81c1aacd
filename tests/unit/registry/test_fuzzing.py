"""Readers of what strangers send refuse it in their own words, whatever it is. The long form is `make test-fuzz`."""

import pytest
from hypothesis import settings

from tests.support.fuzzing import TARGETS, executed


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_a_refusal_leaves_a_reader(name: str) -> None:
    """In many ways, or the mutations reach nothing."""
    assert executed(TARGETS[name], 15 * settings().max_examples) >= 2


def test_the_long_form_is_two_million_executions() -> None:
    assert sum(each.executions for each in TARGETS.values()) >= 2_000_000
