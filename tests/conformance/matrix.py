"""The cells: every form of USER x account files x what the spec demands x kind of container.

The first value of each axis is its plainest. `product` walks all cells without holding them; `covering` is a set in
which every two values of any two axes meet.
"""

import itertools
from collections.abc import Iterator

import msgspec

from tests.conformance.model import Files
from tests.conformance.pairwise import pairwise
from webhook.workload.workload import ContainerKind

USERS: tuple[str | None, ...] = (
    # nobody said
    None,
    "",
    ":",
    ":1600",
    # zero
    "0",
    "00",
    "+0",
    "-0",
    "0:0",
    "0:app",
    # a number, with and without a line of its own
    "1500",
    "01500",
    "+1500",
    "1500:",
    "1500:1700",
    "1:2:3",
    "4242",
    # the edges of int32, uint32 and int64
    "-1",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "4294968796",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "99999999999999999999",
    "99999999999999999999x",
    # names
    "app",
    "app:extra",
    "app:1:2",
    "root",
    "Root",
    "legacy",
    "nosuch",
    "+",
    "#app",
    # what other readers would take for a number, or for a name
    "0x0",
    "0b0",
    "0_0",
    "1e3",
    "1500.0",
    " 0",
    "0 ",
    "0\t",
    "1500\n",
    "app ",
    "app\x00",
    "\u0661\u0665\u0660\u0660",  # Arabic-Indic digits
    "\uff11\uff15\uff10\uff10",  # full-width digits
)

_ROOT = "root:x:0:0:root:/root:/bin/sh\n"
_APP = "app:x:1500:1600::/home/app:/bin/sh\n"
_LEGACY = "legacy:x:1500:1600::/home/legacy:/bin/sh\n"
_GROUP = "root:x:0:\napp:x:1600:\n# extra:x:9999:app\nextra:x:1700:root,app\naudio:x:29:other\n"


def _files(passwd: str, group: str = _GROUP) -> Files:
    return Files(passwd.encode(), group.encode())


def _app(uid: str, gid: str = "1600") -> Files:
    return _files(f"{_ROOT}app:x:{uid}:{gid}::/home/app:/bin/sh\n")


ACCOUNTS: dict[str, Files] = {
    "found": _files(_ROOT + _APP + "\nother:x:4000:4000::/:\n"),
    "no files at all": Files(None, None),
    "no passwd": Files(None, _GROUP.encode()),
    "no group": Files((_ROOT + _APP).encode(), None),
    "empty": Files(b"", b""),
    "name absent": _files(_ROOT + "other:x:1500:1800::/home/other:/bin/sh\n"),
    "name twice": _files(_ROOT + _APP + "app:x:0:0::/root:/bin/sh\n"),
    "name twice, root first": _files("app:x:0:0::/root:/bin/sh\n" + _ROOT + _APP),
    "name twice, garbage first": _files(_ROOT + "app:x:zero:1600::/:\n" + _APP),
    "uid twice, same groups": _files(_ROOT + _LEGACY + _APP, "extra:x:1700:legacy,app\n"),
    "uid twice, other gid": _files(_ROOT + _LEGACY.replace("1600", "2000") + _APP, "extra:x:1700:legacy,app\n"),
    "uid twice, other groups": _files(_ROOT + _LEGACY + _APP, "extra:x:1700:app\nold:x:888:legacy\n"),
    # containerd leaves out a group of the user's own name, CRI-O does not
    "uid twice, own group": _files(_ROOT + _LEGACY + _APP, "app:x:1650:app\nextra:x:1700:legacy,app\n"),
    "own group": _files(_ROOT + _APP, "app:x:1650:app\nextra:x:1700:app\n"),
    "uid 0": _app("0"),
    "uid empty": _app(""),
    "uid garbage": _app("abc"),
    "uid spaced": _app(" 1500"),
    "uid negative": _app("-1"),
    "uid int31": _app("2147483647"),
    "uid beyond int31": _app("2147483648"),
    "uid 2^32": _app("4294967296"),
    "uid overflows": _app("99999999999999999999"),
    "gid negative": _app("1500", "-1"),
    "gid 2^32": _app("1500", "4294967296"),
    "gid of a group negative": _files(_ROOT + _APP, "extra:x:-1:app\n"),
    "CRLF": _files((_ROOT + _APP).replace("\n", "\r\n"), _GROUP.replace("\n", "\r\n")),
    "spaces around lines": _files(f" {_ROOT}\t {_APP.strip()} \t", "  extra:x:1700:app  \n"),
    "comment with a uid": _files("#app:x:1500:1800::/commented:\n" + _ROOT + _APP),
    "line of 70 KB": _files(_ROOT + _APP + f"long:x:7:7:{'g' * 70_000}:/:\n"),
    "line of 64 KiB": _files(_ROOT + _APP + f"long:x:7:7:{'g' * (65_536 - 13)}:/:\n"),
    "line of 64 KiB less one": _files(_ROOT + _APP + f"long:x:7:7:{'g' * (65_535 - 13)}:/:\n"),
    "NIS": _files(_ROOT + "+app::::::\n+::::::\n"),
    "digits as names": _files(
        _ROOT
        + "".join(f"{name}:x:0:0::/:\n" for name in ("1500", "-1", "2147483648", "4294967296"))
        + "9223372036854775808:x:1500:1600::/:\n99999999999999999999:x:0:0::/:\n99999999999999999999x:x:1500:1600::/:\n"
    ),
    "odd names": _files(
        _ROOT + "".join(f"{name}:x:1500:1600::/odd:\n" for name in ("app ", "0x0", "1e3", "0_0", "Root"))
    ),
    "short line": _files(_ROOT + "app\n"),
    "line without home": _files(_ROOT + "app:x:1500:1600\n"),
}

