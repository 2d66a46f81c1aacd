"""What every source of images can do: tell of those that are stored, which a source without a store looks up or does not know."""

import asyncio

import msgspec
import pytest

from tests.support.images import Table, image, unknown
from webhook.image.source import Image, Images, NotExamined, Query, Unknown, find_each

LIKE = Query("", os="windows", namespace="shop", budget=1.5)


async def test_a_source_that_stores_nothing_knows_none_of_them() -> None:
    assert await NotExamined().find_stored(["a.io/a", "a.io/b"], LIKE) == [None, None]


@pytest.mark.parametrize("names", ["", "a", "b", "ba", "aba"])
async def test_a_source_may_look_each_of_them_up(names: str) -> None:
    """By one question for all but the reference; what is not known is none."""
    found: dict[str, Image | Unknown] = {"a": image("7"), "b": unknown("unreachable")}
    table = Table({f"a.io/{name}": answer for name, answer in found.items()})
    references = [f"a.io/{name}" for name in names]
    assert await find_each(table, references, LIKE) == [{"a": image("7"), "b": None}[name] for name in names]
    assert table.asked == [msgspec.structs.replace(LIKE, reference=each) for each in references]


class Slow(Images):
    """A source that notes, when it answers, how many questions it has, and whose task asks."""

    def __init__(self) -> None:
        self.asked = 0
        self.answered: list[tuple[int, asyncio.Task[None] | None]] = []

    async def find(self, _query: Query) -> Image | Unknown:
        """As `webhook.image.source.Images`."""
        self.asked += 1
        await asyncio.sleep(0)
        self.answered.append((self.asked, asyncio.current_task()))
        return image("7")


async def test_several_are_looked_up_at_once_and_one_without_a_task() -> None:
    several, one = Slow(), Slow()
    await find_each(several, ["a.io/a", "a.io/b"], LIKE)
    assert [asked for asked, _ in several.answered] == [2, 2]
    await find_each(one, ["a.io/a"], LIKE)
    assert one.answered == [(1, asyncio.current_task())]
