"""HTML as a strict reader sees it."""

from html.parser import HTMLParser

VOID = frozenset({"br", "input", "link", "meta", "rect"})


class Markup(HTMLParser):
    """The elements of a page that is well formed: every tag is closed, in order. Raises AssertionError where it is not."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one that closes itself, as SVG's do."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close the last one."""
        assert self._open.pop() == tag

    def asks_for(self) -> set[str]:
        """What a browser would load: every address that is neither a place in the page nor written out in it."""
        loaded = [attrs for tag, attrs in self.elements if tag != "a"]
        values = (attrs.get(name) for attrs in loaded for name in ("src", "href", "srcset", "action", "data"))
        return {value for value in values if value and not value.startswith(("#", "data:"))}

    def links(self) -> set[str]:
        """The other pages that a reader may go to."""
        values = (attrs.get("href") for tag, attrs in self.elements if tag == "a")
        return {value for value in values if value and not value.startswith("#")}

    def handlers(self) -> set[str]:
        """Attributes that are scripts or styles."""
        return {name for _, attrs in self.elements for name in attrs if name.startswith("on") or name == "style"}
