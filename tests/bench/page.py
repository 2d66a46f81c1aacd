"""The readiness page of 10,000 workloads: `python -m tests.bench.page`. How large it is, and how it feels in a browser."""

import asyncio
import gzip
import time

from tests.scan.pages import IMAGES, scanned, workload
from tests.support.browser import Visit, chromium
from tests.support.images import image
from webhook.scan.document import Document
from webhook.scan.page import render

WORKLOADS, NAMESPACES, KINDS = 10_000, 200, 200  # and as many images as kinds
SORT = "document.querySelector('#every-workload th:nth-child(3) button').click()"
FILTER = """
  const field = document.querySelector('[name=text]');
  field.value = '{}';
  field.dispatchEvent(new Event('input', {{bubbles: true}}))"""
TIMED = "() => {{ const began = performance.now(); {}; document.body.offsetHeight; return performance.now() - began; }}"


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


def main() -> None:
    """Print the figures; times are of one run, in milliseconds unless they say otherwise."""
    document = asyncio.run(_document())
    render(document)
    began = time.perf_counter()
    page = render(document)
    print(f"made in {time.perf_counter() - began:.2f} s: {len(page.encode()) / 1e6:.1f} MB", end="")
    print(f", {len(gzip.compress(page.encode(), 6)) / 1e6:.2f} MB compressed")
    with chromium() as browser:
        visit = Visit(browser, page)
        loaded = visit.page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        print(f"loaded {loaded:.0f}, sorted {visit.page.evaluate(TIMED.format(SORT)):.0f}", end="")
        for word in ("w", "web-77", "team-7 root"):
            print(f", filtered by {word!r} {visit.page.evaluate(TIMED.format(FILTER.format(word))):.0f}", end="")
        print()


if __name__ == "__main__":
    main()
