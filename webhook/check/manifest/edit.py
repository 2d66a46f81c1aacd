"""The editing of a manifest's text by a JSON Patch of additions: every other character stays as it was.

Text is inserted at the marks of the tree; nothing is printed anew, so comments, order, quotes, anchors and indentation
stay. What would change more than one place (behind an alias, or inside what an alias repeats) is left to its author. The
new text is read again, and must hold exactly the data that was meant.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

import msgspec

from webhook.check.manifest.decode import entry, plain
from webhook.check.manifest.parser import Alias, MalformedYaml, Mapping, Node, Scalar, Sequence, documents
from webhook.errors import NonrootError
from webhook.evaluation.patch import Operation

_STEP = 2  # columns of indentation where the file shows none


class NotEditable(NonrootError):
    """The addition cannot be made without changing something else; `line` is where."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class Addition(msgspec.Struct, frozen=True):
    """The operations on one object: `node` is the object's in its document, `pointer` leads there from the document."""

    document: int
    node: Node
    pointer: str
    operations: tuple[Operation, ...]


class _Edit(msgspec.Struct, frozen=True):
    start: int
    end: int
    text: str


class _Planned(msgspec.Struct, frozen=True):
    addition: Addition
    edits: tuple[_Edit, ...]


def apply(text: str, additions: list[Addition]) -> tuple[str, list[NotEditable]]:
    """The text with every addition that can be made, and why the others cannot; in time linear to the text."""
    if not additions:
        return text, []
    try:
        data = [plain(root) for root in documents(text)]
    except MalformedYaml as error:
        return text, [NotEditable("nothing is added to a file that cannot be read to its end", error.line)]
    planned: list[_Planned] = []
    failures: list[NotEditable] = []
    for addition in additions:
        try:
            planned.append(_Planned(addition, tuple(_plan(text, addition))))
        except NotEditable as error:
            failures.append(error)
    safe = _safe(text, data, planned)
    failures += [
        NotEditable("the file is written in a way that cannot be added to safely", each.addition.node.start.line)
        for each in planned
        if each not in safe
    ]
    return _written(text, safe), failures


def _plan(text: str, addition: Addition) -> Iterator[_Edit]:
    for pointer, members in _by_parent(addition.operations).items():
        yield from _edits(text, _mapping(addition.node, pointer), members)


def _safe(text: str, data: list[Any], planned: list[_Planned]) -> list[_Planned]:
    """The edits whose text, read again, holds the data that was meant; halved until each one is known."""
    if not planned or _data(_written(text, planned)) == _expected(data, planned):
        return planned
    if len(planned) == 1:
        return []
    middle = len(planned) // 2
    return _safe(text, data, planned[:middle]) + _safe(text, data, planned[middle:])


def _written(text: str, planned: list[_Planned]) -> str:
    parts: list[str] = []
    done = 0
    for edit in sorted((edit for each in planned for edit in each.edits), key=lambda each: each.start):
        parts += (text[done : edit.start], edit.text)
        done = edit.end
    return "".join((*parts, text[done:]))


def _by_parent(operations: tuple[Operation, ...]) -> dict[str, dict[str, Any]]:
    """The additions by the mapping that they go into, which is always there."""
    members: dict[str, dict[str, Any]] = {}
    for operation in operations:
        parent, _, name = operation["path"].rpartition("/")
        members.setdefault(parent, {})[name] = operation["value"]
    return members


def _mapping(root: Node, pointer: str) -> Mapping:
    """The mapping at a pointer, where an edit touches this one place of the text only."""
    node = root
    for step in pointer.split("/")[1:]:
        _check_alone(node)
        if isinstance(node, Sequence):
            node = node.items[int(step)]
            continue
        found = entry(node, step)
        if found is None:
            raise NotEditable(f"{step} comes through an anchor and <<: add the fields there by hand", node.start.line)
        node = found[1]
    _check_alone(node)
    if not isinstance(node, Mapping):
        raise NotEditable("it is no mapping that fields can be added to", node.start.line)
    return node


def _check_alone(node: Node) -> None:
    if isinstance(node, Alias) or (isinstance(node, Mapping | Sequence) and node.shared):
        raise NotEditable("an anchor stands for it in several places: add the fields by hand", node.start.line)


