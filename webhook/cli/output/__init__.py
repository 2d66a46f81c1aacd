"""The formats of a check's report, each with types of its own: no one of them is the report."""

from importlib import import_module

from webhook.check.report import Report

FORMATS = ("text", "json", "sarif", "github", "html", "junit", "gitlab")
_MODULES = {"json": "json_v1"}


def render(form: str, report: Report) -> str:
    """The report in one of `FORMATS`; only that one's module is loaded."""
    rendered: str = import_module(f"{__name__}.{_MODULES.get(form, form)}").render(report)
    return rendered.encode("utf-8", "backslashreplace").decode()
