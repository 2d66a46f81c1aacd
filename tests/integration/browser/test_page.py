"""The readiness report in a real Chromium: sorting, filtering, copying, printing, the keyboard, both colour schemes."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, expect

from tests.support import pages
from tests.support.browser import Visit, chromium
from tests.unit.cli.output.test_formats import REPORT
from webhook.cli.output import render as render_check
from webhook.scan.html.page import render

Open = Callable[..., Visit]


@pytest.fixture(scope="module")
def html() -> dict[str, str]:
    """The pages, made before the browser starts: its driver keeps the thread's event loop to itself."""

    async def made() -> dict[str, str]:
        documents = {
            "small": pages.small(),
            "followed": pages.followed(),
            "large": pages.large(),
            "hostile": pages.hostile(),
        }
        return {name: render(await document) for name, document in documents.items()}

    return asyncio.run(made()) | {"check": render_check("html", REPORT)}


@pytest.fixture(scope="module")
def browser(html: dict[str, str]) -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def visit(browser: Browser, html: dict[str, str]) -> Iterator[Open]:
    """Open a page by its name; at the end, nothing was asked for and nothing was complained of."""
    visits: list[Visit] = []

    def start(name: str, **options: Any) -> Visit:
        visits.append(Visit(browser, html[name], **options))
        return visits[-1]

    yield start
    for each in visits:
        each.context.close()
    assert [complaint for each in visits for complaint in each.complaints] == []


def _workloads(visit: Visit) -> Locator:
    """The rows of the workloads that are to be seen."""
    return visit.page.locator("#every-workload tbody tr:visible")


def _column(visit: Visit, number: int, table: str = "#every-workload") -> list[str]:
    """The text of a column's cells, from 1."""
    return visit.page.locator(f"{table} tbody tr > :nth-child({number})").all_inner_texts()


@pytest.mark.parametrize(
    ("name", "scheme", "width"),
    [
        *(("small", scheme, width) for scheme in ("light", "dark") for width in (1280, 390)),
        ("hostile", "dark", 1280),
        ("followed", "light", 390),
        ("followed", "dark", 1280),
        ("check", "light", 390),
        ("check", "dark", 1280),
    ],
)
def test_axe_finds_nothing(visit: Open, name: str, scheme: str, width: int) -> None:
    """Roles, names, headings, landmarks, contrast: in both schemes, on a desk and on a telephone."""
    opened = visit(name, color_scheme=scheme, viewport={"width": width, "height": 900})
    for each in opened.page.locator("summary").all()[:3]:
        each.click()
    assert opened.violations() == []


def test_axe_can_find_something(browser: Browser) -> None:
    bad = Visit(browser, "<title>x</title><p style='color:#999;background:#fff'>pale<img src='data:,'>")
    found = " ".join(bad.violations())
    bad.context.close()
    assert "color-contrast" in found
    assert "image-alt" in found


def test_columns_sort_by_keyboard_as_people_read(visit: Open) -> None:
    """Names with numbers in them by the number; the second time the other way round; said to a screen reader."""
    opened = visit("large")
    heading = opened.page.locator("#every-workload thead th").nth(2)
    heading.get_by_role("button").focus()
    opened.page.keyboard.press("Enter")
    expect(heading).to_have_attribute("aria-sort", "ascending")
    assert [text.split()[-1] for text in _column(opened, 3)][:3] == ["web-0", "web-1", "web-2"]
    expect(opened.page.locator("#announcement")).to_have_text("Sorted by Workload, ascending")
    opened.page.keyboard.press("Space")
    expect(heading).to_have_attribute("aria-sort", "descending")
    assert _column(opened, 3)[0].split()[-1] == "web-449"
    expect(opened.page.locator("#every-workload [aria-sort]")).to_have_count(1)


def test_counts_sort_from_the_highest_and_outcomes_from_the_worst(visit: Open) -> None:
    opened = visit("small")
    table = opened.page.locator("table").first
    table.get_by_role("button", name="Workloads").click()
    assert [int(text) for text in _column(opened, 3, "section:nth-of-type(2) table")] == [5, 2]
    assert _column(opened, 1)[:2] == ["Denied", "Denied"]
    assert _column(opened, 1)[-1] == "Exempted"


def test_filters_narrow_the_workloads_and_say_so(visit: Open) -> None:
    """Words, outcome, namespace; together, and cleared."""
    opened = visit("small")
    page, status = opened.page, opened.page.get_by_role("search").get_by_role("status")
    expect(status).to_have_text("7 of 7")
    page.get_by_role("searchbox", name="Containing").fill("SHOP loose")
    expect(status).to_have_text("1 of 7: “shop loose”")
    page.get_by_role("combobox", name="If enforced").select_option("Exempted")
    expect(status).to_have_text("0 of 7: Exempted, “shop loose”")
    expect(_workloads(opened)).to_have_count(0)
    page.get_by_role("button", name="Clear").click()
    expect(status).to_have_text("7 of 7")
    page.get_by_role("combobox", name="Namespace").select_option("billing")
    expect(_workloads(opened)).to_have_count(2)


@pytest.mark.parametrize(
    ("link", "result"),
    [
        ("Unknown", "1 of 7: Unknown"),
        ("shop", "5 of 7: shop"),
        ("registry.example/name:1", "2 of 7: “re"),
    ],
)
def test_sums_lead_to_what_they_count(visit: Open, link: str, result: str) -> None:
    """An outcome, a namespace, an image: each filters the workloads and takes the reader there."""
    opened = visit("small")
    opened.page.get_by_role("link", name=link, exact=True).focus()
    opened.page.keyboard.press("Enter")
    expect(opened.page.get_by_role("search").get_by_role("status")).to_contain_text(result)
    expect(opened.page.get_by_role("heading", name="Workloads", exact=True)).to_be_in_viewport()


