"""The parser of YAML and JSON: a tree in which every node has its place in the text.

The tree is built from libyaml's events, without recursion and with bounds, because a stranger's file may nest or alias
without end.
Source: k8s.io/apimachinery pkg/util/yaml/decoder.go (JSON is told by its first character).
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import yaml

from webhook.errors import NonrootError

DEPTH_LIMIT = 100
NODE_LIMIT = 500_000  # of one document with its aliases written out; an object of 3 MiB has fewer
JSON_LIMIT = 100  # values one after the other in one file
_JSON_START = ("{", "[")
_BLANK = re.compile(r"[\ufeff \t\r\n]*")
_SURROGATES = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_EXCEPT_LINES = re.compile(r"[^\n]")


class MalformedYaml(NonrootError):
    """The text is no YAML that kubectl would read, or more than one; `line` says where, counted from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class Mark(msgspec.Struct, frozen=True):
    """A place in a text: `index` in characters from 0; `line` and `column` from 1, as editors count."""

    index: int
    line: int
    column: int


class _Span(msgspec.Struct):
    """The half-open stretch of text that a node was read from, by libyaml's marks."""

    first: Any
    last: Any

    @property
    def start(self) -> Mark:
        """The position of its beginning."""
        return Mark(self.first.index, self.first.line + 1, self.first.column + 1)

    @property
    def end(self) -> Mark:
        """Behind its last character; of a block collection, where the next thing begins."""
        return Mark(self.last.index, self.last.line + 1, self.last.column + 1)


class Scalar(_Span):
    """A scalar; `plain` where neither quotes nor a tag say that it is a string; `block` is `|` or `>`."""

    text: str
    plain: bool
    tag: str | None
    block: bool


class Mapping(_Span):
    """A mapping in the order of the text. `flow` is `{…}`; `shared` where an alias repeats it."""

    entries: list[tuple["Node", "Node"]]
    flow: bool
    shared: bool = False
    size: int = 1  # nodes, with aliases written out


class Sequence(_Span):
    """A sequence. `flow` is `[…]`; `shared` where an alias repeats it."""

    items: list["Node"]
    flow: bool
    shared: bool = False
    size: int = 1


class Alias(_Span):
    """`*name`, and what it stands for."""

    target: "Scalar | Mapping | Sequence"


Node = Scalar | Mapping | Sequence | Alias


def documents(text: str) -> Iterator[Node]:
    """The documents of a stream, empty ones left out; `MalformedYaml` where it cannot be read on."""
    if text.lstrip("\ufeff \t\r\n").startswith(_JSON_START):
        yield from _json_documents(text)
    else:
        yield from _yaml_documents(text)


def resolved(node: Node) -> Scalar | Mapping | Sequence:
    """The node itself, or the one that it is an alias of."""
    return node.target if isinstance(node, Alias) else node


def _json_documents(text: str) -> Iterator[Node]:
    """JSON values one after the other, checked as JSON; then read as the YAML that they are too, for their marks.

    Two things of JSON are none of libyaml's: tabs between tokens, and characters as pairs of surrogates.
    """
    decoder = json.JSONDecoder(
        parse_int=str
    )  # Python reads no number of more than 4300 digits, and none is needed here
    position, count = _behind_blank(text, 0), 0
    while position < len(text):
        if text.startswith("---", position):
            position = _behind_blank(text, position + 3)
            if not text.startswith(_JSON_START, position):
                yield from _yaml_documents(_EXCEPT_LINES.sub(" ", text[:position]) + text[position:])
                return
            continue
        count += 1
        line = text.count("\n", 0, position) + 1
        if count > JSON_LIMIT:
            raise MalformedYaml(f"more than {JSON_LIMIT} JSON values in one file; put them into a List", line)
        try:
            _, end = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            if count == 1:
                yield from _yaml_documents(text)  # a flow mapping without quotes is YAML all the same
                return
            raise MalformedYaml(f"no JSON: {error.msg}", error.lineno) from None
        except RecursionError:
            raise MalformedYaml("it is nested too deeply", line) from None
        before = _EXCEPT_LINES.sub(" ", text[:position])
        value, pairs = _SURROGATES.subn(r"\\u0020", text[position:end].replace("\t", " "))
        for node in _yaml_documents(before + value):
            if pairs:
                _restore(node, text)
            yield node
        position = _behind_blank(text, end)


