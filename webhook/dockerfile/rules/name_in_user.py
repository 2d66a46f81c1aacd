"""USER is a name, which the kubelet does not look up.

Why: with `runAsNonRoot: true` and no `runAsUser` the kubelet refuses a name: "container has runAsNonRoot and image has
non-numeric user (app), cannot verify user is non-root". It finds out only after scheduling and pulling.
Fails: `USER app`, `USER app:app`.
Passes: `USER 1000`, `USER 1000:1000`.
Fix: write the number that the name has. Where a step of the file makes it evident, the line is offered.
Dockerfile: `RUN useradd --uid 1000 app`, then `USER 1000`.
Source: kubernetes pkg/kubelet/kuberuntime/security_context_others.go
"""

from collections.abc import Iterator
from typing import Final

from webhook.dockerfile.analysis.uid import is_account_name
from webhook.dockerfile.evaluation import Evaluation
from webhook.dockerfile.finding import DockerfileFinding
from webhook.dockerfile.parser.expansion import Budget, Missing, expand
from webhook.dockerfile.parser.malformed import ParseError
from webhook.image.config import parse_user
from webhook.text import quoted

NAME: Final = "name-in-user"


def check(evaluation: Evaluation) -> Iterator[DockerfileFinding]:
    """A name that is not root's."""
    evidence = evaluation.evidence
    if not evaluation.user or not evaluation.name or evaluation.root or parse_user(evaluation.user).looks_numeric:
        return
    if not is_account_name(evaluation.name):
        return
    replacement = _replacement(evaluation)
    if evidence.uid is None:
        fix = "give the account a fixed number where it is created, and write that number: USER 10001"
        detail = f"USER {quoted(evaluation.user)} is a name, and its number is not evident: {evidence.reason}"
    else:
        fix = (
            f"write: {replacement}"
            if replacement
            else (
                "that number follows a variable which USER does not see: declare it with ARG in this stage, and write "
                f"it in USER, such as: USER {evidence.word or '${uid}'}"
            )
        )
        detail = f"USER {quoted(evaluation.user)} is a name, and {evidence.reason}"
    yield DockerfileFinding(
        rule=NAME,
        severity="warning",
        line=evaluation.line,
        column=evaluation.column,
        reason="user is a name",
        detail=detail,
        fix=fix,
        replacement=replacement,
    )


def _replacement(evaluation: Evaluation) -> str:
    """The instruction with the number, or with the variable that the account's number follows; "" where it sees none."""
    evidence = evaluation.evidence
    uid = _seen(evaluation, evidence.uid, evidence.word)
    return f"USER {uid}{_group(evaluation)}" if uid else ""


def _group(evaluation: Evaluation) -> str:
    """The group by its number where that is evident; it may stay a name, since the kubelet looks at the user alone."""
    _, colon, group = (evaluation.user or "").partition(":")
    return colon + (_seen(evaluation, evaluation.evidence.gid, evaluation.evidence.group_word) or group)


def _seen(evaluation: Evaluation, number: int | None, word: str | None) -> str:
    """The text for USER in place of a number: itself, or the word with variables where that means the same in USER; else ""."""
    if number is None:
        return ""
    if word is None:
        return str(number)
    variables = evaluation.user_step.variables if evaluation.user_step else {}
    try:
        value = expand(word, lambda name: variables.get(name) or Missing.UNSET, "\\", Budget())
    except ParseError:
        return ""
    return word if value == str(number) else ""
