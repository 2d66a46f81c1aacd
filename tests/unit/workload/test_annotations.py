"""The record of what was injected is read as far as it is one: anybody may write the annotation."""

import pytest

from webhook.workload.annotations import ANNOTATION, injection_record, injections


def test_the_record_by_container() -> None:
    text = '[{"container":"a","fields":["x"]},{"container":"b"},{"container":"a","leftOut":["y"]},{"container":7},{}]'
    assert injections({ANNOTATION: text}) == {
        "a": [{"container": "a", "fields": ["x"]}, {"container": "a", "leftOut": ["y"]}],
        "b": [{"container": "b"}],
    }


@pytest.mark.parametrize(
    "annotations",
    [
        None,
        {},
        {"another": "[{}]"},
        {ANNOTATION: ""},
        *({ANNOTATION: text} for text in ("{", "7", "{}", "null", "[7]", '["a"]', "[[]]", "[" * 100_000)),
    ],
    ids=lambda each: str(each)[:60],
)
def test_another_text_is_no_record(annotations: dict[str, str] | None) -> None:
    assert injection_record(annotations) == []
    assert injections(annotations) == {}
