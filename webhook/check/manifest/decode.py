"""The decoding of a tree to plain data, as kubectl would send it; and the place in the text of a JSON pointer.

What two readers could take differently, above all a key that stands there twice, is refused.
Sources: sigs.k8s.io/yaml yaml.go (YAMLToJSON) with go.yaml.in/yaml/v2 decode.go (how `<<` merges).
"""

import math
from typing import Any

from webhook.check.manifest.parser import Alias, MalformedYaml, Mapping, Mark, Node, Scalar, Sequence, resolved
from webhook.check.manifest.scalars import resolve
from webhook.workload import json_pointer

_STRING_TAG = "tag:yaml.org,2002:str"
_TYPE_TAGS: dict[str, tuple[type, ...]] = {
    "tag:yaml.org,2002:int": (int,),
    "tag:yaml.org,2002:float": (float, int),
    "tag:yaml.org,2002:bool": (bool,),
    "tag:yaml.org,2002:null": (type(None),),
}


def plain(node: Node, *, own_keys_win: bool = False) -> Any:
    """The data that kubectl would send: dicts, lists, strings, numbers, booleans and None; `MalformedYaml` for none.

    With `own_keys_win` a merge never replaces a mapping's own key, wherever it stands: so docker compose reads it
    (go.yaml.in/yaml/v3); kubectl's reader takes the later one, which is refused here.
    """
    if isinstance(node, Scalar):
        return _value(node)
    if isinstance(node, Sequence):
        return [plain(item, own_keys_win=own_keys_win) for item in node.items]
    if isinstance(node, Alias):
        return plain(node.target, own_keys_win=own_keys_win)
    found: dict[str, Any] = {}
    for key, value in node.entries:
        name = key_text(key)
        if name == "<<" and is_merge(key):
            _merge(found, value, key, own_keys_win=own_keys_win)
            continue
        if name in found and not _merged_before(node, key, name):
            raise MalformedYaml(f"the key {name[:80]!a} stands there twice", key.start.line)
        found[name] = plain(value, own_keys_win=own_keys_win)
    return found


def entry(node: Node, name: str) -> tuple[Node, Node] | None:
    """The key and the value of a mapping's own entry; None where it has none, or only by a merge."""
    node = resolved(node)
    if isinstance(node, Mapping):
        for key, value in node.entries:
            if not is_merge(key) and key_text(key) == name:
                return key, value
    return None


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
    """The place in the text of a JSON pointer's last step, its key or item; None where the text has none."""
    found = _walk(root, pointer)
    return found[0].start if found else None


def locate_node(root: Node, pointer: str) -> Node | None:
    """The node that a JSON pointer names; None where the text has none."""
    found = _walk(root, pointer)
    return found[1] if found else None


def _walk(root: Node, pointer: str) -> tuple[Node, Node] | None:
    """The key (or the item itself) and the value at a JSON pointer."""
    found = (root, root)
    for step in json_pointer.keys(pointer):
        inside = resolved(found[1])
        if isinstance(inside, Sequence):
            if not step.isdecimal() or int(step) >= len(inside.items):
                return None
            found = (inside.items[int(step)],) * 2
        else:
            member = entry(inside, step)
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


def _merge(found: dict[str, Any], value: Node, key: Node, *, own_keys_win: bool) -> None:
    inside = resolved(value)
    sources = [inside] if isinstance(inside, Mapping) else inside.items if isinstance(inside, Sequence) else []
    merged: dict[str, Any] = {}
    for source in reversed(sources):
        data = plain(source, own_keys_win=own_keys_win)
        if not isinstance(data, dict):
            raise MalformedYaml("<< takes a mapping, or a list of them", key.start.line)
        merged.update(data)
    if not sources:
        raise MalformedYaml("<< takes a mapping, or a list of them", key.start.line)
    if isinstance(value, Alias) and not isinstance(inside, Mapping):
        raise MalformedYaml("<< takes no alias of a list: write the list there, <<: [*a, *b]", key.start.line)
    for name, data in merged.items():
        if name in found and own_keys_win:
            continue
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
