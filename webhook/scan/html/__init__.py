"""Self-contained HTML pages from Jinja2 templates: one file each, that asks nobody for anything.

A page carries its style and its script, and a Content-Security-Policy that allows these two, by their hashes, and no
request at all. Whatever a template puts in is escaped, and before that made printable: no expression can forget it.
"""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from webhook.evaluation.documentation import rule_url
from webhook.text import many, printable

if TYPE_CHECKING:
    from jinja2 import Environment

LONGEST = 4000  # characters of one stranger's text


def render(template: str, **values: object) -> str:
    """A page from the template at that path inside of this distribution's package, such as `scan/html/page.html`."""
    return _environment().get_template(template).render(values)


@cache
def _environment() -> "Environment":
    from jinja2 import (
        Environment,
        PackageLoader,
        StrictUndefined,
    )  # 4 MiB that a controller whose page nobody opens does without

    environment = Environment(
        loader=PackageLoader("webhook", ""),
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = (Path(__file__).with_name(name).read_text() for name in ("style.css", "script.js"))
    environment.globals |= {
        "style": Markup(style),  # noqa: S704 - ours, as is the script
        "script": Markup(script),  # noqa: S704
        "security": f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        "many": many,
        "rule_url": rule_url,
    }
    return environment


def _finalize(value: object) -> object:
    return printable(value, LONGEST) if isinstance(value, str) and not isinstance(value, Markup) else value


def _hash(text: str) -> str:
    """The source expression for an inline element with this text (W3C, Content Security Policy Level 3, 2.3.1)."""
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
