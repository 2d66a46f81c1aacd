"""JSON pointers."""

import pytest

from webhook.workload import json_pointer


def test_the_example_of_the_standard() -> None:
    """RFC 6901, section 5."""
    assert json_pointer.keys("/a~1b") == ["a/b"]
    assert json_pointer.keys("/m~0n") == ["m~n"]
    assert (json_pointer.keys(""), json_pointer.keys("/")) == ([], [""])


@pytest.mark.parametrize("key", ["a", "a/b", "~", "~1", "~01", "/~/"])
def test_what_is_escaped_is_read_as_it_was(key: str) -> None:
    assert json_pointer.keys(f"/{json_pointer.escaped(key)}/b") == [key, "b"]


@pytest.mark.parametrize(
    ("pointer", "field"),
    [
        ("/spec", "spec"),
        ("/spec/template/spec", "spec.template.spec"),
        ("/spec/replicatedJobs/0/template/spec", "spec.replicatedJobs[0].template.spec"),
        ("", ""),
    ],
)
def test_a_pointer_is_written_as_people_write_fields(pointer: str, field: str) -> None:
    assert json_pointer.field_path(pointer) == field


@pytest.mark.parametrize(
    ("pointer", "part"),
    [
        ("", {"a": [{"b/c": 1}, [2]], "0": 3}),
        ("/a/0/b~1c", 1),
        ("/a/1/0", 2),
        ("/0", 3),
        ("/a/2", None),
        ("/a/-1", None),
        ("/a/x", None),
        ("/x", None),
        ("/x/y", None),
        ("/a/0/b~1c/d", None),
    ],
)
def test_what_a_pointer_names_is_found_or_there_is_nothing(pointer: str, part: object) -> None:
    assert json_pointer.value({"a": [{"b/c": 1}, [2]], "0": 3}, pointer) == part
