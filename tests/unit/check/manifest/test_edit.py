"""Only what is meant changes in a file, however it is written: by example, and by a great many made-up manifests."""

import asyncio
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.images import Table
from tests.unit.check.files import IMAGES, POD
from webhook.check.fix import Fixes, fix
from webhook.check.manifest.edit import Addition, apply
from webhook.check.manifest.parser import documents
from webhook.check.run import Request
from webhook.image.source import NotExamined
from webhook.policy.types import Documents, Metadata, NonRootPolicy, PolicySpec

CURED = (
    "runAsNonRoot: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}, "
    "seccompProfile: {type: RuntimeDefault}"
)


async def fixed(folder: Path, text: str, *, no_images: bool = True) -> tuple[str, Fixes]:
    """The text as `nonroot fix` would have it."""
    path = folder / "pod.yaml"
    path.write_bytes(text.encode())
    fixes = await fix(Request((str(path),)), NotExamined() if no_images else Table(IMAGES))
    return (fixes.changes[0].after if fixes.changes else text), fixes


async def test_the_uid_behind_the_name_is_written_with_everything_admission_adds(tmp_path: Path) -> None:
    """And the file checks clean then."""
    after, fixes = await fixed(tmp_path, POD, no_images=False)
    assert after == POD + (
        "        runAsUser: 1000\n"
        "        allowPrivilegeEscalation: false\n"
        "        capabilities:\n"
        "          drop: [ALL]\n"
        "          add: [NET_BIND_SERVICE]\n"
        "        seccompProfile:\n"
        "          type: RuntimeDefault\n"
    )
    assert (fixes.rest.findings, fixes.rest.exit_code()) == ((), 0)
    again, fixes = await fixed(tmp_path, after, no_images=False)
    assert (again, fixes.changes) == (after, ())


EXPLICIT = (
    "  - name: a\n"
    "    securityContext: {capabilities: {add: [NET_RAW]}, seccompProfile: {type: Unconfined}, "
    "allowPrivilegeEscalation: true}\n"
)
DEEP = (
    "  - name: a\n"
    "    securityContext:\n"
    "        capabilities:\n"
    "            add: [NET_RAW]\n"
    "        allowPrivilegeEscalation: true\n"
    "        runAsNonRoot: false\n"
)
SHARED = "  - name: a\n    securityContext: &s {privileged: true}\n  - name: b\n    securityContext: *s\n"
MERGED = (
    "  - &base\n    name: a\n"
    "    securityContext: {runAsUser: 1, runAsNonRoot: true, allowPrivilegeEscalation: false, capabilities: {}}\n"
    "  - <<: *base\n    name: b\n"
)
HEAD = "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  securityContext: {runAsUser: 7}\n  containers:\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  - {name: a, image: x}\n", f"  - {{name: a, image: x, securityContext: {{{CURED}}}}}\n"),
        ("  - {name: a, image: x, }\n", f"  - {{name: a, image: x, securityContext: {{{CURED}}}, }}\n"),
        ("  - securityContext: {}\n    name: a\n", f"  - securityContext: {{{CURED}}}\n    name: a\n"),
        ("  - securityContext:\n    name: a\n", f"  - securityContext: {{{CURED}}}\n    name: a\n"),
        ("  - securityContext: ~ # c\n    name: a\n", f"  - securityContext: {{{CURED}}} # c\n    name: a\n"),
        ("  - name: a\n    image: x\n    securityContext:\n      runAsNonRoot: # none\n      privileged: true\n",
         "  - name: a\n    image: x\n    securityContext:\n      runAsNonRoot: true # none\n      privileged: true\n"),
        (EXPLICIT, EXPLICIT.removesuffix("}\n") + ", runAsNonRoot: true}\n"),
        (DEEP, f"{DEEP}        seccompProfile:\n            type: RuntimeDefault\n"),
    ],
)  # fmt: skip
async def test_each_way_of_writing_is_gone_on_with(tmp_path: Path, before: str, after: str) -> None:
    """Flow, empty, null, deeper indentation; and nothing explicit is overridden."""
    assert (await fixed(tmp_path, HEAD + before))[0] == HEAD + after


