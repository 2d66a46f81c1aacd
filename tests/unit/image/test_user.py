"""Who process 1 will be, for every USER and every accounts file; and which numbers keep it so."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images import image, multi, platform_image
from tests.support.tables import table
from webhook.image import user as user_module
from webhook.image.config import UID_MAX, parse_user
from webhook.image.passwd import AccountFiles, by_uid, supplementary
from webhook.image.source import Image, PlatformImage, Unknown
from webhook.image.user import (
    GroupMismatch,
    Identity,
    Injection,
    ResolutionError,
    analyse,
    gid_out_of_range,
    group_matters,
    injection,
    platform_identities,
    resolve,
    stated_group,
)

# The accounts that the real containerd and moby/sys user were asked about; tests/oracle asks them again.
PASSWD = b"""\
root:x:0:0:root:/root:/bin/sh
legacy:x:1000:2000::/legacy:/bin/sh
app:x:1000:1000::/home/app:/bin/sh
app:x:0:0::/second:/bin/sh
1001:x:3000:3000::/digits:/bin/sh
nouid:x::5::/nouid:/bin/sh
bad:x:abc:5::/bad:/bin/sh
short
neg:x:-1:-1::/neg:/bin/sh
big:x:4294967296:7::/big:/bin/sh
2147483648:x:0:0::/trap:/bin/sh
solo:x:1010:1010::/solo:/bin/sh
#hash:x:0:0::/hash:/bin/sh
wide:x:1020:4294967296::/wide:/bin/sh
"""
GROUP = b"""\
app:x:1000:
video:x:44:app,legacy
docker:x:999:app
onlylegacy:x:888:legacy
sologrp:x:777:solo
solo:x:1010:solo
wrapped:x:4294967297:wide
"""
FILES = AccountFiles(PASSWD, GROUP)


@table(
    ("user", "expected"),
    {
        "a name of its own uid": ("solo", Identity(1010, 1010, (777, 1010), "/solo")),
        "a name that shares its uid": ("app", Identity(1000, 1000, (44, 999, 1000), "/legacy")),
        "the first holder of a shared uid": ("legacy", Identity(1000, 2000, (44, 888, 2000), "/legacy")),
        "a shared uid is its first holder": ("1000", Identity(1000, 2000, (44, 888, 2000), "/legacy")),
        "the group half says nothing": ("solo:video", Identity(1010, 1010, (777, 1010), "/solo")),
        "nor does a numeric one": ("1000:1000", Identity(1000, 2000, (44, 888, 2000), "/legacy")),
        "digits are a uid, not a name": ("1001", Identity(1001, 0, (0,), "/")),
        "no USER is root": ("", Identity(0, 0, (0,), "/root")),
        "zero is root": ("0", Identity(0, 0, (0,), "/root")),
        "a name that is root": ("root", Identity(0, 0, (0,), "/root")),
        "a line without a uid is root": ("nouid", Identity(0, 5, (5,), "/root")),
        "a uid of letters is root": ("bad", Identity(0, 5, (5,), "/root")),
        "a line of one word is root": ("short", Identity(0, 0, (0,), "/root")),
        "a hash is no comment": ("#hash", Identity(0, 0, (0,), "/root")),
        "gids are cut to 32 bits": ("wide", Identity(1020, 0, (0, 1), "/wide")),
        "a number that nobody has": ("5000", Identity(5000, 0, (0,), "/")),
        "the largest uid": ("2147483647", Identity(2147483647, 0, (0,), "/")),
    },
)
def test_a_user_is_somebody(user: str, expected: Identity) -> None:
    """Uid, gid, supplementary groups and home, as containerd and runc find them."""
    assert resolve(parse_user(user), FILES) == expected


@table(
    ("user", "kind", "says"),
    {
        "a name that is not there": ("nobody", "unresolvable", "has no user 'nobody'"),
        "a name in other letters": ("App", "unresolvable", "has no user 'App'"),
        "a name with a space": ("app ", "unresolvable", "has no user 'app '"),
        "a name with an escape sequence": ("\x1b[31m", "unresolvable", r"'\x1b[31m'"),
        "a negative uid in passwd": ("neg", "invalid", "the uid '-1'"),
        "a uid of 33 bits in passwd": ("big", "invalid", "the uid '4294967296'"),
        "a negative number": ("-1", "invalid", "outside 1 to 2147483647"),
        "a number of 32 bits, though a name of that spelling exists": ("2147483648", "invalid", "outside 1 to"),
        "a number beyond 64 bits": ("99999999999999999999", "invalid", "beyond 64 bits"),
        "a number out of range with letters behind it": ("99999999999999999999x", "invalid", "beyond 64 bits"),
    },
)
def test_a_user_is_nobody_or_not_to_be_trusted(user: str, kind: str, says: str) -> None:
    """Refused with the reason, in printable text."""
    found = resolve(parse_user(user), FILES)
    assert isinstance(found, ResolutionError)
    assert (found.kind, says in found.detail, found.detail.isprintable()) == (kind, True, True)


@table(
    ("user", "accounts", "expected"),
    {
        "a number without a passwd": ("1000", AccountFiles(), Identity(1000, 0, (0,), "/")),
        "a name without a passwd": (
            "app",
            AccountFiles(),
            ResolutionError("unresolvable", "the image has no /etc/passwd"),
        ),
        "a name without a group file": ("solo", AccountFiles(PASSWD), Identity(1010, 1010, (1010,), "/solo")),
        "a number whose accounts nobody read": ("1000", None, Identity(1000)),
        "no USER and accounts that nobody read": ("", None, Identity(0)),
        "a number whose accounts are unknown": ("1000", Unknown("pending", "x"), Identity(1000)),
        "a name whose accounts are unknown": ("app", Unknown("pending", "x"), Unknown("pending", "x")),
        "a home that is no UTF-8": ("a", AccountFiles(b"a:x:1:1::/\xff:"), Identity(1, 1, (1,), "/\ufffd")),
        "a home that is empty, which runc takes as it is": ("a", AccountFiles(b"a:x:1:1"), Identity(1, 1, (1,), "")),
    },
)
def test_without_the_whole_files(
    user: str, accounts: AccountFiles | Unknown | None, expected: Identity | ResolutionError | Unknown
) -> None:
    """A number needs no files; a name does."""
    assert resolve(parse_user(user), accounts) == expected


@pytest.mark.parametrize("user", ["app", "1000"])
def test_a_line_of_70_kilobytes_stops_names_and_numbers(user: str) -> None:
    """The runtimes' scanner gives up on the whole file, so the container cannot be created."""
    found = resolve(parse_user(user), AccountFiles(PASSWD + b"x" * 70_000))
    assert isinstance(found, ResolutionError)
    assert (found.kind, "64 KiB" in found.detail) == ("unresolvable", True)


