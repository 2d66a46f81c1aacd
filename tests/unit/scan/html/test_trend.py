"""The counts of former scans as a picture and in words."""

from datetime import timedelta

import msgspec

from tests.support.markup import Markup
from tests.support.pages import HISTORY, followed, small
from webhook.scan import document
from webhook.scan.document import STATES, Sample
from webhook.scan.html.page import render
from webhook.scan.html.trend import Rect, rects, unchanged_since

START = HISTORY[0].at
NOW = START + timedelta(days=20)


def test_columns_are_as_wide_as_their_time_and_parts_as_high_as_their_counts() -> None:
    assert list(rects(HISTORY, NOW, STATES.values())) == [
        Rect("compliant", 0.0, 250.0, 87.5, 12.5),
        Rect("fixable", 0.0, 250.0, 75.0, 12.5),
        Rect("denied", 0.0, 250.0, 25.0, 50.0),
        Rect("unknown", 0.0, 250.0, 12.5, 12.5),
        Rect("exempted", 0.0, 250.0, 0.0, 12.5),
        Rect("compliant", 250.0, 750.0, 87.5, 12.5),
        Rect("fixable", 250.0, 750.0, 62.5, 25.0),
        Rect("denied", 250.0, 750.0, 37.5, 25.0),
        Rect("unknown", 250.0, 750.0, 25.0, 12.5),
        Rect("exempted", 250.0, 750.0, 12.5, 12.5),
    ]


def test_nothing_is_drawn_of_no_time_or_no_workload() -> None:
    assert list(rects(HISTORY[:1], START, STATES.values())) == []
    assert list(rects((Sample(START, 0, 0, 0, 0, 0, 0),), NOW, STATES.values())) == []


def test_a_count_is_the_same_since_it_was_another() -> None:
    assert unchanged_since(HISTORY, "denied") == (HISTORY[1].at, True)
    assert unchanged_since(HISTORY, "exempted") == (START, False)


async def test_the_page_says_since_when_and_shows_every_change() -> None:
    page = render(await followed())
    for sentence in (
        '<h2 id="trend">Since 1 November 2026</h2>',
        "Denied 4 then and 2 now",
        '<span class="quiet">since 6 November 2026</span>',
        '<span class="quiet">since 1 November 2026 or longer</span>',
        '<th scope="row">6 November 2026, 12:00 UTC</th>',
    ):
        assert sentence in page
    assert page.index(">6 November 2026, 12:00") < page.index(">1 November 2026, 12:00")
    assert Markup(page).asks_for() == set()


async def test_a_count_that_only_a_later_look_has_found_is_of_no_known_age() -> None:
    """A look at some namespaces adds no sample."""
    page = render(msgspec.structs.replace(await small(), history=(msgspec.structs.replace(HISTORY[1], denied=3),)))
    assert page.count("or longer</span>") == 4


async def test_without_a_second_sample_there_is_no_trend() -> None:
    assert 'id="trend"' not in render(msgspec.structs.replace(await small(), history=HISTORY[:1]))
    assert "since" not in render(await small()).partition("<main")[2].partition("<section>")[0]


async def test_the_history_is_of_the_whole_cluster_alone() -> None:
    """A reader of one namespace learns nothing from it of the others, and two clusters have none in common."""
    whole = await followed()
    assert document.part(whole, {"shop"}).history == ()
    assert document.merged([whole, whole]).history == ()
    assert document.renewed(whole, document.part(whole, {"shop"}), {"shop"}).history == HISTORY