@pytest.mark.parametrize(
    ("containers", "line"),
    [
        ("  - &c {name: a, image: x}\n  - *c\n", 7),
        (SHARED, 8),
        (MERGED, 10),
    ],
)  # fmt: skip
async def test_what_an_anchor_shares_is_left_to_its_author(tmp_path: Path, containers: str, line: int) -> None:
    """It is told, and the file stays."""
    before = HEAD + containers
    after, fixes = await fixed(tmp_path, before)
    assert after == before
    assert line in [each.line for each in fixes.rest.skipped]
    assert fixes.rest.exit_code() == 3


async def test_an_addition_that_cannot_be_made_leaves_the_others_alone(tmp_path: Path) -> None:
    """The first two share what they have; the third is on its own."""
    after, fixes = await fixed(tmp_path, f"{HEAD}{SHARED}  - {{name: c, image: x}}\n")
    assert after == f"{HEAD}{SHARED}  - {{name: c, image: x, securityContext: {{{CURED}}}}}\n"
    assert len(fixes.rest.skipped) == 2


async def test_excepted_root_and_unknown_containers_are_not_edited(tmp_path: Path) -> None:
    """As at admission: no defaults for what is not proven to be non-root; an exception for a rule drops its findings only."""
    text = POD + (
        "    - {name: b, image: root:1}\n"
        "    - {name: c, image: down:1}\n"
        "    - {name: d, image: numeric:1} # nonroot: allow root-image just because\n"
    )
    after, fixes = await fixed(tmp_path, text, no_images=False)
    assert after.splitlines()[-3:-1] == text.splitlines()[-3:-1]
    assert "runAsUser: 1000" in after.splitlines()[-1]
    assert [each.rule for each in fixes.rest.findings] == ["root-image", "unknown-image"]
    assert fixes.rest.exit_code() == 1


def test_text_that_is_not_what_it_seems_is_not_touched() -> None:
    """The text is read again after the edit, and must hold what was meant."""
    text = "a: {b: 1}\n"
    root = next(documents(text))
    operation = {"op": "add", "path": "/a/x", "value": "y: z"}
    after, (failure,) = apply(text, [Addition(0, root, "", (operation,))])
    assert after == text
    assert "cannot be added to safely" in str(failure)


COMMENTS = st.sampled_from(["", "", "  # why", " # é: {x"])
FILLERS = st.sampled_from(["", "\n", "      # a note\n", "\n\n"])
FIELDS = [
    "command: ['sh', \"-c\", 'a: b # c']",
    "args:\n{i}- --x={{y}}\n{i}- 'q'",
    "args:\n{i}- |\n{i}  line\n\n{i}  # no comment\n",
    'env:\n{i}- name: A\n{i}  value: >-\n{i}    folded\n{i}    text\n{i}- {{name: B, value: "1"}}',
    "workingDir: &dir{n} /srv",
    "stdin:",
    "tty: ~",
    "resources: {{}}",
    "lifecycle: !!null",
    "ports: [{{containerPort: 80}}, {{containerPort: 81}},]",
    "terminationMessagePath: |+\n{i}  kept\n\n\n",
]
CONTEXTS = [
    "",
    "securityContext:",
    "securityContext: {{}}",
    "securityContext: null",
    "securityContext: {{runAsUser: 5}}",
    "securityContext: {{ runAsUser: 5,\n{i}    privileged: false }}",
    "securityContext:\n{i}  runAsUser: 5",
    "securityContext:\n{i}      # odd\n{i}      runAsUser: 5\n{i}      capabilities:\n{i}        drop: ['ALL']",
    "securityContext:\n{i}  runAsNonRoot: true\n{i}  seccompProfile:\n{i}     type: Localhost\n{i}     localhostProfile: x",
    "securityContext: # c\n{i}  windowsOptions: {{}}",
]


