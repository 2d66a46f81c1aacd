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
