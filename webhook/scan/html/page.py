"""The readiness report: a scan as one HTML page, the picture from which people decide what to enforce.

It reads as a page without JavaScript; with it, tables sort, filter, and are laid out in parts (`webhook.scan.html`).
"""

import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

import webhook
from webhook.evaluation.verdict import State
from webhook.image.config import parse_user
from webhook.scan import html
from webhook.scan.document import (
    Container,
    Counts,
    Document,
    NamespaceSummary,
    Sample,
    Workload,
    is_root,
    readable,
)
from webhook.scan.html import trend
from webhook.scan.html.trend import Rect
from webhook.text import many

_WORST_FIRST: tuple[State, ...] = ("denied", "unknown", "fixable", "compliant", "exempted")
_LABELS: dict[State, str] = {
    "compliant": "Compliant",
    "fixable": "Fixable",
    "exempted": "Exempted",
    "unknown": "Unknown",
    "denied": "Denied",
}
_MEANINGS: dict[State, str] = {
    "compliant": "runs unchanged",
    "fixable": "admission adds what is missing",
    "exempted": "left out by the policy or by an exception",
    "unknown": "an image could not be read",
    "denied": "until what is written below is fixed",
}
_BAR = 1000  # units of its width


class Part(msgspec.Struct, frozen=True):
    """One state's part of a whole: how many workloads, how much of the bar, from where, and `since` when in words."""

    name: State
    label: str
    meaning: str
    count: int
    share: str
    start: float
    width: float
    since: str = ""


class Trend(msgspec.Struct, frozen=True):
    """The counts since the controller keeps them: a picture, what it shows in words, and the numbers."""

    since: str
    words: str
    rects: tuple[Rect, ...]
    samples: tuple[tuple[str, Sample], ...]


class Namespace(msgspec.Struct, frozen=True):
    """A row of the namespaces; `command` enforces one that is ready, else `next` says what is in the way."""

    name: str
    mode: str | None
    total: int
    parts: tuple[Part, ...]
    root: int
    command: str
    next: str


class Image(msgspec.Struct, frozen=True):
    """A row of the images: the worst state of its containers, the uids they get, and what its Dockerfile lacks."""

    name: str
    user: str | None
    state: State
    uids: str
    containers: int
    root: int
    dockerfile: str


class Root(msgspec.Struct, frozen=True):
    """A container that `pods` Pods run as uid 0 now."""

    workload: Workload
    container: Container
    pods: int


def render(document: Document) -> str:
    """The page. It needs no other file and makes no request."""
    whole = readable(document)
    images = sorted(_images(document.workloads), key=lambda each: (_WORST_FIRST.index(each.state), each.name))
    return html.render(
        "scan/html/page.html",
        document=document,
        version=webhook.__version__,
        made=_moment(datetime.fromisoformat(document.at)),
        headline=_headline(document.summary.workloads, readable=whole),
        lead=_lead(document, len(images)),
        doubts=tuple(_doubts(document)),
        labels=_LABELS,
        rank={name: number for number, name in enumerate(_WORST_FIRST)},
        outcomes=tuple(_parts(document.summary.workloads, document.history)),
        trend=_trend(document),
        namespaces=tuple(_namespace(each, readable=whole) for each in document.summary.namespaces),
        images=images,
        roots=tuple(_roots(document.workloads)),
        reported=_reported(document),
        workloads=sorted(document.workloads, key=lambda each: _WORST_FIRST.index(each.state)),
    )


def _moment(at: datetime) -> str:
    return f"{at:%-d %B %Y, %H:%M %Z}"


def _day(at: datetime) -> str:
    return f"{at:%-d %B %Y}"


def _total(counts: Counts) -> int:
    return sum(getattr(counts, name) for name in _WORST_FIRST)


def _headline(counts: Counts, *, readable: bool) -> str:
    """The one sentence to take away."""
    total = many(_total(counts), "workload") + ("" if readable else " that could be read")
    if not _total(counts):
        return "There is no workload here" if readable else "No workload could be read"
    if counts.denied:
        return f"{counts.denied} of {total} would be denied if enforced now"
    if counts.unknown:
        return f"None of {total} would be denied if enforced now, but for {counts.unknown} that is not known"
    return f"All of {total} keep running if enforced now"


def _lead(document: Document, images: int) -> str:
    """How many namespaces can be enforced, and what was looked at."""
    summary = document.summary
    reached = [each for each in summary.namespaces if each.reached]
    namespaces, containers = many(len(reached), "namespace"), many(_total(summary.containers), "container")
    if readable(document):
        ready = sum(map(_ready, reached))
        verdict = (
            f"{ready} of {namespaces} can be enforced today: those in which nothing would be denied or stay unknown."
        )
    else:
        verdict = "Which namespaces can be enforced today is not known: there is no right to read all that is in them."
    return f"{verdict} Looked at: {many(images, 'image')}, {containers}, {many(summary.pods, 'Pod')}."


