"""Comments that suppress findings about a container: `# nonroot: allow RULE reason`, at the end of one of its lines or above it.

Above an object's first line a comment counts for all of its containers. Such a comment becomes a NonRootException for
that one object, so that it means exactly what an exception in the cluster means, and a policy may forbid both.
"""

import re
from collections.abc import Iterator
from glob import escape
from typing import get_args

import msgspec

from webhook.check.manifest.decode import locate_node
from webhook.check.manifest.objects import Object
from webhook.check.manifest.parser import Node
from webhook.check.report import Skipped
from webhook.policy.types import ExceptionSpec, Metadata, NonRootException, Rule
from webhook.workload.workload import Workload

_COMMENT = re.compile(r"(?:^|\s)#\s*nonroot:\s*allow(?=\s|$)[ \t]*(\S*)[ \t]*(.*?)\s*\Z")
_IDLE_LINE = re.compile(r"\s*(?:#.*)?\Z")
_ANNOTATION = "nonroot.dev/allow."
_REASON_LIMIT = 1024
_RULES: tuple[Rule, ...] = get_args(Rule)


class Comment(msgspec.Struct, frozen=True):
    """A comment on `line` that speaks about the line `about`: its own, or where it stands alone the next with anything."""

    line: int
    about: int
    rules: tuple[str, ...]
    reason: str


def read_comments(text: str, path: str, known: tuple[str, ...] = _RULES) -> Iterator[Comment | Skipped]:
    """The comments of a file, broken ones as what they are; `known` are the rules that they may name."""
    if "nonroot:" not in text:
        return
    lines = text.split("\n")
    following = _following(lines)
    for number, line in enumerate(lines, start=1):
        match = _COMMENT.search(line)
        if match is None:
            continue
        rules = tuple(rule for rule in known if rule in match[1].split(","))
        if not rules or len(rules) != len(set(match[1].split(","))) or not match[2]:
            why = (
                "a comment that allows something reads `# nonroot: allow RULE reason`, with a RULE of `nonroot explain`"
            )
            yield Skipped(path, number, f"{why}; this one counts for nothing")
            continue
        about = following[number] if _IDLE_LINE.match(line) else number
        yield Comment(number, about, rules, match[2][:_REASON_LIMIT])


def exceptions(
    found: Object, workload: Workload, comments: tuple[Comment, ...]
) -> Iterator[tuple[Comment, NonRootException]]:
    """The comments that speak about this object or a container of it, as exceptions."""
    if not comments:
        return
    spans = [
        (slot.container.name, node)
        for slot in workload.slots()
        if (node := locate_node(found.node, found.place(f"{workload.pointer}/{slot.list}/{slot.index}"))) is not None
    ]
    for comment in comments:
        names: tuple[str, ...] | None = None
        if comment.about == found.node.start.line:
            names = ()
        else:
            names = next(((escape(name),) for name, node in spans if covers(node, comment.about)), None)
        if names is not None:
            metadata = Metadata(f"comment in line {comment.line}")
            rules = tuple(rule for rule in _RULES if rule in comment.rules)
            spec = ExceptionSpec(reason=comment.reason, containers=names, rules=rules)
            yield comment, NonRootException(metadata, spec)


def from_annotations(workload: Workload, path: str, line: int) -> Iterator[NonRootException | Skipped]:
    """Annotations `nonroot.dev/allow.RULE: reason` of the object, which survive kustomize, as exceptions for it."""
    annotations = {**(workload.template_metadata.annotations or {}), **(workload.metadata.annotations or {})}
    for name, reason in annotations.items():
        if not name.startswith(_ANNOTATION):
            continue
        rules = tuple(rule for rule in _RULES if rule == name.removeprefix(_ANNOTATION))
        if rules and reason:
            spec = ExceptionSpec(reason=reason[:_REASON_LIMIT], containers=(), rules=rules)
            yield NonRootException(Metadata(f"annotation {name}"), spec)
        else:
            why = (
                f"an annotation that allows something reads {_ANNOTATION}RULE: reason, with a RULE of `nonroot explain`"
            )
            yield Skipped(path, line, f"{why}; {name[:80]!a} counts for nothing")


def _following(lines: list[str]) -> list[int]:
    """For each line's number, the next line with anything but a comment on it; 0 where there is none."""
    found = [0] * (len(lines) + 1)
    for number in range(len(lines) - 1, 0, -1):
        found[number] = found[number + 1] if _IDLE_LINE.match(lines[number]) else number + 1
    return found


def covers(node: Node, line: int) -> bool:
    """Whether a line is one of a node's; a block ends before the line on which the next thing begins."""
    last = node.end.line if getattr(node, "flow", True) else node.end.line - 1
    return node.start.line <= line <= max(last, node.start.line)
