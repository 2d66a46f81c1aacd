"""The status table as text, as Markdown for a pull request, and as JSON version 1.

The JSON Schema is published beside this module, as `table.v1.schema.json`; `python -m webhook.cli.output.table` writes
it anew from the types below.
"""

from pathlib import Path
from typing import Literal

import msgspec

from webhook import json_output
from webhook.check.practices.table import Table, TableSection
from webhook.text import printable

FORMATS = ("text", "markdown", "json")


class Line(msgspec.Struct, frozen=True):
    """A row. `place` is a line or a field, or empty."""

    practice: str
    status: Literal["Pass", "Fail", "Not applicable"]
    comment: str
    place: str


class Part(msgspec.Struct, frozen=True):
    """The rows about one file, or about one object in it."""

    title: str
    rows: tuple[Line, ...]


class Skip(msgspec.Struct, frozen=True):
    """A file or object that could not be examined, and why."""

    path: str
    line: int
    reason: str


class Document(msgspec.Struct, frozen=True):
    """The whole output of `nonroot check --table -o json`."""

    version: Literal[1]
    tables: tuple[Part, ...]
    skipped: tuple[Skip, ...]


def render(form: str, table: Table) -> str:
    """The table in one of `FORMATS`."""
    if form == "json":
        return json_output.text(document(table))
    sheet = _markdown if form == "markdown" else _text
    lines = [line for each in table.sheets for line in (*sheet(each), "")]
    lines += [f"{printable(each.path)}:{each.line}: skipped {printable(each.reason)}" for each in table.skipped]
    return "\n".join(lines).rstrip("\n") + "\n"


def document(table: Table) -> Document:
    """The table as version 1."""
    return Document(
        version=1,
        tables=tuple(
            Part(sheet.title, tuple(Line(each.practice, each.status, each.comment, each.place) for each in sheet.rows))
            for sheet in table.sheets
        ),
        skipped=tuple(Skip(each.path, each.line, each.reason) for each in table.skipped),
    )


def schema() -> bytes:
    """The JSON Schema of the table, as it is published."""
    return json_output.schema(Document, "nonroot check --table")


SCHEMA = Path(__file__).with_name("table.v1.schema.json")


def _text(sheet: TableSection) -> list[str]:
    width = max(len(row.practice) for row in sheet.rows)
    return [
        printable(sheet.title),
        *(
            f"  {row.practice:{width}}  {row.status:14}  {printable(row.comment)}{_place(row.place)}".rstrip()
            for row in sheet.rows
        ),
    ]


def _markdown(sheet: TableSection) -> list[str]:
    rows = [f"| {row.practice} | {row.status} | {_cell(row.comment + _place(row.place))} |" for row in sheet.rows]
    return [f"### {_cell(sheet.title)}", "", "| Practice | Status | Comment |", "|---|---|---|", *rows]


def _place(place: str) -> str:
    return f" ({place})" if place else ""


def _cell(text: str) -> str:
    """Text that ends no cell, and is no markup."""
    text = printable(text).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{letter}" if letter in "|\\`*_[]" else letter for letter in text)


if __name__ == "__main__":
    SCHEMA.write_bytes(schema())
