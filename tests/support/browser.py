"""A real Chromium, Debian's, driven by Playwright; and axe-core, which knows the rules of accessibility."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # it ships no types
from playwright.sync_api import Browser, ConsoleMessage, Page, Route, expect, sync_playwright

from deploy.local import apt

ADDRESS = "http://localhost/report"  # a place that browsers trust, so that the clipboard works; nobody is asked
TIMEOUT_MILLISECONDS = 30_000.0  # on a busy machine
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, installed if it is not there."""
    if shutil.which("chromium") is None:
        apt.install("chromium")
    expect.set_options(timeout=TIMEOUT_MILLISECONDS)
    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"]  # root may not have one
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=sandbox)
        yield browser
        browser.close()


class Visit:
    """A page in a window of its own. `complaints` are what it asked for besides itself, and what the browser said of it."""

    def __init__(self, browser: Browser, html: str, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(TIMEOUT_MILLISECONDS)
        self.complaints: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.route("**/*", lambda route: self._answer(route, html))
        self.page.goto(ADDRESS)

    def violations(self) -> list[str]:
        """What axe-core has to say: rule, and the first element that breaks it."""
        found = Axe().run(self.page, options=RULES).response["violations"]
        return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]

    def _console(self, message: ConsoleMessage) -> None:
        self.complaints.append(message.text)

    def _answer(self, route: Route, html: str) -> None:
        if route.request.url == ADDRESS:
            route.fulfill(body=html, content_type="text/html; charset=utf-8")
        else:
            self.complaints.append(route.request.url)
            route.abort()