def _restore(root: Node, text: str) -> None:
    """Give strings back the characters for which spaces stood."""
    pending = [root]
    while pending:
        node = pending.pop()
        if isinstance(node, Mapping):
            pending.extend(each for pair in node.entries for each in pair)
        elif isinstance(node, Sequence):
            pending.extend(node.items)
        elif isinstance(node, Scalar) and not node.plain:
            node.text = json.loads(text[node.first.index : node.last.index])


def _behind_blank(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return match.end() if match else position


def _yaml_documents(text: str) -> Iterator[Node]:
    try:
        yield from _composed(iter(yaml.CBaseLoader(text).get_event, None))  # without the generator of yaml.parse
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
        raise MalformedYaml(f"no YAML: {problem}", mark.line + 1 if mark else 1) from None
    except UnicodeEncodeError:
        raise MalformedYaml("it holds half of a surrogate pair", 1) from None


def _composed(events: Iterable[Any]) -> Iterator[Node]:
    stack: list[Mapping | Sequence] = []
    keys: list[Node | None] = []  # for each open mapping, the key that waits for its value
    anchors: dict[str, Scalar | Mapping | Sequence] = {}
    for event in events:
        kind = type(event)
        node: Node
        if kind is yaml.ScalarEvent:
            block = event.style == "|" or event.style == ">"  # noqa: PLR1714  # twice as fast, in the hottest loop
            node = Scalar(event.start_mark, event.end_mark, event.value, event.implicit[0], event.tag, block)
            if event.anchor:
                anchors[event.anchor] = node
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            opened = (Mapping if kind is yaml.MappingStartEvent else Sequence)(
                event.start_mark, None, [], event.flow_style
            )
            if event.anchor:
                anchors[event.anchor] = opened
            stack.append(opened)
            keys.append(None)
            if len(stack) > DEPTH_LIMIT:
                raise MalformedYaml(f"it is nested deeper than {DEPTH_LIMIT}", event.start_mark.line + 1)
            continue
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            node = stack.pop()
            keys.pop()
            node.last = event.end_mark
        elif kind is yaml.AliasEvent:
            node = _alias(event, anchors)
        else:
            anchors.clear()
            continue
        if not stack:
            if not (kind is yaml.ScalarEvent and event.implicit[0] and not event.value):
                yield node
            continue
        parent = stack[-1]
        parent.size += 1 if kind is yaml.ScalarEvent else _size(node)
        if parent.size > NODE_LIMIT:
            raise MalformedYaml(f"with its aliases it has more than {NODE_LIMIT} nodes", event.start_mark.line + 1)
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif (key := keys[-1]) is None:
            keys[-1] = node
        else:
            parent.entries.append((key, node))
            keys[-1] = None


def _size(node: Node) -> int:
    inside = resolved(node)
    return 1 if isinstance(inside, Scalar) else inside.size


def _alias(event: Any, anchors: dict[str, Scalar | Mapping | Sequence]) -> Alias:
    target = anchors.get(event.anchor)
    line = event.start_mark.line + 1
    if target is None:
        raise MalformedYaml(f"the alias *{event.anchor[:80]} has no anchor", line)
    if target.last is None:
        raise MalformedYaml(f"the alias *{event.anchor[:80]} stands inside its own anchor", line)
    if not isinstance(target, Scalar):
        target.shared = True
    return Alias(event.start_mark, event.end_mark, target)
