"""The demonstration's output about each Pod: a row of a table where there is room for it, else a card of four lines."""

import json
import re
from typing import Any

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from deploy.demo.reviews import Admitted
from webhook.evaluation import kubelet
from webhook.image.config import parse_user
from webhook.workload import scheduling
from webhook.workload.workload import decode, effective

_REFUSAL = "CreateContainerConfigError: "
WIDE = 120  # columns that the table needs
_USER = re.compile(r'USER "((?:[^"\\]|\\.)*)"')


class Row(msgspec.Struct, frozen=True):
    """The admission of one object. `expected` is None where nobody said what to expect."""

    document: dict[str, Any]
    answer: Admitted
    dockerfile: str = ""
    expected: bool | None = None


def shown(rows: list[Row], width: int) -> RenderableType:
    """All of them, as a table or as cards."""
    return _table(rows) if width >= WIDE else Group(*(line for row in rows for line in _card(row)))


def _card(row: Row) -> list[Text]:
    """Four lines, none longer than the terminal: the answer, who it is, what the kubelet would do, what is injected."""
    allowed = row.answer.validated["allowed"]
    identities = _identities(row.answer)
    name = f"{row.document['kind']} {row.document['metadata'].get('name', '')}"
    mark = {None: "", True: " ✓", False: " ✗ not what was expected"}[row.expected]
    answer = ("allowed", "bold green") if allowed else ("denied", "bold red")
    lines = [
        Text.assemble(answer, f"{mark}  ", (name, "bold"), f"  {_user(row.dockerfile, identities)}"),
        Text(f"  who      {identities or 'not asked'}"),
        Text(f"  kubelet  {'; '.join(_kubelet(row.document, identities)).replace(_REFUSAL, '')}"),
        Text(f"  patch    {', '.join(_patch(row.answer)) or 'none'}"),
    ]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return lines


def _table(rows: list[Row]) -> Table:
    table = Table(show_lines=True, box=box.SQUARE, pad_edge=False)
    for column in ("Pod", "image USER", "who it is, and who says so", "the kubelet alone", "our answer", "patch"):
        table.add_column(column, overflow="fold")
    for row in rows:
        identities = _identities(row.answer)
        allowed = row.answer.validated["allowed"]
        mark = "" if row.expected is None else (" ✓" if row.expected else " ✗ not what was expected")
        table.add_row(
            escape(f"{row.document['kind']} {row.document['metadata'].get('name', '')}"),
            escape(_user(row.dockerfile, identities)),
            escape(identities.replace("; ", "\n")),
            escape("\n".join(_kubelet(row.document, identities))),
            f"[green]allowed[/]{mark}" if allowed else f"[red]denied[/]{mark}",
            escape("\n".join(_patch(row.answer))),
        )
    return table


def _user(dockerfile: str, identities: str) -> str:
    if dockerfile:
        return dockerfile.splitlines()[-1]
    users = [f"USER {user}" for user in _USER.findall(identities)]
    return "\n".join(users) or ("(none)" if "no USER" in identities else "(not asked)")


def _identities(answer: Admitted) -> str:
    """The findings of /mutate before it patched, or else of /validate."""
    notes = answer.mutated.get("auditAnnotations") or answer.validated.get("auditAnnotations") or {}
    return str(notes.get("identities", ""))


def _patch(answer: Admitted) -> list[str]:
    """The injected fields, by container where there are several."""
    said = []
    for each in answer.patch:
        _, _, *way, name = each["path"].split("/")
        if name == "securityContext":
            who = f"{way[0]}[{way[1]}]: " if len(way) == 2 and way[1] != "0" else ""
            said += [f"{who}{field}: {_brief(value)}" for field, value in each["value"].items()]
        elif "securityContext" in way:
            said.append(f"{name}: {_brief(each['value'])}")
    return said


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_brief(inner)}" for name, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else json.dumps(value).strip('"')


def _kubelet(document: dict[str, Any], identities: str) -> list[str]:
    """The kubelet's decision about each container of the object as it was sent."""
    workload = decode(document["kind"], msgspec.json.encode(document))
    if workload is None:
        return []
    os = scheduling.operating_system(workload.spec)
    said = dict(part.partition(": ")[::2] for part in identities.split("; "))
    sentences = []
    for slot in workload.slots():
        merged = effective(slot.container, workload.context)
        result = said.get(slot.container.name, "")
        found = _USER.search(result)
        if kubelet.needs_image(merged, os) and not found and "no USER" not in result:
            sentences.append(f"{slot.container.name}: not known")
            continue
        refused = kubelet.refusal(merged, parse_user(found[1] if found else ""), os)
        sentences.append(f"{_REFUSAL}{refused}" if refused else "starts it")
    return sentences
