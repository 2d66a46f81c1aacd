"""The record of what was injected is read as far as it is one: anybody may write the annotation."""

import pytest

from webhook.workload.annotations import ANNOTATION, injection_record, injections, own_record


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


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ('[{"container":"a","fields":["x"],"digest":"d","leftOut":["y"]},{"pod":true,"fields":["z"]}]', True),
        ("[]", True),
        ('[{"container": "a"}]', False),
        ('[{"fields":["x"],"container":"a"}]', False),
        ('[{"container":"\\u0061"}]', False),
        ('[{"container":"a","more":1}]', False),
        ('[{"container":7}]', False),
        ('[{"container":"é"}]', False),
        ("[" * 100_000, False),
    ],
    ids=lambda each: str(each)[:60],
)
def test_a_record_is_our_own_where_it_is_written_as_we_write_it(text: str, own: bool) -> None:
    record = own_record(text)
    assert (record is not None) == own
    if record is not None:
        assert [each.container for each in record] == [
            each.get("container", "") for each in injection_record({ANNOTATION: text})
        ]
