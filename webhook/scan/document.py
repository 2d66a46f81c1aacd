"""The document of a scan, JSON version 1: a contract. Fields may be added; none is renamed, removed or given another meaning.

Every other format is made from this document. Its JSON Schema is published beside this module, as
`scan.v1.schema.json`; `python -m webhook.scan.document` writes it anew from the types below.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from webhook import json_output
from webhook.evaluation.verdict import State

Outcome = Literal["unchanged", "fixed", "refused", "unknown", "excepted"]
STATES: dict[Outcome, State] = {
    "unchanged": "compliant",
    "fixed": "fixable",
    "refused": "denied",
    "unknown": "unknown",
    "excepted": "exempted",
}
"""The states by their former names, which the field `outcome` keeps for other programs; no code decides by it."""

OUTCOMES: dict[State, Outcome] = {state: outcome for outcome, state in STATES.items()}

UNREACHED = "the API server does not ask admission about this namespace"
"""`reason` of every workload of a namespace that the hooks leave out: nothing there can be enforced."""


class Finding(msgspec.Struct, frozen=True):
    """One fault of one container. What injection cures is a note.

    `dockerfile` is the instruction that the image's Dockerfile should end with; empty where the image is not at fault, or no
    number is known to be right. `url` is the rule's page in the documentation, empty in what former versions wrote.
    """

    rule: str
    severity: Literal["error", "warning", "unknown", "note"]
    message: str
    fix: str
    dockerfile: str
    url: str = ""


class Running(msgspec.Struct, frozen=True):
    """The identity with which `pods` Pods run a container now, as their kubelets report it; `groups` are the supplementary ones."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    pods: int


class Waiting(msgspec.Struct, frozen=True):
    """The reason why the container does not start in `pods` Pods now, in the kubelet's words."""

    reason: str
    message: str
    pods: int


class Container(msgspec.Struct, frozen=True):
    """A container of the next Pod that the workload makes, once its namespace is enforced.

    `uid` is who it runs as then, null where that is not known, and `who` says so in words; of a refused one, who it would
    have run as. `state` is `outcome` in admission's words. `user` is the image's USER, null where the image was not read.
    `yaml` holds the fields that injection adds at `path` of the workload's own manifest. `reason` is why an excepted one is
    left out, or until lately was; `expires_soon` where that ends within a week. `mismatch` says which prediction the
    kubelets' reports in `running` disagree with, and is null where they agree. `waiting` is why Pods of today do not start
    it, null where none is stuck. `exceptions` are the names of those that apply to it.
    """

    name: str
    kind: Literal["init", "sidecar", "regular", "ephemeral"]
    image: str
    digest: str
    user: str | None
    uid: int | None
    who: str
    outcome: Outcome
    reason: str
    expires_soon: bool
    findings: tuple[Finding, ...]
    path: str
    yaml: str
    running: tuple[Running, ...]
    mismatch: str | None
    waiting: Waiting | None
    exceptions: tuple[str, ...] = ()
    state: State = "unknown"

    def __post_init__(self) -> None:
        """`state` always follows from `outcome`: documents of earlier versions do not have it."""
        msgspec.structs.force_setattr(self, "state", STATES[self.outcome])


UNKNOWN_POLICY = "(unknown)"
"""`policy` of a namespace where what decides on it may not be read; a name that no object can have."""

Mode = Literal["Audit", "Warn", "Enforce"]


class Workload(msgspec.Struct, frozen=True):
    """A workload and what becomes of the Pods that it makes once its namespace is enforced.

    `mode` is the one in force, and `today` what admission does with such a Pod under it: it allows, allows with a
    warning, or denies. Where policies or labels may not be read `policy` is `(unknown)`, `today` null, and `mode` too
    unless the namespace's label settles it. `pods` are those that run. `reason` is why the whole of it is exempt. `api_version` and
    `object_uid` identify the object. `labels` are those of the namespace that were asked for, such as who owns it. `cluster` is
    empty but in a document about several.
    """

    kind: str
    namespace: str
    name: str
    policy: str
    mode: Mode | None
    outcome: Outcome
    today: Literal["allow", "warn", "deny"] | None
    reason: str
    pods: int
    containers: tuple[Container, ...]
    api_version: str
    object_uid: str
    labels: dict[str, str] = {}
    cluster: str = ""

    @property
    def place(self) -> str:
        """The namespace, and of a document about several clusters which one it is in."""
        return _place(self.cluster, self.namespace)

    state: State = "unknown"

    def __post_init__(self) -> None:
        """As a container's."""
        msgspec.structs.force_setattr(self, "state", STATES[self.outcome])