def test_a_name_without_accounts_is_a_bug_of_the_image_source() -> None:
    """It may not be taken for an answer."""
    with pytest.raises(ValueError, match=r"^a USER name cannot be resolved without the image's accounts$"):
        resolve(parse_user("app"), None)


def passwd(*lines: str) -> bytes:
    """Lines NAME:UID:GID."""
    return "".join("{}:x:{}:{}::/:\n".format(*line.split(":")) for line in lines).encode()


def group(*lines: str) -> bytes:
    """Lines NAME:GID:MEMBERS."""
    return "".join("{}:x:{}:{}\n".format(*line.split(":")) for line in lines).encode()


SHARED = passwd("first:1000:2000", "app:1000:1000")


@table(
    ("user", "accounts", "expected"),
    {
        "a uid of its own": ("app", AccountFiles(passwd("app:1000:1000"), group("g:44:app")), Injection(1000)),
        "a number": ("1000", FILES, Injection(1000)),
        "a number that nobody read": ("1000", None, Injection(1000)),
        "the first holder of a shared uid": ("first", AccountFiles(SHARED), Injection(1000)),
        "a shared uid with the same groups": (
            "app",
            AccountFiles(passwd("first:1000:1000", "app:1000:1000"), group("g:44:app,first")),
            Injection(1000),
        ),
        "another primary group is repaired": ("app", AccountFiles(SHARED), Injection(1000, 1000)),
        "repaired to group 0": ("app", AccountFiles(passwd("first:1000:5", "app:1000:0")), Injection(1000, 0)),
        "a membership in the primary group is none": (
            "app",
            AccountFiles(SHARED, group("g:1000:first")),
            Injection(1000, 1000),
        ),
        "a group of one's own name counts in CRI-O": (
            "app",
            AccountFiles(passwd("first:1000:1000", "app:1000:1000"), group("app:55:app")),
            GroupMismatch,
        ),
        "another supplementary group cannot be repaired": (
            "app",
            AccountFiles(SHARED, group("g:44:app")),
            GroupMismatch,
        ),
        "nor one that the other has": ("app", AccountFiles(SHARED, group("g:44:first")), GroupMismatch),
        "a primary group beyond 31 bits cannot be written": (
            "app",
            AccountFiles(passwd("first:1000:5", "app:1000:2147483648")),
            GroupMismatch,
        ),
        "the largest primary group can": (
            "app",
            AccountFiles(passwd("first:1000:5", "app:1000:2147483647")),
            Injection(1000, 2147483647),
        ),
        "a group of one's own name counts in CRI-O beside another of its number": (
            "app",
            AccountFiles(passwd("first:1000:1000", "app:1000:1000"), group("app:44:app", "g:44:x")),
            GroupMismatch,
        ),
        "a group of one's own name counts in containerd for the other": (
            "app",
            AccountFiles(passwd("first:1000:1000", "app:1000:1000"), group("app:44:app,first")),
            GroupMismatch,
        ),
        "no USER, where a line has no name": ("", AccountFiles(passwd("root:0:0", ":0:7")), Injection(0)),
        "nobody": ("nobody", FILES, None),
        "a number out of range": ("-1", FILES, None),
        "accounts that could not be read": ("app", Unknown("pending", "x"), None),
    },
)
def test_the_numbers_that_stand_for_a_user(
    user: str, accounts: AccountFiles | Unknown | None, expected: Injection | type[GroupMismatch] | None
) -> None:
    """Uid, gid, supplementary groups and home stay; else the drift is told."""
    found = injection(parse_user(user), accounts)
    if expected is GroupMismatch:
        assert isinstance(found, GroupMismatch)
        assert "belongs to 'first' first (line 1 of /etc/passwd)" in found.detail
    else:
        assert found == expected


