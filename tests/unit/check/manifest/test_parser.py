"""YAML and JSON as kubectl has them, with their lines; and everything that two readers could take differently."""

from typing import Any

import pytest

from webhook.check.manifest.decode import locate, locate_node, plain
from webhook.check.manifest.parser import DEPTH_LIMIT, MalformedYaml, documents


def data(text: str) -> list[Any]:
    """Every document as plain data."""
    return [plain(root) for root in documents(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: [x, 'y', \"1\"]\n", [{"a": 1, "b": ["x", "y", "1"]}]),
        ("a: 1\n---\n---\n# nothing\n---\nb: 2\n", [{"a": 1}, {"b": 2}]),
        ("", []),
        ("\ufeffa: é\n", [{"a": "é"}]),
        ("a: &x {b: 1}\nc: *x\n", [{"a": {"b": 1}, "c": {"b": 1}}]),
        ("base: &x {b: 1, c: 2}\nd:\n  <<: *x\n  b: 3\n", [{"base": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}}]),
        ("d:\n  <<: [{a: 1}, {a: 2, b: 2}]\n", [{"d": {"a": 1, "b": 2}}]),
        ("d:\n  b: 1\n  <<: {b: 1}\n", [{"d": {"b": 1}}]),
        ("a: |\n  x\n\n  y\nb: >-\n  x\n  y\n", [{"a": "x\n\ny\n", "b": "x y"}]),
        ("a: !!str 1\nb: !!int '2'\nc: !!null ''\nd: !!bool yes\ne: !!float 1\n",
         [{"a": "1", "b": 2, "c": None, "d": True, "e": 1}]),
        ("1: a\ntrue: b\n", [{"1": "a", "true": "b"}]),
        ('{"a":\t1, "b": "\\/\\u00e9", "c": "\\ud83d\\ude00", "d": "#"}', [{"a": 1, "b": "/é", "c": "😀", "d": "#"}]),
        ('{"a": 1}\n\t{"b": 2}\n', [{"a": 1}, {"b": 2}]),
        ("{a: b}", [{"a": "b"}]),
    ],
)  # fmt: skip
def test_text_becomes_the_data_that_kubectl_sends(text: str, expected: list[Any]) -> None:
    """Streams, quotes, anchors, merges, tags, JSON."""
    assert data(text) == expected


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: 1\nb: {\n", 3, "no YAML"),
        ("a: 1\na: 2\n", 2, "the key 'a' stands there twice"),
        ('{"a": 1,\n"a": 2}', 2, "the key 'a' stands there twice"),
        ("x:\n  b: 1\n  <<: {b: 2}\n", 3, "write << first"),
        ("<<: 1\n", 1, "<< takes a mapping"),
        ("<<: [1]\n", 1, "<< takes a mapping"),
        ("a: *b\n", 1, "has no anchor"),
        ("a: &b\n  - *b\n", 2, "inside its own anchor"),
        ("a: !Ref b\n", 1, "the tag '!Ref'"),
        ("a: !!int b\n", 1, "not what its tag"),
        ("a: .nan\n", 1, "cannot be said in JSON"),
        ("? [a]\n: b\n", 1, "neither a word nor a whole number"),
        ("a: {{ .Values.b }}\n", 1, "neither a word nor a whole number"),
        ("a: \x00\n", 1, "no YAML"),
        ("a: \ud800\n", 1, "surrogate"),
        ('{"a": 1} {"b": }', 1, "no JSON"),
        ('{"a": 1}\n' * 101, 101, "put them into a List"),
        ("[" * (DEPTH_LIMIT + 1), 1, "nested deeper"),
        ("- " * 100_000, 1, "nested deeper"),
        ('{"a":' * 100_000, 1, "nested too deeply"),
        ("[" * 2_000_000, 1, "nested too deeply"),
        ("a: &a [1,1,1,1,1,1,1,1,1]\n"
         + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)),
         6, "with its aliases"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_for_sure_is_refused_with_its_line(text: str, line: int, reason: str) -> None:
    """And no depth or number of aliases can hurt."""
    with pytest.raises(MalformedYaml, match=reason) as error:
        data(text)
    assert error.value.line == line


def test_documents_before_a_broken_one_still_count() -> None:
    """A stream is read one document at a time."""
    found = documents("a: 1\n---\nb: [\n")
    assert plain(next(found)) == {"a": 1}
    with pytest.raises(MalformedYaml):
        next(found)


@pytest.mark.parametrize(
    ("pointer", "place"),
    [
        ("", (3, 1)),
        ("/spec", (4, 1)),
        ("/spec/containers/0", (6, 7)),
        ("/spec/containers/0/image", (7, 7)),
        ("/spec/containers/1/image", (8, 8)),
        ("/spec/a~1b", (9, 3)),
        ("/spec/again/image", (7, 7)),
        ("/spec/containers/2", None),
        ("/spec/containers/x", None),
        ("/spec/nothing", None),
        ("/spec/a~1b/c", None),
    ],
)
def test_a_pointer_leads_to_the_line_of_its_key(pointer: str, place: tuple[int, int] | None) -> None:
    """Lines and columns count from 1; behind an alias they are those of what it stands for."""
    text = (
        "x: 1\n---\nkind: Pod\nspec:\n  containers:\n    - &first\n      image: a\n    - {image: b}\n  a/b: 1\n"
        "  again: *first\n"
    )
    root = list(documents(text))[1]
    mark = locate(root, pointer)
    assert (mark and (mark.line, mark.column)) == place


def test_a_pointer_leads_to_the_node_itself() -> None:
    """And to nothing where there is nothing."""
    root = next(documents("a: [x, z]"))
    node = locate_node(root, "/a/1")
    assert node is not None
    assert plain(node) == "z"
    assert locate_node(root, "/b") is None


def test_marks_are_those_of_the_text_in_json_too() -> None:
    """Whatever had to be replaced before libyaml took it, and whichever value of the file it is."""
    text = '{"a": 1}\n{"x": "\\ud83d\\ude00",\t"kind": "Pod"}'
    mark = locate(list(documents(text))[1], "/kind")
    assert mark is not None
    assert text[mark.index :].startswith('"kind"')
    assert (mark.line, mark.column) == (2, 23)