class Skip(msgspec.Struct, frozen=True):
    """A thing that could not be examined, and why. `forbidden`: whoever scans has no right to read it."""

    object: str
    reason: str
    forbidden: bool = False


class Counts(msgspec.Struct):
    """The counts of each outcome, and the same by `state`; of them, `root` run as uid 0 now."""

    unchanged: int = 0
    fixed: int = 0
    refused: int = 0
    unknown: int = 0
    excepted: int = 0
    root: int = 0
    compliant: int = 0
    fixable: int = 0
    denied: int = 0
    exempted: int = 0

    def __post_init__(self) -> None:
        """The counts by `state` follow from those by outcome, too."""
        for outcome, state in STATES.items():
            setattr(self, state, getattr(self, outcome))

    def add(self, state: State, *, root: bool) -> None:
        """Count one more."""
        for name in {state, OUTCOMES[state]}:
            setattr(self, name, getattr(self, name) + 1)
        self.root += root


class NamespaceSummary(msgspec.Struct, frozen=True):
    """The workloads of a namespace; not `reached` is one that can never be enforced, because no hook is asked about it."""

    namespace: str
    mode: Mode | None
    policy: str
    pods: int
    workloads: Counts
    reached: bool
    cluster: str = ""

    @property
    def place(self) -> str:
        """As `Workload.place`."""
        return _place(self.cluster, self.namespace)


class ImageSummary(msgspec.Struct, frozen=True):
    """The containers of an image, and the USER that it has, null where it was not read."""

    image: str
    digest: str
    user: str | None
    containers: Counts


class Summary(msgspec.Struct, frozen=True):
    """The sums. `not_examined` containers have an image that was left out by --no-images."""

    workloads: Counts
    containers: Counts
    pods: int
    mismatches: int
    not_examined: int
    namespaces: tuple[NamespaceSummary, ...]
    images: tuple[ImageSummary, ...]


class Sample(msgspec.Struct, frozen=True):
    """The counts of workloads by state when a former scan was made, `at`, and of those that ran as uid 0."""

    at: Annotated[datetime, Meta(tz=True)]
    compliant: int
    fixable: int
    denied: int
    unknown: int
    exempted: int
    root: int


class Document(msgspec.Struct, frozen=True):
    """The whole output of `nonroot scan -o json`. `at` is when it was made, in RFC 3339.

    `history` has the counts of former scans as the controller keeps them, oldest first and only where they changed, a day's
    last; it is empty in what the command prints, and in a document about some namespaces alone.
    """

    version: Literal[1]
    cluster: str
    at: str
    workloads: tuple[Workload, ...]
    summary: Summary
    skipped: tuple[Skip, ...]
    history: tuple[Sample, ...] = ()


def _place(cluster: str, namespace: str) -> str:
    return f"{cluster}/{namespace}" if cluster else namespace


def document(cluster: str, at: str, workloads: Iterable[Workload], skipped: Iterable[Skip] = ()) -> Document:
    """The document about some workloads, in the order of namespaces, kinds and names."""
    ordered = tuple(sorted(workloads, key=lambda each: (each.cluster, each.namespace, each.kind, each.name)))
    return Document(1, cluster, at, ordered, summarise(ordered), tuple(skipped))