def test_a_group_in_the_spec_needs_no_repair() -> None:
    """The Pod's runAsGroup decides either way."""
    assert injection(parse_user("app"), AccountFiles(SHARED), run_as_group=7) == Injection(1000)


def test_a_group_in_the_spec_may_hide_a_membership() -> None:
    """Where the supplementary group is the very group that the Pod sets."""
    assert injection(parse_user("app"), AccountFiles(SHARED, group("g:44:app")), run_as_group=44) == Injection(1000)
    assert isinstance(
        injection(parse_user("app"), AccountFiles(SHARED, group("g:44:app")), run_as_group=45), GroupMismatch
    )


def test_a_strict_policy_ignores_the_images_groups() -> None:
    """SupplementalGroupsPolicy Strict: only the primary group is left to differ."""
    accounts = AccountFiles(SHARED, group("g:44:app"))
    assert injection(parse_user("app"), accounts, strict=True) == Injection(1000, 1000)
    for members in ("app", "first"):
        accounts = AccountFiles(passwd("first:1000:1000", "app:1000:1000"), group(f"g:44:{members}"))
        assert isinstance(injection(parse_user("app"), accounts), GroupMismatch)
        assert injection(parse_user("app"), accounts, strict=True) == Injection(1000)


LONG = "n" * 100


@table(
    ("user", "accounts", "detail"),
    {
        "a number": ("0" * 90 + "2147483648", None, f"USER '{'0' * 80}' is a number outside 1 to 2147483647"),
        "a longer one": (
            "9" * 100,
            None,
            f"USER '{'9' * 80}' is a number beyond 64 bits, which older runtimes look up as a name",
        ),
        "a name": (LONG, AccountFiles(b"root:x:0:0"), f"the image's /etc/passwd has no user '{'n' * 80}'"),
        "a name and its uid": (
            LONG,
            AccountFiles(passwd(f"{LONG}:{'9' * 100}:7")),
            (
                f"line 1 of the image's /etc/passwd gives '{'n' * 80}' the uid '{'9' * 80}', "
                "of which the runtimes make another number"
            ),
        ),
    },
)
def test_of_a_strangers_text_80_characters_are_quoted(user: str, accounts: AccountFiles | None, detail: str) -> None:
    found = resolve(parse_user(user), accounts)
    assert isinstance(found, ResolutionError)
    assert found.detail == detail


def test_of_both_names_of_a_shared_uid_80_characters_are_quoted() -> None:
    accounts = AccountFiles(passwd(f"{'f' * 100}:1000:1", f"{LONG}:1000:2"), group(f"g:44:{LONG}"))
    found = injection(parse_user(LONG), accounts)
    assert found == GroupMismatch(
        f"uid 1000 belongs to '{'f' * 80}' first (line 1 of /etc/passwd), whose groups differ from those of '{'n' * 80}'"
    )


