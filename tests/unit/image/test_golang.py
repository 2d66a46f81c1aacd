"""What Go's decoder reads otherwise than Python's is refused, with the document and the place."""

import msgspec
import pytest

from webhook.errors import MalformedImage
from webhook.image import golang


class Inner(msgspec.Struct):
    """A struct in a struct."""

    size: int = 0


class Outer(msgspec.Struct, rename="camel"):
    """A struct that holds one, and several."""

    media_type: str = ""
    layers: list[Inner] | None = None
    config: Inner | None = None


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"a":"\\ud800"}', "the x has half of a surrogate pair, which Go would replace"),
        (b'{"a":"\\UD800"}', "the x is not JSON: "),
        (b'{"a":"\xff"}', "the x is not UTF-8"),
        (b"[" * 100_000, "the x is nested too deeply"),
        (b'{"a":NaN}', "the x is not JSON: NaN is no JSON"),
        (b'{"a":1,"a":1}', "the key 'a' stands there twice"),
        ('{"é":1,"é":1}'.encode(), "the key '\\xe9' stands there twice"),
    ],
)
def test_a_document_of_two_meanings_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(MalformedImage) as caught:
        golang.decode_json(raw, "x")
    assert str(caught.value).startswith(message)


def test_what_both_read_alike_is_read() -> None:
    """Keys in two cases are no matter here; in an object whose keys are known they are."""
    assert golang.decode_json('{"a":"é","A":[1.5,null,"\\ud83d\\ude00"]}'.encode(), "x") == {
        "a": "é",
        "A": [1.5, None, "\U0001f600"],
    }


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"mediatype": "x"}, "the x has the key 'mediatype', which Go would take for 'mediaType'"),
        ({"layers": [{"size": 1}, {"Size": 2}]}, "layers of the x has the key 'Size', which Go would take for 'size'"),
        ({"config": {"\u017fize": 2}}, "config of the x has the key '\\u017fize', which Go would take for 'size'"),
        ({"mediaType": 1}, "the x cannot be read: Expected `str`, got `int` - at `$.mediaType`"),
        ({"layers": [{"size": "1"}]}, "the x cannot be read: Expected `int`, got `str` - at `$.layers[0].size`"),
        ({"config": 5}, "the x cannot be read: "),
    ],
)
def test_a_struct_has_its_own_keys_and_types(value: object, message: str) -> None:
    with pytest.raises(MalformedImage) as caught:
        golang.read_struct(value, Outer, "the x")
    assert str(caught.value).startswith(message)


def test_a_struct_is_read_whatever_else_stands_there() -> None:
    value = {"mediaType": "m", "layers": [{"size": 1, "more": 2}], "config": None, "other": {"Size": 1}}
    assert golang.read_struct(value, Outer, "the x") == Outer("m", [Inner(1)])


def test_an_object_is_one_or_null() -> None:
    assert golang.read_object(None, "it", frozenset()) == {}
    assert golang.read_object({"a": 1, "B": 2}, "it", frozenset({"a"})) == {"a": 1, "B": 2}
    with pytest.raises(MalformedImage, match=r"^it is not an object$"):
        golang.read_object([], "it", frozenset())
    with pytest.raises(MalformedImage, match=r"^it has the key '\\u212aey', which Go would take for 'key'$"):
        golang.read_object({"\u212aey": 1}, "it", frozenset({"key"}))


@pytest.mark.parametrize(
    ("text", "number", "too_large"),
    [
        ("7", 7, False),
        ("+7", 7, False),
        ("-7", -7, False),
        ("-0", 0, False),
        ("007", 7, False),
        ("0" * 5000, 0, False),
        ("18446744073709551615", 18446744073709551615, False),
        ("18446744073709551616", 18446744073709551616, True),
        ("-18446744073709551616", -18446744073709551616, True),
        ("00018446744073709551616", 18446744073709551616, True),
        ("100000000000000000000", 10000000000000000000, True),
        ("18446744073709551616x", None, True),
        ("7x", None, False),
        (" 7", None, False),
        ("7\n", None, False),
        ("+-7", None, False),
        ("", None, False),
        ("x18446744073709551616", None, False),
        ("٧", None, False),
    ],
)
def test_numbers_as_strconv_takes_them(text: str, number: int | None, too_large: bool) -> None:
    """Of more than 20 digits the first 20: that they are beyond any int64 is all that matters."""
    assert (golang.parse_decimal(text), golang.overflows(text)) == (number, too_large)
