"""Comments that let a container be: `# nonroot: allow RULE reason`, at the end of one of its lines or above it.

Above an object's first line a comment counts for all of its containers. Such a comment becomes a NonRootException for
that one object, so that it means exactly what an exception in the cluster means, and a policy may forbid both.
"""

import re
from collections.abc import Iterator
from glob import escape
from typing import get_args

import msgspec

from webhook.manifest.objects import Object
from webhook.manifest.tree import Node, locate_node
from webhook.pod import Workload
from webhook.policy import ExceptionSpec, Metadata, NonRootException, Rule
from webhook.workstation.sources import Skipped

_COMMENT = re.compile(r"(?:^|\s)#\s*nonroot:\s*allow(?=\s|$)[ \t]*(\S*)[ \t]*(.*?)\s*\Z")
_IDLE_LINE = re.compile(r"\s*(?:#.*)?\Z")
_REASON_LIMIT = 1024


class Comment(msgspec.Struct, frozen=True):
    """A comment on `line` that speaks about the line `about`: its own, or where it stands alone the next with anything."""

    line: int
    about: int
    rules: tuple[Rule, ...]
    reason: str


def comments(text: str, path: str) -> Iterator[Comment | Skipped]:
    """The comments of a file, broken ones as what they are."""
    if "nonroot:" not in text:
        return
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        match = _COMMENT.search(line)
        if match is None:
            continue
        rules = tuple(rule for rule in get_args(Rule) if rule in match[1].split(","))
        if not rules or len(rules) != len(set(match[1].split(","))) or not match[2]:
            why = (
                "a comment that allows something reads `# nonroot: allow RULE reason`, with a RULE of `nonroot explain`"
            )
            yield Skipped(path, number, f"{why}; this one counts for nothing")
            continue
        about = number
        if _IDLE_LINE.match(line):
            about = next((n for n, later in enumerate(lines[number:], number + 1) if not _IDLE_LINE.match(later)), 0)
        yield Comment(number, about, rules, match[2][:_REASON_LIMIT])


def exceptions(
    found: Object, workload: Workload, said: tuple[Comment, ...]
) -> Iterator[tuple[Comment, NonRootException]]:
    """The comments that speak about this object or a container of it, as exceptions."""
    if not said:
        return
    spans = [
        (slot.container.name, node)
        for slot in workload.slots()
        if (node := locate_node(found.node, f"{workload.pointer}/{slot.list}/{slot.index}")) is not None
    ]
    for comment in said:
        names: tuple[str, ...] | None = None
        if comment.about == found.node.start.line:
            names = ()
        else:
            names = next(((escape(name),) for name, node in spans if _within(node, comment.about)), None)
        if names is not None:
            metadata = Metadata(f"comment in line {comment.line}")
            yield (
                comment,
                NonRootException(metadata, ExceptionSpec(reason=comment.reason, containers=names, rules=comment.rules)),
            )


def _within(node: Node, line: int) -> bool:
    """Whether a line is one of a node's; a block ends before the line on which the next thing begins."""
    last = node.end.line if getattr(node, "flow", True) else node.end.line - 1
    return node.start.line <= line <= max(last, node.start.line)