def test_the_largest_numbers_are_ids() -> None:
    """And one more is none."""
    largest = AccountFiles(passwd("app:2147483647:2147483647"))
    found = resolve(parse_user("app"), largest)
    assert found == Identity(2147483647, 2147483647, (2147483647,), "/")
    assert gid_out_of_range(found, None, strict=False) is None
    assert stated_group(image("1000:2147483647")) == 2147483647
    assert stated_group(image("1000:2147483648")) is None
    beyond = resolve(parse_user("app"), AccountFiles(passwd("app:1:2147483648")))
    assert isinstance(beyond, Identity)
    assert gid_out_of_range(beyond, None, strict=False) == 2147483648
    in_any_order = Identity(1000, 1000, (2147483648, 1000))  # as a stored identity may have them
    assert gid_out_of_range(in_any_order, None, strict=False) == 2147483648


def test_an_image_is_analysed_once_for_each_question() -> None:
    """Each with an answer of its own; of the answers so many are kept."""
    shared = image("app", SHARED)
    asked = [("linux", None, False), ("linux", 7, False), ("windows", None, False)]
    first = [analyse(shared, *each) for each in asked]
    assert [each.plan for each in first] == [Injection(1000, 1000), Injection(1000), None]
    assert all(analyse(shared, *question) is answer for question, answer in zip(asked, first, strict=True))
    for group_of_a_pod in range(100, 100 + user_module._ANALYSES_LIMIT - len(asked)):
        analyse(shared, "linux", group_of_a_pod, strict=False)
    assert analyse(shared, *asked[0]) is first[0]
    analyse(shared, "linux", 99, strict=False)
    assert analyse(shared, *asked[0]) is not first[0]


OUT_OF_RANGE = image("app", passwd("app:1000:-1"))
BESIDE = image("app", passwd("app:1000:1000"), group("g:-1:app"))


@table(
    ("found", "question", "fault_free"),
    {
        "one uid": (image("app"), (None, False), True),
        "on every platform": (multi(platform_image("app"), platform_image("1000")), (None, False), True),
        "another on each": (multi(platform_image("1"), platform_image("2")), (None, False), False),
        "root": (image(""), (None, False), False),
        "nobody": (image("x"), (None, False), False),
        "a node's word": (msgspec.structs.replace(image("app"), source="observed"), (None, False), False),
        "another's groups": (image("app", SHARED, group("g:44:app")), (None, False), False),
        "a group out of range": (OUT_OF_RANGE, (None, False), False),
        "which the Pod replaces": (OUT_OF_RANGE, (7, False), True),
        "one beside it": (BESIDE, (None, False), False),
        "which the Pod leaves out": (BESIDE, (None, True), True),
    },
)
def test_an_image_without_a_fault_is_known_for_it(
    found: Image, question: tuple[int | None, bool], fault_free: bool
) -> None:
    analysis = analyse(found, "linux", *question)
    assert analysis.fault_free is fault_free
    assert analysis.plan == Injection(1000) or not fault_free


@table(
    ("platforms", "plan"),
    {
        "another uid": ((platform_image("1"), platform_image("2")), None),
        "another uid beside a gid that one needs": (
            (platform_image("app", SHARED), platform_image("app", passwd("app:1001:1000"))),
            None,
        ),
        "a gid that one needs and the other has": (
            (platform_image("app", SHARED), platform_image("app", passwd("app:1000:1000"))),
            Injection(1000, 1000),
        ),
        "and the other has not": (
            (platform_image("app", SHARED), platform_image("app", passwd("app:1000:7"))),
            None,
        ),
        "another gid on each": (
            (platform_image("app", SHARED), platform_image("app", passwd("first:1000:2000", "app:1000:7"))),
            None,
        ),
    },
)
def test_a_plan_is_right_on_every_platform(platforms: tuple[PlatformImage, ...], plan: Injection | None) -> None:
    assert analyse(multi(*platforms), "linux", None, strict=False).plan == plan


def test_every_platform_answers() -> None:
    """In the image's order."""
    found = platform_identities(multi(platform_image("app"), platform_image("7", platform="linux/arm64")), "linux")
    assert [(str(each.platform), each.user.text) for each in found] == [("linux/amd64", "app"), ("linux/arm64", "7")]
    assert [each.identity.uid for each in found if isinstance(each.identity, Identity)] == [1000, 7]


