"""The workloads of a manifest, and the findings of their verdicts with lines."""

import re
from collections.abc import Iterator

import msgspec

from webhook.check.files import Source
from webhook.check.manifest import objects as kubernetes
from webhook.check.manifest.decode import locate
from webhook.check.manifest.objects import TemplateKinds
from webhook.check.manifest.parser import MalformedYaml, Mark, Node, documents
from webhook.check.report import Finding, Object, Skipped
from webhook.check.suppressions import Comment, exceptions, from_annotations, read_comments
from webhook.errors import MalformedReview
from webhook.evaluation import kubelet
from webhook.evaluation.finding import Finding as Fault
from webhook.evaluation.identity_fields import refusal
from webhook.evaluation.verdict import ContainerVerdict, Verdict
from webhook.policy.types import NonRootException
from webhook.workload.json_pointer import field_path
from webhook.workload.scheduling import operating_system
from webhook.workload.workload import Slot, Workload, effective

_IMAGES = re.compile(r"\b(?:containers|container|script|steps)[\"']?:")  # what a Pod template in a custom kind has
_PLACEHOLDER = re.compile(r"\{\{|\$\{|\$\(")
_PATH_IN_ERROR = re.compile(r" is malformed: (\S+): ")
_MERGE = "a patch says nothing before it is merged: for kustomize, `kubectl kustomize FOLDER | nonroot check -`"
_RENDER = "a template says nothing before it is rendered: for a Helm chart, --render or `helm template CHART | nonroot check -`"


class WorkloadInFile(msgspec.Struct, frozen=True):
    """A workload to be evaluated, in document number `document` of its file, from 0.

    `slots` are its containers (None: all) but for those whose image is still to come.
    """

    path: str
    document: int
    found: kubernetes.Object
    workload: Workload
    slots: tuple[Slot, ...] | None
    exceptions: tuple[NonRootException, ...]

    @property
    def namespace(self) -> str:
        """The namespace that the object names."""
        return self.workload.metadata.namespace or ""


def read(source: Source, kinds: TemplateKinds) -> Iterator[WorkloadInFile | Skipped | None]:
    """The workloads of a file and whatever of it cannot be evaluated, in order; None for each object of another kind."""
    if source.chart and (start := source.text.find("{{")) != -1:
        yield Skipped(source.path, source.text.count("\n", 0, start) + 1, _RENDER)
        return
    comments: list[Comment] = []
    for comment in read_comments(source.text, source.path):
        if isinstance(comment, Skipped):
            yield comment
        else:
            comments.append(comment)
    used: set[Comment] = set()
    whole = True
    by_shape = _IMAGES.search(source.text) is not None
    try:
        for document, root in enumerate(documents(source.text)):
            for found in kubernetes.objects(root):
                for each in _case(source, document, found, kinds, by_shape, tuple(comments), used):
                    whole = whole and not isinstance(each, Skipped)
                    yield each
    except MalformedYaml as error:
        whole = False
        yield Skipped(source.path, error.line, _hinted(str(error), source))
    for comment in comments if whole else ():
        if comment not in used:
            yield Skipped(
                source.path, comment.line, "this comment stands at no container and at no object's first line"
            )


def findings(case: WorkloadInFile, verdict: Verdict) -> Iterator[Finding]:
    """The findings about one workload, with their places in the text. What admission would cure is a note."""
    place = Object(case.workload.kind, case.namespace, case.workload.name)
    for container in verdict.containers:
        for fault in container.findings:
            cured = container.fixes(fault)
            mark = _mark(case, container, fault)
            message = f"{fault.reason}: {fault.detail}"
            yield Finding(
                rule=fault.rule,
                severity="note" if cured else fault.severity,
                path=case.path,
                line=mark.line,
                column=mark.column,
                message=f"{message}; policy {verdict.effective_policy.policy.metadata.name} cures it"
                if cured
                else message,
                fix=_own_fields(case.found, fault.fix),
                object=place,
                container=fault.container,
                image=fault.image,
                user=fault.user,
                kubelet=_refusal(container),
            )