def merged(documents: Sequence[Document]) -> Document:
    """One document about several clusters, which is as old as the oldest of theirs; that of a single one is what it is."""
    if len(documents) == 1:
        return documents[0]
    workloads = (
        msgspec.structs.replace(each, cluster=found.cluster) for found in documents for each in found.workloads
    )
    skipped = (
        msgspec.structs.replace(each, object=f"{each.object} in cluster {found.cluster}")
        for found in documents
        for each in found.skipped
    )
    at = min((found.at for found in documents), key=datetime.fromisoformat)
    return document(", ".join(found.cluster for found in documents), at, workloads, skipped)


def renewed(former: Document, part: Document, namespaces: Collection[str]) -> Document:
    """The `former` document with some namespaces as `part` has them. It stays of its time: the rest of it is no newer."""
    kept = (each for each in former.workloads if each.namespace not in namespaces)
    skipped = dict.fromkeys((*former.skipped, *part.skipped))
    made = document(former.cluster, former.at, (*kept, *part.workloads), skipped)
    return msgspec.structs.replace(made, history=former.history)


def sample(document: Document) -> Sample:
    """The counts of one scan."""
    counts = document.summary.workloads
    return Sample(
        datetime.fromisoformat(document.at), **{name: getattr(counts, name) for name in Sample.__struct_fields__[1:]}
    )


def readable(document: Document) -> bool:
    """Whether nothing was left out for want of a right: else what is not found may be there all the same."""
    return not any(each.forbidden for each in document.skipped)


def part(whole: Document, namespaces: Collection[str]) -> Document:
    """The document about some namespaces. What was skipped is kept as far as it names no other one."""
    workloads = tuple(each for each in whole.workloads if each.namespace in namespaces)
    skipped = tuple(each for each in whole.skipped if _names_none_but(each.object, namespaces))
    return Document(1, whole.cluster, whole.at, workloads, summarise(workloads), skipped)


def _names_none_but(skipped: str, namespaces: Collection[str]) -> bool:
    """Whether what was skipped, as `Deployment shop/web` or `Pods of Namespace shop`, is in one of the namespaces or in none."""
    about = skipped.partition("/")[0] if "/" in skipped else skipped
    named = "/" in skipped or "Namespace " in skipped
    return not named or about.rpartition(" ")[2] in namespaces


def summarise(workloads: Iterable[Workload]) -> Summary:
    """The sums over some workloads; namespaces and images in the order in which they come up."""
    total, containers = Counts(), Counts()
    pods = mismatches = not_examined = 0
    namespaces: dict[str, tuple[Workload, Counts, list[int]]] = {}  # by their places
    images: dict[tuple[str, str, str | None], Counts] = {}
    for each in workloads:
        root = any(map(is_root, each.containers))
        _, counts, running = namespaces.setdefault(each.place, (each, Counts(), []))
        for sums in (total, counts):
            sums.add(each.state, root=root)
        running.append(each.pods)
        pods += each.pods
        for container in each.containers:
            image = images.setdefault((container.image, container.digest, container.user), Counts())
            for sums in (containers, image):
                sums.add(container.state, root=is_root(container))
            mismatches += container.mismatch is not None
            not_examined += container.who == LEFT_OUT
    return Summary(
        total,
        containers,
        pods,
        mismatches,
        not_examined,
        tuple(
            NamespaceSummary(
                first.namespace,
                first.mode,
                first.policy,
                sum(running),
                counts,
                first.reason != UNREACHED,
                first.cluster,
            )
            for first, counts, running in namespaces.values()
        ),
        tuple(ImageSummary(*key, counts) for key, counts in images.items()),
    )


LEFT_OUT = "not examined"
"""`who` of a container whose image was left out on demand."""


def is_root(container: Container) -> bool:
    """Whether some Pod runs it as uid 0 now."""
    return any(each.uid == 0 for each in container.running)


def schema() -> bytes:
    """The JSON Schema of a scan, as it is published."""
    return json_output.schema(Document, "nonroot scan")


SCHEMA = Path(__file__).with_name("scan.v1.schema.json")


def render(report: Document) -> str:
    """The document as indented JSON."""
    return json_output.text(report)


if __name__ == "__main__":
    SCHEMA.write_bytes(schema())