def test_on_windows_nodes_nobody_has_a_uid() -> None:
    """Names are names there; no accounts are needed."""
    found = platform_identities(multi(platform_image("ContainerUser", None, platform="windows/amd64")), "windows")
    assert [(each.user.name, each.identity) for each in found] == [("ContainerUser", None)]


def test_a_config_that_claims_windows_is_still_evaluated_on_linux_nodes() -> None:
    """Containerd runs a single manifest whatever its config claims."""
    (found,) = platform_identities(multi(platform_image("", platform="windows/amd64")), "linux")
    assert found.identity == Identity(0, 0, (0,), "/root")


NAMES = st.sampled_from(["a", "b", "c", "7"])
IDS = st.sampled_from(["0", "7", "8", "", "x", "4294967296", "2147483647"])
LINES = st.lists(st.tuples(NAMES, IDS, IDS), max_size=5)
GROUPS = st.lists(st.tuples(NAMES, IDS, st.lists(NAMES, max_size=2).map(",".join)), max_size=4)


@given(NAMES, LINES, GROUPS)
def test_injected_numbers_keep_the_identity(
    name: str, lines: list[tuple[str, str, str]], members: list[tuple[str, str, str]]
) -> None:
    """Whoever is resolved by name is, by the numbers, still the same: uid, gid, groups and home."""
    files = AccountFiles(passwd(*map(":".join, lines)), group(*map(":".join, members)))
    before = resolve(parse_user(name), files)
    plan = injection(parse_user(name), files)
    if not isinstance(plan, Injection):
        return
    assert isinstance(before, Identity)
    assert 0 <= plan.uid <= UID_MAX
    after = resolve(parse_user(str(plan.uid)), files)
    assert isinstance(after, Identity)
    gid = after.gid if plan.gid is None else plan.gid
    assert (after.uid, gid, after.home) == (before.uid, before.gid, before.home)
    holder = by_uid(files, plan.uid)
    listed = supplementary(files, holder.name) if holder else frozenset()
    assert gid is not None
    assert tuple(sorted({gid} | {each % 2**32 for each in listed})) == before.groups


@given(NAMES, LINES, GROUPS, st.sampled_from([None, 0, 7]), st.booleans())
def test_what_the_group_file_cannot_change_is_the_same_without_it(
    name: str,
    lines: list[tuple[str, str, str]],
    members: list[tuple[str, str, str]],
    run_as_group: int | None,
    strict: bool,
) -> None:
    """Where only /etc/passwd was read because that is enough, what is injected is what both files give."""
    user, content = parse_user(name), passwd(*map(":".join, lines))
    if user.uid is not None or group_matters(user, content):
        return
    whole = AccountFiles(content, group(*map(":".join, members)))
    part = AccountFiles(content, group_read=False)
    assert injection(user, part, run_as_group, strict) == injection(user, whole, run_as_group, strict)
    found, expected = resolve(user, part), resolve(user, whole)
    if isinstance(expected, Identity):
        assert found == msgspec.structs.replace(expected, groups=None)
    else:
        assert type(found) is type(expected)


@table(
    ("user", "passwd_file", "expected"),
    {
        "a uid of its own": ("app", passwd("root:0:0", "app:1000:1000"), False),
        "the first holder of a shared uid": ("first", SHARED, False),
        "the second holder of a shared uid": ("app", SHARED, True),
        "a group that is named": ("app:staff", passwd("app:1000:1000"), True),
        "nobody of that name": ("app", passwd("root:0:0"), False),
        "no passwd": ("app", None, False),
        "a line at which runtimes give up": ("app", passwd("app:1000:1000") + b"x" * 70_000, False),
    },
)
def test_the_group_file_matters(user: str, passwd_file: bytes | None, expected: bool) -> None:
    """Only where it can change a number that is injected, or the group that USER names."""
    assert group_matters(parse_user(user), passwd_file) is expected


def test_a_number_and_a_group_file_that_was_not_read() -> None:
    """Its groups are not known; where it has no line, there are none."""
    part = AccountFiles(passwd("app:1000:1600"), group_read=False)
    assert resolve(parse_user("1000"), part) == Identity(1000, 1600, None, "/")
    assert resolve(parse_user("7"), part) == Identity(7, 0, (0,), "/")


def test_a_single_image_answers_once() -> None:
    """The usual case."""
    (found,) = platform_identities(image("app"), "linux")
    assert found.identity == Identity(1000, 1000, (1000,), "/home/app")