def _own_fields(found: kubernetes.Object, text: str) -> str:
    """A text with the fields of the object's own kind."""
    for aliases in found.aliases:
        standard, own = map(field_path, aliases)
        text = text.replace(standard, own)
    return text


def _case(
    source: Source,
    document: int,
    found: kubernetes.Object,
    kinds: TemplateKinds,
    by_shape: bool,
    comments: tuple[Comment, ...],
    used: set[Comment],
) -> Iterator[WorkloadInFile | Skipped | None]:
    try:
        read = kubernetes.workloads(found, kinds, by_shape=by_shape)
    except MalformedReview as error:
        mark = _error_mark(found.node, str(error))
        yield Skipped(source.path, mark.line, _hinted(str(error).replace(" in the request", ""), source))
        return
    if not read:
        yield None
    for place, each in read:
        yield from _workload(source, document, place, each, comments, used)


def _workload(
    source: Source,
    document: int,
    found: kubernetes.Object,
    workload: Workload,
    comments: tuple[Comment, ...],
    used: set[Comment],
) -> Iterator[WorkloadInFile | Skipped]:
    rendered = []
    for slot in workload.slots():
        why = _unrendered(slot, workload)
        if why is None:
            rendered.append(slot)
            continue
        pointer = found.place(f"{workload.pointer}/{slot.list}/{slot.index}")
        mark = locate(found.node, f"{pointer}/image") or locate(found.node, pointer) or found.node.start
        yield Skipped(source.path, mark.line, why)
    matching = tuple(exceptions(found, workload, comments))
    used.update(comment for comment, _ in matching)
    annotated: list[NonRootException] = []
    for each in from_annotations(workload, source.path, found.node.start.line):
        if isinstance(each, Skipped):
            yield each
        else:
            annotated.append(each)
    slots = None if rendered == list(workload.slots()) else tuple(rendered)
    yield WorkloadInFile(
        source.path, document, found, workload, slots, (*(exception for _, exception in matching), *annotated)
    )


def _hinted(reason: str, source: Source) -> str:
    return f"{reason}; {_RENDER}" if _PLACEHOLDER.search(source.text) else reason


def _unrendered(slot: Slot, workload: Workload) -> str | None:
    """Why the container cannot be evaluated yet: its image is needed, and only a later program will say which it is."""
    merged = effective(slot.container, workload.context)
    if not kubelet.needs_image(merged, operating_system(workload.spec)):
        return None
    image = slot.container.image
    if not image:
        return f"the container {slot.container.name[:80]!a} has no image; {_MERGE}"
    return f"the image {image!a} is a placeholder; {_RENDER}" if _PLACEHOLDER.search(image) else None


def _mark(case: WorkloadInFile, container: ContainerVerdict, fault: Fault) -> Mark:
    """The field that says it: the container's own, else the Pod's where that counts, else the image, else the container."""
    subject = container.subject
    field = fault.pointer.removeprefix(subject.pointer)
    candidates = [fault.pointer]
    if field:
        if subject.effective.user_source == "pod" or subject.effective.windows_user is not None:
            candidates.append(f"{subject.workload.pointer}{field}")
        candidates += [f"{subject.pointer}/image", subject.pointer]
    marks = (locate(case.found.node, case.found.place(pointer)) for pointer in candidates)
    return next((mark for mark in marks if mark is not None), case.found.node.start)


def _refusal(container: ContainerVerdict) -> str | None:
    """The kubelet's words for this container as it stands; None where it starts it, or nobody knows."""
    subject = container.subject
    user = subject.identities[0].user if subject.identities else None
    return refusal(subject.workload, subject.slot, user, subject.os) or None


def _error_mark(root: Node, message: str) -> Mark:
    """Where the `spec.containers[0].name` of an error stands, as far as it can be followed."""
    match = _PATH_IN_ERROR.search(message)
    pointer = re.sub(r"\[(\d+)\]", r".\1", f".{match[1]}" if match else "").replace(".", "/")
    while pointer:
        mark = locate(root, pointer)
        if mark is not None:
            return mark
        pointer = pointer.rpartition("/")[0]
    return root.start
