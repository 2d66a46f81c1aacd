"""What every source of images can do: tell of those that are stored, which a source without a store looks up or does not know."""

import msgspec

from tests.support.images import Table, image, unknown
from webhook.image.source import NotExamined, Query, find_each

LIKE = Query("", os="windows", namespace="shop", budget=1.5)


async def test_a_source_that_stores_nothing_knows_none_of_them() -> None:
    assert await NotExamined().find_stored(["a.io/a", "a.io/b"], LIKE) == [None, None]


async def test_a_source_may_look_each_of_them_up() -> None:
    """By one question for all but the reference; what is not known is none."""
    table = Table({"a.io/a": image("7"), "a.io/b": unknown("unreachable")})
    assert await find_each(table, ["a.io/b", "a.io/a"], LIKE) == [None, image("7")]
    assert table.asked == [msgspec.structs.replace(LIKE, reference=each) for each in ("a.io/b", "a.io/a")]