@st.composite
def manifests(draw: st.DrawFn) -> str:
    """A Pod, written in any way that YAML allows and people use."""
    dash = draw(st.sampled_from(["  ", "    ", ""]))
    out = [draw(st.sampled_from(["", "---\n", "# head\n", "a: b\n---\n", "\ufeff"]))]
    out.append("apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\nspec:\n")
    out.append(
        draw(st.sampled_from(["  securityContext: {runAsUser: 9}\n", "  securityContext:\n    runAsUser: 9 # x\n"]))
    )
    out.append("  containers:\n")
    in_scalar = False
    for number in range(draw(st.integers(1, 3))):
        indent = dash + "  "
        fields = [
            f"name: c{number}",
            "image: x",
            *draw(st.lists(st.sampled_from(FIELDS), max_size=3, unique_by=lambda f: f[:4])),
        ]
        fields.append(draw(st.sampled_from(CONTEXTS)))
        fields = draw(st.permutations([each for each in fields if each]))
        for place, field in enumerate(fields):
            in_scalar = "|" in field
            lines = field.format(i=f"  {indent}", n=number)
            comment = "" if "|" in lines or ">" in lines else draw(COMMENTS)
            lead = f"  {dash}- " if place == 0 else f"  {indent}"
            out.append(f"{lead}{lines}{comment}\n{draw(FILLERS)}")
    tail = draw(st.sampled_from(["", "  # tail\n", "  restartPolicy: Never\n", "---\nkind: x\n", "...\n"]))
    text = "".join([*out, tail])
    # The newline that ends a file is part of a literal scalar there: nothing can be added behind one that lacks it.
    if (tail or not in_scalar) and draw(st.booleans()):
        text = text.removesuffix("\n")
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


def _adds(before: str, after: str) -> bool:
    """Whether all of `before` is in `after`, in order, but for nulls that were filled."""
    rest = iter(after)
    return all(letter in rest for letter in re.sub(r"(securityContext:) null", r"\1", before))


@settings(max_examples=4 * settings().max_examples)
@given(manifests())
def test_whatever_a_manifest_looks_like_only_additions_are_made_and_only_once(text: str) -> None:
    """Every character stays in its order, every line without an addition is the same, and a second run adds nothing."""
    with tempfile.TemporaryDirectory() as folder:
        after, fixes = asyncio.run(fixed(Path(folder), text))
        again, second = asyncio.run(fixed(Path(folder), after))
    assert not fixes.rest.skipped, (text, fixes.rest.skipped)
    assert not fixes.rest.findings
    assert _adds(text, after)
    assert (again, second.changes) == (after, ())
    assert "\r\n" not in text or "\n" not in after.replace("\r\n", "")


async def test_files_that_cannot_be_read_are_reported_and_the_others_fixed(tmp_path: Path) -> None:
    """One bad file hides none of its neighbours."""
    (tmp_path / "bad.yaml").write_bytes(b"\xff")
    (tmp_path / "good.yaml").write_text(f"{HEAD}  - {{name: a, image: x}}\n")
    fixes = await fix(Request((str(tmp_path),)), NotExamined())
    assert [Path(each.path).name for each in fixes.changes] == ["good.yaml"]
    assert [each.reason for each in fixes.rest.skipped] == ["not UTF-8, as kubectl wants it: convert it"]


async def test_nothing_is_added_to_a_file_that_breaks_off(tmp_path: Path) -> None:
    """What stands behind the fault cannot be compared; the reason is told once, and nothing is lost."""
    text = f"{POD}    - {{name: b, image: named:1, securityContext: {{runAsNonRoot: true}}}}\n---\na: [\n"
    after, fixes = await fixed(tmp_path, text, no_images=False)
    assert (after, fixes.changes) == (text, ())
    assert [(each.line, "to its end" in each.reason) for each in fixes.rest.skipped] == [(15, False), (15, True)]


async def test_a_policy_without_defaults_gets_the_uid_alone(tmp_path: Path) -> None:
    """The file is fixed to what that policy would inject."""
    (tmp_path / "pod.yaml").write_text(POD)
    documents = Documents((NonRootPolicy(Metadata("p"), PolicySpec(defaults=())),))
    fixes = await fix(Request((str(tmp_path),), documents), Table(IMAGES))
    assert [each.after for each in fixes.changes] == [f"{POD}        runAsUser: 1000\n"]