Bool = bool | None
Number = int | None
DEMANDS: tuple[tuple[Bool, Bool], ...] = (  # runAsNonRoot of the Pod, of the container
    (None, None),
    (None, True),
    (True, None),
    (True, True),
    (True, False),
    (False, True),
    (None, False),
    (False, None),
    (False, False),
)
RUN_AS: tuple[tuple[Number, Number], ...] = (  # runAsUser of the Pod, of the container
    (None, None),
    (None, 1500),
    (1500, None),
    (None, 0),
    (0, None),
    (0, 4242),
    (4242, 0),
    (4242, 1500),
)


class Groups(msgspec.Struct, frozen=True):
    """What the spec says of groups."""

    pod: Number = None
    container: Number = None
    strict: bool = False
    extra: tuple[int, ...] = ()


GROUPS = (
    Groups(),
    Groups(container=1600),
    Groups(pod=1800, extra=(1900,)),
    Groups(strict=True),
    Groups(container=1700, strict=True, extra=(1900,)),
)
KINDS: tuple[ContainerKind, ...] = ("regular", "ephemeral", "init", "sidecar")


class Cell(msgspec.Struct, frozen=True):
    """One container in one Pod; `accounts` is a key of ACCOUNTS."""

    user: str | None
    accounts: str
    demand: tuple[Bool, Bool] = (None, None)
    run_as: tuple[Number, Number] = (None, None)
    groups: Groups = Groups()
    kind: ContainerKind = "regular"

    @property
    def files(self) -> Files:
        """The image's account files."""
        return ACCOUNTS[self.accounts]

    @property
    def pod_context(self) -> dict[str, object]:
        """The Pod's securityContext."""
        context: dict[str, object] = _context(self.demand[0], self.run_as[0], self.groups.pod)
        if self.groups.strict:
            context["supplementalGroupsPolicy"] = "Strict"
        if self.groups.extra:
            context["supplementalGroups"] = list(self.groups.extra)
        return context

    @property
    def container_context(self) -> dict[str, object]:
        """The container's own securityContext."""
        return _context(self.demand[1], self.run_as[1], self.groups.container)

    @property
    def undemanded(self) -> "Cell":
        """The same without runAsNonRoot: who the process is by itself."""
        return msgspec.structs.replace(self, demand=(None, None))

    def __str__(self) -> str:
        spec = {"pod": self.pod_context, "container": self.container_context}
        return f"{self.kind} container, USER {self.user!a}, passwd {self.accounts!r}, {spec}"


def _context(demand: Bool, run_as: Number, group: Number) -> dict[str, object]:
    fields = {"runAsNonRoot": demand, "runAsUser": run_as, "runAsGroup": group}
    return {name: value for name, value in fields.items() if value is not None}


def possible(run_as: tuple[Number, Number], groups: Groups) -> bool:
    """Whether the Pod gets a sandbox: CRI refuses a group without a user, and the Pod's own are the sandbox's."""
    return groups.pod is None or run_as[0] is not None


_AXES = (USERS, ACCOUNTS, DEMANDS, RUN_AS, GROUPS, KINDS)
_FILLERS = (1, 1, 3, 1, 2, 1)  # where pairs leave the choice: demanded or not, and the groups of the image or one's own
_IMPOSSIBLE = {
    ((3, 4), (user, group))
    for user, run_as in enumerate(RUN_AS)
    for group, groups in enumerate(GROUPS)
    if not possible(run_as, groups)
}
Spec = tuple[tuple[Bool, Bool], tuple[Number, Number], Groups, ContainerKind]
SPECS: tuple[Spec, ...] = tuple(
    (demand, run_as, groups, kind)
    for demand, run_as, groups, kind in itertools.product(DEMANDS, RUN_AS, GROUPS, KINDS)
    if possible(run_as, groups)
)
SIZE = len(USERS) * len(ACCOUNTS) * len(SPECS)


def product(every: int = 1) -> Iterator[Cell]:
    """All cells, or every so many-th of them."""
    cells = (Cell(user, accounts, *spec) for user, accounts, spec in itertools.product(USERS, ACCOUNTS, SPECS))
    return itertools.islice(cells, 0, None, every)


def unread(every: int = 0) -> list[Cell]:
    """What a webhook that cannot read the image leaves to the kubelet: nobody says the user, or that it may be root.

    Each USER once, the rest in turn; or every so many-th cell of the product.
    """
    demands = [demand for demand in DEMANDS if demand[1] is not False and (demand[1] or demand[0] is not False)]
    if every:
        cells = itertools.product(USERS, ACCOUNTS, demands, KINDS)
        return [
            Cell(user, accounts, demand, kind=kind)
            for user, accounts, demand, kind in itertools.islice(cells, 0, None, every)
        ]
    turns = zip(USERS, itertools.cycle(demands), itertools.cycle(KINDS), strict=False)
    return [Cell(user, "found", demand, kind=kind) for user, demand, kind in turns]


def covering() -> list[Cell]:
    """The pairwise-covering set."""
    names = tuple(ACCOUNTS)
    rows = pairwise([len(axis) for axis in _AXES], _FILLERS, _IMPOSSIBLE)
    return [
        Cell(USERS[user], names[accounts], DEMANDS[demand], RUN_AS[run_as], GROUPS[groups], KINDS[kind])
        for user, accounts, demand, run_as, groups, kind in rows
    ]