def _doubts(document: Document) -> Iterator[str]:
    """The reasons why the picture is not whole, or will not stay as it is."""
    if document.skipped:
        yield f"{many(len(document.skipped), 'object')} could not be looked at; the end of this page says which."
    if document.summary.not_examined:
        yield f"The images of {many(document.summary.not_examined, 'container')} were left out on demand."
    if document.summary.mismatches:
        yield f"Kubelets contradict {many(document.summary.mismatches, 'prediction')} below."
    soon = sum(each.expires_soon for workload in document.workloads for each in workload.containers)
    if soon:
        yield f"The exceptions of {many(soon, 'container')} end within a week."


def _trend(document: Document) -> Trend | None:
    """The trend; None where the controller has seen no other counts yet, or keeps none."""
    history = document.history
    if len(history) < 2:
        return None
    first, last = history[0], history[-1]
    words = ", ".join(
        f"{label} {getattr(first, name)} then and {getattr(last, name)} now" for name, label in _LABELS.items()
    )
    drawn = tuple(trend.rects(history, datetime.fromisoformat(document.at), _LABELS))
    return Trend(_day(first.at), words, drawn, tuple((_moment(each.at), each) for each in reversed(history)))


def _since(history: Sequence[Sample], name: State, count: int) -> str:
    """Since when there are that many; "" where the last sample has another number, because namespaces were looked at since."""
    if not history or getattr(history[-1], name) != count:
        return ""
    at, changed = trend.unchanged_since(history, name)
    return f"since {_day(at)}" if changed else f"since {_day(at)} or longer"


def _parts(counts: Counts, history: Sequence[Sample] = ()) -> Iterator[Part]:
    """The parts, what keeps running first."""
    total, start = _total(counts), 0.0
    for name, label in _LABELS.items():
        count: int = getattr(counts, name)
        width = round(_BAR * count / total, 1) if total else 0.0
        share = f"{count / total:.0%}" if total else ""
        yield Part(name, label, _MEANINGS[name], count, share, start, width, _since(history, name, count))
        start += width


def _ready(namespace: NamespaceSummary) -> bool:
    return not namespace.workloads.denied and not namespace.workloads.unknown


def _namespace(summary: NamespaceSummary, *, readable: bool) -> Namespace:
    counts, command, following = summary.workloads, "", "Enforced"
    if not summary.reached:
        following = "Left out: the hooks are not asked about it"
    elif not _ready(summary):
        parts = [(counts.denied, "to fix"), (counts.unknown, "to find out")]
        following = ", ".join(f"{count} {what}" for count, what in parts if count)
    elif not readable:
        following = "Not known: not all of it may be read"
    elif summary.mode != "Enforce":
        command = f"kubectl label --overwrite ns {shlex.quote(summary.namespace)} nonroot.dev/mode=enforce"
        if summary.cluster:
            command += f"  # in {summary.cluster}"
    return Namespace(
        summary.place,
        summary.mode,
        _total(counts),
        tuple(_parts(counts)),
        counts.root,
        command,
        following,
    )


def _images(workloads: tuple[Workload, ...]) -> Iterator[Image]:
    """A row for each image as it is named, out of all its containers; those that say a uid need not have read it."""
    found: dict[str, list[Container]] = {}
    for workload in workloads:
        for container in workload.containers:
            found.setdefault(container.image, []).append(container)
    for name, containers in found.items():
        user = next((each.user for each in containers if each.user is not None), None)
        uids = sorted({each.uid for each in containers if each.uid is not None})
        yield Image(
            name=name,
            user=user,
            state=min((each.state for each in containers), key=_WORST_FIRST.index),
            uids=", ".join(map(str, uids)),
            containers=len(containers),
            root=sum(map(is_root, containers)),
            dockerfile=_dockerfile(containers),
        )


def _dockerfile(containers: list[Container]) -> str:
    """The line that the image's Dockerfile should end with, by a finding or else the number that its USER stands for."""
    advised = (finding.dockerfile for each in containers for finding in each.findings if finding.dockerfile)
    named = (each for each in containers if each.state == "fixable" and parse_user(each.user or "").name == each.user)
    numbers = (f"USER {each.uid}" for each in named if each.user)
    return next(advised, next(numbers, ""))


def _roots(workloads: tuple[Workload, ...]) -> Iterator[Root]:
    for workload in workloads:
        for container in workload.containers:
            pods = sum(each.pods for each in container.running if each.uid == 0)
            if pods:
                yield Root(workload, container, pods)


def _reported(document: Document) -> str:
    """How much is known of who runs now."""
    if any(each.forbidden and each.object.startswith("Pods") for each in document.skipped):
        return "Who runs now is not known of all: there is no right to read all Pods."
    active = [each for workload in document.workloads if workload.pods for each in workload.containers]
    silent = sum(1 for each in active if not each.running)
    sentence = f"Of {many(len(active), 'container')} with Pods, {sum(map(is_root, active))} run as uid 0."
    why = "they have not started, or their node is older than Kubernetes 1.33"
    return f"{sentence} Of {silent} no kubelet has said: {why}." if silent else sentence
