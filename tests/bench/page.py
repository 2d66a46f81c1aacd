"""The readiness page of 10,000 workloads: `python -m tests.bench.page`. How large it is, and how it feels in a browser.

Times are seconds of a processor, of the page's thread in the browser: a busy machine does not change them much.
"""

import asyncio
import gzip
import tempfile
import time
from collections.abc import Callable

from playwright.sync_api import CDPSession

from tests.support.browser import chromium
from tests.support.images import image
from tests.support.pages import IMAGES, scanned, workload
from webhook.scan.document import Document
from webhook.scan.html.page import render

WORKLOADS, NAMESPACES, KINDS = 10_000, 200, 200  # and as many images as kinds
LOAD_MILLISECONDS = 300_000.0
SORT = "document.querySelector('#every-workload th:nth-child(3) button').click()"
FILTER = """
  const field = document.querySelector('[name=text]');
  field.value = '{}';
  field.dispatchEvent(new Event('input', {{bubbles: true}}))"""
DRAWN = "() => {{ {}; return new Promise(drawn => requestAnimationFrame(() => setTimeout(drawn))); }}"


async def _document() -> Document:
    names = [f"app-{number}" for number in range(KINDS)]
    IMAGES.update(
        {f"registry.example/{name}:1": image(("app", "", "7")[place % 3]) for place, name in enumerate(names)}
    )
    return await scanned(
        *(
            workload("Deployment", f"team-{each % NAMESPACES}", f"web-{each}", names[each % KINDS])
            for each in range(WORKLOADS)
        )
    )


def _busy(session: CDPSession) -> float:
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    return float(metrics["TaskDuration"])


def main() -> None:
    """Print the figures of one run."""
    document = asyncio.run(_document())
    render(document)
    began = time.process_time()
    page = render(document)
    made, size, packed = time.process_time() - began, len(page.encode()), len(gzip.compress(page.encode(), 6))
    print(f"made in {made:.2f} s: {size / 1e6:.1f} MB, {packed / 1e6:.2f} MB compressed")
    with chromium() as browser, tempfile.NamedTemporaryFile("w", suffix=".html") as file:
        file.write(page)
        file.flush()
        tab = browser.new_page()
        session = tab.context.new_cdp_session(tab)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        steps: dict[str, Callable[[], object]] = {
            "loaded": lambda: tab.goto(f"file://{file.name}", timeout=LOAD_MILLISECONDS),
            "sorted": lambda: tab.evaluate(DRAWN.format(SORT)),
            "filtered by 'web-77'": lambda: tab.evaluate(DRAWN.format(FILTER.format("web-77"))),
            "filtered by 'team-7 root'": lambda: tab.evaluate(DRAWN.format(FILTER.format("team-7 root"))),
        }
        for name, step in steps.items():
            before = _busy(session)
            step()
            print(f"{name}: {_busy(session) - before:.2f} s")


if __name__ == "__main__":
    main()
