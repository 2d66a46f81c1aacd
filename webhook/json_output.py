"""JSON and YAML that commands print for other programs, and the JSON Schemas that are published beside the types."""

from collections.abc import Iterable
from inspect import cleandoc
from typing import Any

import msgspec


def text(document: object) -> str:
    """A document as indented JSON, and the end of its last line.

    Half a surrogate pair, as in a file name that is not UTF-8, is written as an escape sequence.
    """
    try:
        encoded = msgspec.json.encode(document)
    except UnicodeEncodeError:
        encoded = msgspec.json.encode(_escaped(msgspec.to_builtins(document)))
    return msgspec.json.format(encoded, indent=2).decode() + "\n"


def yaml_text(documents: Iterable[object]) -> str:
    """Some documents as YAML, each after the first behind `---`. What is not ASCII is escaped: it may change how text is shown."""
    import yaml  # which `inspect` does not need

    return yaml.safe_dump_all(map(msgspec.to_builtins, documents), sort_keys=False)


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_escaped(key): _escaped(each) for key, each in value.items()}
    return [_escaped(each) for each in value] if isinstance(value, list | tuple) else value


def schema(kind: type[msgspec.Struct], command: str) -> bytes:
    """The JSON Schema (2020-12) of version 1 of what a command prints. Whoever reads must let unknown fields pass."""
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{command} -o json, version 1",
    }
    return text({**head, **_cleaned(msgspec.json.schema(kind))}).encode()


def _cleaned(schema: Any) -> Any:
    """A schema whose descriptions, which are docstrings, have lost their indentation.

    Compilers since Python 3.13 leave it out themselves; what is published is the same from every Python.
    """
    if isinstance(schema, list):
        return [_cleaned(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: cleandoc(each) if key == "description" and isinstance(each, str) else _cleaned(each)
        for key, each in schema.items()
    }
