"""The model against what Kubernetes' and containerd's own tests say, and the product against the model."""

from collections import Counter
from collections.abc import Callable
from itertools import combinations, product
from pathlib import Path

import msgspec
import pytest

from tests.conformance import matrix, model, ours
from tests.conformance.matrix import ACCOUNTS, GROUPS, SIZE, SPECS, USERS, Cell
from tests.conformance.model import Files, Node, Ran, Stuck
from tests.conformance.pairwise import pairwise
from webhook.image.passwd import AccountFiles
from webhook.image.source import Image, PlatformImage
from webhook.image.user import Identity, ImageAnalysis, analyse, group_matters

ROOT = Path(__file__).parents[2]
OLD, NEW = Node(version=(2, 2, 1)), Node(version=(2, 3, 4))


def _demand(non_root: bool | None, user: int | None) -> dict[str, object]:
    return {name: value for name, value in (("runAsNonRoot", non_root), ("runAsUser", user)) if value is not None}


@pytest.mark.parametrize(
    ("non_root", "user", "image", "refused"),
    [
        (None, None, 0, False),
        (True, 1000, 0, False),
        (None, 0, 1000, False),
        (False, None, 0, False),
        (False, 0, 1000, False),
        (True, None, 1000, False),
        (True, None, 2**31 - 1, False),
        (True, 0, 1000, True),
        (True, None, 0, True),
        (True, None, "test", True),
        (True, None, 2**31, True),
        (True, None, -1000, True),
    ],
)
def test_the_model_passes_the_kubelets_own_cases(
    non_root: bool | None, user: int | None, image: int | str, refused: bool
) -> None:
    """Those of kubernetes pkg/kubelet/kuberuntime/security_context_others_test.go that its caller can reach."""
    assert bool(model.verify_run_as_non_root(_demand(non_root, user), image)) is refused


@pytest.mark.parametrize(
    ("user", "reported"),
    [("0", 0), ("0:1", 0), ("1:2:3", 1), ("root:root", "root"), ("test:test", "test"), (None, 0), ("", 0), (":1", 0)],
)
def test_the_model_passes_containerds_own_cases(user: str | None, reported: int | str) -> None:
    """Those of containerd/containerd internal/cri/server/images/image_status_test.go; the kubelet makes none a 0."""
    assert model.image_user(user) == reported


PROBED = Files(
    b"root:x:0:0::/root:\nlegacy:x:1000:2000::/legacy:\napp:x:1000:1000::/home/app:\napp:x:0:0::/:\n1001:x:3000:3000::/:\n"
    b"nouid:x::5::/:\nbad:x:abc:5::/:\nshort\nbig:x:4294967296:7::/:\n2147483648:x:0:0::/:\nsolo:x:1010:1010::/:\n#app:x:0:0\n",
    b"app:x:1000:\nvideo:x:44:app,legacy\ndocker:x:999:app\nonlylegacy:x:888:legacy\nsologrp:x:777:solo\n",
)


@pytest.mark.parametrize(
    ("user", "context", "uid", "gid", "groups"),
    [
        ("app", {}, 1000, 1000, {44, 999}),
        ("1000", {}, 1000, 2000, {44, 888}),
        ("app", {"runAsUser": 1000, "runAsGroup": 1000}, 1000, 1000, {44, 888}),
        ("1001", {}, 1001, 0, set()),
        ("nouid", {}, 0, 5, set()),
        ("bad", {}, 0, 5, set()),
        ("short", {}, 0, 0, set()),
        ("big", {}, 0, 7, set()),
        ("2147483648", {}, 0, 0, set()),
        ("solo", {}, 1010, 1010, {777}),
        ("1010", {}, 1010, 1010, {777}),
        ("1010", {"runAsGroup": 1010}, 1010, 1010, {777}),
        ("#app", {}, 0, 0, set()),
    ],
)
def test_the_model_says_what_containerd_was_seen_to_do(
    user: str, context: dict[str, object], uid: int, gid: int, groups: set[int]
) -> None:
    """The functions of containerd 2.2.1's pkg/oci/spec_opts.go, called by hand on these files."""
    found = model.outcome(user, PROBED, {}, context, OLD)
    assert isinstance(found, Ran)
    assert (found.uid, found.gid, set(found.groups)) == (uid, gid, {gid, *groups})


