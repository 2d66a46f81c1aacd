"""YAML or JSON text -> a tree in which everything knows where it stands; and the tree as plain data, as kubectl has it.

The tree is built from libyaml's events, without recursion and with bounds, because a stranger's file may nest or alias
without end. What two YAML readers could take differently, above all a key that stands there twice, is refused.
Sources: sigs.k8s.io/yaml yaml.go (YAMLToJSON) with go.yaml.in/yaml/v2 resolve.go and decode.go (which plain scalars are
numbers or booleans, how `<<` merges); k8s.io/apimachinery pkg/util/yaml/decoder.go (JSON is told by its first character).
"""

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import yaml

from webhook.errors import NonrootError
from webhook.manifest.scalars import resolve

DEPTH_LIMIT = 100
NODE_LIMIT = 500_000  # of one document with its aliases written out; an object of 3 MiB has fewer
JSON_LIMIT = 100  # values one after the other in one file
_JSON_START = ("{", "[")
_BLANK = re.compile(r"[\ufeff \t\r\n]*")
_SURROGATES = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_EXCEPT_LINES = re.compile(r"[^\n]")
_STRING_TAG = "tag:yaml.org,2002:str"
_TYPE_TAGS: dict[str, tuple[type, ...]] = {
    "tag:yaml.org,2002:int": (int,),
    "tag:yaml.org,2002:float": (float, int),
    "tag:yaml.org,2002:bool": (bool,),
    "tag:yaml.org,2002:null": (type(None),),
}


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
        """Where it begins."""
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


def plain(node: Node) -> Any:
    """The data that kubectl would send: dicts, lists, strings, numbers, booleans and None; `MalformedYaml` for none."""
    if isinstance(node, Scalar):
        return _value(node)
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    if isinstance(node, Alias):
        return plain(node.target)
    found: dict[str, Any] = {}
    for key, value in node.entries:
        name = key_text(key)
        if name == "<<" and is_merge(key):
            _merge(found, value, key)
            continue
        if name in found and not _merged_before(node, key, name):
            raise MalformedYaml(f"the key {name[:80]!a} stands there twice", key.start.line)
        found[name] = plain(value)
    return found


def entry(node: Node, name: str) -> tuple[Node, Node] | None:
    """The key and the value of a mapping's own entry; None where it has none, or only by a merge."""
    node = resolved(node)
    if isinstance(node, Mapping):
        for key, value in node.entries:
            if not is_merge(key) and key_text(key) == name:
                return key, value
    return None


def resolved(node: Node) -> Scalar | Mapping | Sequence:
    """What the node is, or what its alias stands for."""
    return node.target if isinstance(node, Alias) else node


def is_merge(key: Node) -> bool:
    """Whether a key is `<<`, which takes in another mapping."""
    return isinstance(key, Scalar) and key.plain and key.text == "<<"


def key_text(key: Node) -> str:
    """A key as the JSON that it becomes; `MalformedYaml` for what can be none."""
    found = resolved(key)
    value = _value(found) if isinstance(found, Scalar) else None
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    raise MalformedYaml("a key is neither a word nor a whole number", key.start.line)


def locate(root: Node, pointer: str) -> Mark | None:
    """Where a JSON pointer's last step stands: its key, or the item; None where the text has no such thing."""
    found = _walk(root, pointer)
    return found[0].start if found else None


def locate_node(root: Node, pointer: str) -> Node | None:
    """What a JSON pointer points at, itself; None where the text has no such thing."""
    found = _walk(root, pointer)
    return found[1] if found else None


def _walk(root: Node, pointer: str) -> tuple[Node, Node] | None:
    """The key (or the item itself) and the value at a JSON pointer."""
    found = (root, root)
    for step in pointer.split("/")[1:]:
        inside = resolved(found[1])
        if isinstance(inside, Sequence):
            if not step.isdecimal() or int(step) >= len(inside.items):
                return None
            found = (inside.items[int(step)],) * 2
        else:
            member = entry(inside, step.replace("~1", "/").replace("~0", "~"))
            if member is None:
                return None
            found = member
    return found


def _value(node: Scalar) -> Any:
    if node.tag is None:
        if not node.plain:
            return node.text
        value = resolve(node.text)
        if type(value) is not float or math.isfinite(value):
            return value
        raise MalformedYaml(f"{node.text} cannot be said in JSON", node.start.line)
    if node.tag == _STRING_TAG:
        return node.text
    if node.tag not in _TYPE_TAGS:
        raise MalformedYaml(f"the tag {node.tag[:80]!a} is none that Kubernetes knows", node.start.line)
    value = resolve(node.text)
    if type(value) not in _TYPE_TAGS[node.tag]:
        raise MalformedYaml(f"{node.text[:80]!a} is not what its tag {node.tag!a} says", node.start.line)
    return value


def _merge(found: dict[str, Any], value: Node, key: Node) -> None:
    inside = resolved(value)
    sources = [inside] if isinstance(inside, Mapping) else inside.items if isinstance(inside, Sequence) else []
    merged: dict[str, Any] = {}
    for source in reversed(sources):
        data = plain(source)
        if not isinstance(data, dict):
            raise MalformedYaml("<< takes a mapping, or a list of them", key.start.line)
        merged.update(data)
    if not sources:
        raise MalformedYaml("<< takes a mapping, or a list of them", key.start.line)
    for name, data in merged.items():
        if name in found and found[name] != data:
            raise MalformedYaml(
                f"<< brings the key {name[:80]!a}, which stands before it: kubectl and others take different ones; "
                "write << first",
                key.start.line,
            )
        found[name] = data


def _merged_before(node: Mapping, key: Node, name: str) -> bool:
    """Whether a key that is there already came by a merge alone, so that this one replaces it."""
    for earlier, _ in node.entries:
        if earlier is key:
            return True
        if not is_merge(earlier) and key_text(earlier) == name:
            return False
    return False


def _json_documents(text: str) -> Iterator[Node]:
    """JSON values one after the other, checked as JSON; then read as the YAML that they are too, for their marks.

    Two things of JSON are none of libyaml's: tabs between tokens, and characters as pairs of surrogates.
    """
    decoder = json.JSONDecoder()
    position, count = _behind_blank(text, 0), 0
    while position < len(text):
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
        yield from _composed(yaml.parse(text, Loader=yaml.CBaseLoader))
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