def _edits(text: str, parent: Mapping, members: dict[str, Any]) -> Iterator[_Edit]:
    fresh: dict[str, Any] = {}
    for name, value in members.items():
        there = entry(parent, name)
        if there is None:
            fresh[name] = value
        else:  # as null or empty, which counts as not there
            yield _fill(text, there[1], value)
    if fresh:
        yield _into_flow(text, parent, fresh) if parent.flow else _into_block(text, parent, fresh)


def _fill(text: str, value: Node, data: Any) -> _Edit:
    empty = isinstance(value, Mapping) and not value.entries and not value.shared
    if not (isinstance(value, Scalar) or empty):
        raise NotEditable("it is there, in a way that cannot be added to", value.start.line)
    start, end = value.start.index, value.end.index
    return _Edit(start, end, f"{'' if end > start else ' '}{_inline(data, _is_json(text))}")


def _into_flow(text: str, parent: Mapping, members: dict[str, Any]) -> _Edit:
    quoted = _is_json(text)
    written = [f"{_inline(name, quoted)}: {_inline(value, quoted)}" for name, value in members.items()]
    if not parent.entries:
        place = parent.end.index - 1
        return _Edit(place, place, ", ".join(written))
    key, value = parent.entries[-1]
    place = value.end.index
    before = text[: key.start.index].rpartition("\n")[2]
    own_line = not before.strip() and key.start.line > parent.start.line
    comma = f",{_line_end(text, place)}{before}" if own_line else ", "
    return _Edit(place, place, "".join(f"{comma}{each}" for each in written))


def _into_block(text: str, parent: Mapping, members: dict[str, Any]) -> _Edit:
    place = _behind(text, parent)
    indent = parent.start.column - 1
    ending = _line_end(text, place)
    lines = [line for name, value in members.items() for line in _block(name, value, indent, _step(parent))]
    body = "".join(f"{line}{ending}" for line in lines)
    if place and text[place - 1] != "\n":  # the last line of the file, without an end
        body = ending + body.removesuffix(ending)
    return _Edit(place, place, body)


def _behind(text: str, node: Node) -> int:
    """The beginning of the line below the last one that belongs to a block; what is written there goes on with it."""
    last = node
    while isinstance(last, Mapping | Sequence) and not last.flow:
        last = last.entries[-1][1] if isinstance(last, Mapping) else last.items[-1]
    place = last.end.index
    if isinstance(last, Scalar) and last.block:
        if "+" not in text[last.start.index : last.start.index + 3]:
            kept = text[:place].rstrip(" \r\n")
            place = len(kept)
        elif text[place - 1 : place] == "\n":
            return place
    end = text.find("\n", place)
    return len(text) if end == -1 else end + 1


def _block(name: str, value: Any, indent: int, step: int) -> list[str]:
    if not isinstance(value, dict):
        return [f"{' ' * indent}{name}: {_inline(value, quoted=False)}"]
    inside = [line for key, each in value.items() for line in _block(key, each, indent + step, step)]
    return [f"{' ' * indent}{name}:", *inside]


def _inline(value: Any, quoted: bool) -> str:
    """A value on one line: JSON, or YAML's flow style. Strings are names of our own, which need no quotes."""
    if quoted or isinstance(value, bool | int):
        return json.dumps(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_inline(each, quoted)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_inline(each, quoted) for each in value) + "]"
    return str(value)


def _step(parent: Mapping) -> int:
    """By how many columns this mapping indents what is below it; two where nothing is."""
    for _, value in parent.entries:
        if isinstance(value, Mapping) and not value.flow and value.entries:
            return value.start.column - parent.start.column
    return _STEP


def _is_json(text: str) -> bool:
    return text.lstrip()[:1] in {"{", "["}


def _line_end(text: str, place: int) -> str:
    """How lines end near a place."""
    end = text.find("\n", max(place - 1, 0))
    end = end if end != -1 else text.rfind("\n", 0, place)
    return "\r\n" if end > 0 and text[end - 1] == "\r" else "\n"


def _data(text: str) -> list[Any] | None:
    try:
        return [plain(root) for root in documents(text)]
    except MalformedYaml:
        return None


def _expected(before: list[Any], planned: list[_Planned]) -> list[Any]:
    """The data of the text with the operations applied."""
    data = copy.deepcopy(before)
    for addition in (each.addition for each in planned):
        for operation in addition.operations:
            *way, last = (addition.pointer + operation["path"]).split("/")[1:]
            place = data[addition.document]
            for step in way:
                place = place[int(step)] if isinstance(place, list) else place[step]
            place[last] = operation["value"]
    return data