def test_lines_are_copied(visit: Open) -> None:
    """One line of a Dockerfile, several of a manifest; exactly those."""
    opened = visit("small", permissions=["clipboard-read", "clipboard-write"])
    opened.page.clock.install()
    opened.page.clock.pause_at(time.time() + 1)  # else the first mark may be gone before the second is there
    opened.page.get_by_role("button", name="Copy USER 1000").first.click()
    expect(opened.page.locator("#announcement")).to_have_text("Copied")
    assert opened.page.evaluate("navigator.clipboard.readText()") == "USER 1000"
    opened.page.get_by_role("button", name="Copy runAsUser: 1000 runAsNonRoot").first.click()
    expect(opened.page.locator(".copied")).to_have_count(2)
    assert opened.page.evaluate("navigator.clipboard.readText()").splitlines() == [
        "runAsUser: 1000",
        "runAsNonRoot: true",
        "allowPrivilegeEscalation: false",
        "capabilities:",
        "  drop: [ALL]",
        "  add: [NET_BIND_SERVICE]",
        "seccompProfile: {type: RuntimeDefault}",
    ]
    opened.page.clock.run_for(2000)
    expect(opened.page.locator(".copied")).to_have_count(0)


def test_where_there_is_no_clipboard_the_line_is_selected(visit: Open) -> None:
    opened = visit("small")
    opened.page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(); }")
    opened.page.get_by_role("button", name="Copy USER 1000").first.click()
    expect(opened.page.locator("#announcement")).to_have_text("Selected; copy it with the keyboard")
    assert opened.page.evaluate("getSelection().toString()") == "USER 1000"


def test_long_tables_come_in_parts_and_print_whole(visit: Open) -> None:
    """Two hundred rows at a time; on paper all of them, and nothing to press."""
    opened = visit("large")
    expect(_workloads(opened)).to_have_count(200)
    opened.page.get_by_role("button", name="Show 200 more of 250").click()
    expect(_workloads(opened)).to_have_count(400)
    opened.page.emulate_media(media="print")
    expect(_workloads(opened)).to_have_count(450)
    for control in ("button.copy", "button.more", ".skip", "select"):
        expect(opened.page.locator(f"{control}:visible")).to_have_count(0)


def test_print_keeps_the_filter_and_says_which(visit: Open) -> None:
    opened = visit("small")
    opened.page.get_by_role("combobox", name="Namespace").select_option("billing")
    opened.page.emulate_media(media="print")
    expect(_workloads(opened)).to_have_count(2)
    expect(opened.page.get_by_text("2 of 7: billing")).to_be_visible()


def test_print_unfolds(visit: Open) -> None:
    opened = visit("small")
    folded = opened.page.locator("details p").first
    assert folded.evaluate("element => element.clientHeight") == 0
    opened.page.emulate_media(media="print")
    assert folded.evaluate("element => element.clientHeight") > 0


def test_it_reads_without_javascript(visit: Open) -> None:
    """All rows, and nothing that would need a script."""
    opened = visit("large", java_script_enabled=False)
    assert _workloads(opened).count() == 450
    assert opened.page.locator("button:visible, form:visible").count() == 0
    assert opened.page.locator("h1").inner_text() == "150 of 450 workloads would be denied if enforced now"


def test_the_keyboard_reaches_everything_in_order(visit: Open) -> None:
    """The way past the head first; then each control in the order of the page, with a ring around it."""
    opened = visit("small")
    opened.page.keyboard.press("Tab")
    expect(opened.page.locator(":focus")).to_have_text("Skip to the content")
    seen: list[int] = []
    reach = "button:visible, a[href]:visible, summary:visible, select:visible, input:visible, [tabindex='0']"
    controls = opened.page.locator(reach).count()
    for _ in range(controls - 1):
        opened.page.keyboard.press("Tab")
        here = "document.activeElement"
        seen.append(opened.page.evaluate(f"[...document.querySelectorAll('*')].indexOf({here})"))
        assert opened.page.evaluate(f"getComputedStyle({here}).outlineStyle") == "solid"
    assert seen == sorted(set(seen))


def test_the_schemes_differ_and_the_narrow_page_does_not_scroll_sideways(visit: Open) -> None:
    paper = {}
    for scheme in ("light", "dark"):
        opened = visit("small", color_scheme=scheme, viewport={"width": 390, "height": 844})
        paper[scheme] = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}


def test_the_trend_fits_a_telephone_and_its_numbers_unfold(visit: Open) -> None:
    opened = visit("followed", viewport={"width": 390, "height": 844}, java_script_enabled=False)
    picture = opened.page.get_by_role("img", name="Workloads over time: ")
    box = picture.bounding_box()
    assert box is not None
    assert (box["x"], box["width"], box["height"]) == (16, 358, 96)
    opened.page.get_by_text("Every change").click()
    expect(opened.page.get_by_role("rowheader", name="6 November 2026, 12:00 UTC")).to_be_visible()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_hostile_names_stay_text(visit: Open) -> None:
    """No dialog, no request, no element: what was written is read, escapes as escapes."""
    opened = visit("hostile")
    expect(opened.page.locator("#every-workload img, #every-workload script")).to_have_count(0)
    expect(opened.page.locator("#every-workload tbody th")).to_contain_text("<script>alert(1)</script>")
    opened.page.get_by_role("combobox", name="Namespace").select_option(index=1)
    expect(_workloads(opened)).to_have_count(1)
