"""What an image's own files let a process do, and how a suggestion reads."""

import pytest

from webhook.image.filesystem import Directory, Suggestion


@pytest.mark.parametrize(
    ("mode", "uid", "groups", "writable", "enterable"),
    [
        pytest.param(0o700, 1000, (), True, True, id="the owner"),
        pytest.param(0o500, 1000, (), False, True, id="an owner who may not write"),
        pytest.param(0o377, 1000, (50,), True, True, id="an owner who may all but read"),
        pytest.param(0o077, 1000, (50,), False, False, id="an owner, whose group may more"),
        pytest.param(0o070, 1001, (7, 50), True, True, id="the group"),
        pytest.param(0o707, 1001, (50,), False, False, id="the group, where others may more"),
        pytest.param(0o770, 1001, (7,), False, False, id="others"),
        pytest.param(0o771, 1001, (7,), False, True, id="others who may enter"),
        pytest.param(0o400, 1000, (), False, False, id="an owner who may read alone"),
        pytest.param(0o200, 1000, (), True, False, id="an owner who may write alone"),
        pytest.param(0o100, 1000, (), False, True, id="an owner who may enter alone"),
        pytest.param(0o040, 1001, (50,), False, False, id="a group who may read alone"),
        pytest.param(0o020, 1001, (50,), True, False, id="a group who may write alone"),
        pytest.param(0o010, 1001, (50,), False, True, id="a group who may enter alone"),
        pytest.param(0o004, 1001, (), False, False, id="others who may read alone"),
        pytest.param(0o002, 1001, (), True, False, id="others who may write alone"),
        pytest.param(0o001, 1001, (), False, True, id="others who may enter alone"),
    ],
)
def test_the_first_bits_that_apply_count(
    mode: int, uid: int, groups: tuple[int, ...], writable: bool, enterable: bool
) -> None:
    folder = Directory("/data", "volume", present=True, uid=1000, gid=50, mode=mode)
    assert (folder.writable(uid, groups), folder.enterable(uid, groups)) == (writable, enterable)


def test_a_suggestion_is_read_by_people() -> None:
    one = Suggestion(999, 998, 997, "high", ("its script goes on as redis", "/data is its own"))
    other = Suggestion(999, 998, None, "medium", ("/data is its own",))
    assert [str(one), str(other)] == [
        "its script goes on as redis, /data is its own: runAsUser 999, runAsGroup 998, fsGroup 997 (high confidence)",
        "/data is its own: runAsUser 999, runAsGroup 998 (medium confidence)",
    ]