def test_newer_runtimes_refuse_numbers_out_of_range() -> None:
    """The fix for CVE-2026-46680."""
    for user in ("2147483648", "4294967296", "99999999999999999999"):
        assert model.outcome(user, PROBED, {}, {}, NEW) == Stuck("CreateContainerError", "uid out of range")


def test_every_pair_of_values_is_covered() -> None:
    """Small axes, one pair of which is impossible."""
    sizes, impossible = (5, 4, 3, 2), {((1, 2), (0, 0))}
    rows = pairwise(sizes, (1, 1, 3, 2), impossible)
    for left, right in combinations(range(4), 2):
        wanted = {((left, right), values) for values in product(range(sizes[left]), range(sizes[right]))} - impossible
        assert {((left, right), (row[left], row[right])) for row in rows} == wanted


def test_the_covering_set_is_hardly_larger_than_it_must_be() -> None:
    """Its size is at least that of the two largest axes' product."""
    assert len(USERS) * len(ACCOUNTS) <= len(matrix.covering()) <= 1.05 * len(USERS) * len(ACCOUNTS)


def test_without_the_group_file_the_same_is_injected() -> None:
    """Where it is not read, /etc/passwd tells enough; all that is lost is the word on a group that no process can have."""
    compared, lost = 0, set()
    for user, (accounts, files), groups in product(USERS, ACCOUNTS.items(), GROUPS):
        whole = ours.image(user, files)
        config = whole.platforms[0].config
        if not config.user.name or group_matters(config.user, files.passwd):
            continue
        part = Image(whole.digest, (PlatformImage(config, accounts=AccountFiles(files.passwd, group_read=False)),))
        gid = groups.pod if groups.container is None else groups.container
        expected, found = (analyse(each, "linux", gid, groups.strict) for each in (whole, part))
        assert (found.plan, without_groups(found)) == (expected.plan, without_groups(expected))
        compared += 1
        if found.fault_free is not expected.fault_free:
            lost.add(accounts)
    assert compared > 1000
    assert lost == {"gid of a group negative"}


def without_groups(analysis: ImageAnalysis) -> list[Identity]:
    """Who an image's USER is known to be, but for the groups."""
    return [msgspec.structs.replace(each.known, groups=None) for each in analysis.identities if each.known]


@pytest.mark.no_cover  # two million verdicts by the same few lines: coverage makes ten minutes of one and a half
@pytest.mark.e2e
async def test_every_verdict_is_the_models(record_property: Callable[[str, object], None]) -> None:
    """The full product of images and specs, all kinds of containers; without a cluster, but too long for the unit tests."""
    reference = "registry.test/app:1"
    pods = ours.pods(SPECS, reference)
    states: Counter[str] = Counter()
    wrong: list[str] = []
    for user, (accounts, files) in product(USERS, ACCOUNTS.items()):
        table = ours.Table({reference: ours.image(user, files)})
        for pod, by_name in pods:
            for each in (await ours.verdict(pod, table)).containers:
                cell = Cell(user, accounts, *by_name[each.subject.slot.container.name])
                advice = model.advice(user, files, cell.pod_context, cell.container_context)
                rule = next((found.rule for found in each.findings if found.severity == "error"), "")
                states[each.state] += 1
                if (each.state, rule) != (advice.state, advice.rule):
                    wrong.append(f"{cell}: {each.state} {rule}, the model says {advice.state} {advice.rule}")
    result = f"{states.total()} cells {dict(states)}, {len(wrong)} disagreements with the model"
    record_property("full product", result)
    assert states.total() == SIZE
    assert not wrong, wrong[:10]


def test_the_security_model_counts_what_the_kubelet_is_left_with() -> None:
    """test_kubelet.py tries these cells on a real kubelet, each of which has to end as the model says here."""
    ends = Counter(
        isinstance(model.outcome(cell.user, cell.files, cell.pod_context, demanded, NEW), Ran)
        for cell in matrix.unread()
        for demanded in [{**cell.container_context, "runAsNonRoot": True}]
    )
    page = " ".join((ROOT / "docs" / "explanation" / "security-model.md").read_text().split())
    assert f"Every form of USER ({len(USERS)} of them) was left to a real kubelet" in page
    assert f"{ends[True]} ran and {ends[False]} did not start" in page
    assert f"for more of its {len(matrix.unread(every=1)):,} cells" in page
