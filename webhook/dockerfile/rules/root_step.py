"""A step that only root can do stands after USER.

Why: every RUN after USER runs as that user. Installing packages, creating accounts and writing into the system's
folders then fail the build, and people go back to root instead of moving the line up.
Fails: `RUN apt-get install …`, `RUN mkdir /data` or `RUN chown …` after `USER app`.
Passes: the same before USER; the same under sudo; `RUN mkdir data` in a folder that root gave to the user.
Fix: move the step above USER, or give the folder to the user there: `RUN mkdir /data && chown 10001 /data`.
Dockerfile: root's steps first, then `USER 10001`, then CMD.
Source: moby/buildkit frontend/dockerfile/dockerfile2llb/convert.go (dispatchRun); capabilities(7), CAP_CHOWN
"""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from webhook.dockerfile.analysis.package_managers import package_manager
from webhook.dockerfile.analysis.writable_paths import WritablePaths, created
from webhook.dockerfile.evaluation import Evaluation
from webhook.dockerfile.finding import DockerfileFinding, Severity
from webhook.dockerfile.shell.commands import Command
from webhook.dockerfile.stages.step import Step
from webhook.text import quoted

NAME: Final = "root-step"

_ROOTS_TOOLS = frozenset(
    {"useradd", "adduser", "usermod", "userdel", "deluser", "groupadd", "addgroup", "groupmod", "groupdel", "delgroup"}
    | {
        "chpasswd",
        "ldconfig",
        "locale-gen",
        "mknod",
        "mount",
        "setcap",
        "update-ca-certificates",
        "update-alternatives",
    }
)
_OWN_PLACE = ("--user", "--target", "-t", "--prefix", "--root", "--dry-run")


def check(evaluation: Evaluation) -> Iterator[DockerfileFinding]:
    """Every command of RUN that runs as somebody else than root and cannot succeed."""
    writable = WritablePaths()
    own_python = _own_python(evaluation.steps)
    for step in evaluation.steps:
        if step.keyword == "RUN" and step.as_root is False and not _is_root(evaluation, step):
            yield from dict.fromkeys(  # `apt-get update && apt-get install` is one fault
                _finding(step, command, *fault)
                for command in step.commands
                for fault in islice(_faults(command, step, writable, own_python=own_python), 1)
            )
        writable.apply(step)


def _is_root(evaluation: Evaluation, step: Step) -> bool:
    """Whether the step's USER is the final one, and that is root by another name."""
    return step.user == evaluation.user and evaluation.root is True


def _faults(
    command: Command, step: Step, writable: WritablePaths, *, own_python: bool
) -> Iterator[tuple[Severity, str]]:
    if command.elevated:
        return
    name, arguments = command.name, set(command.arguments)
    manager = package_manager(command)
    if manager is not None and (manager.installs | manager.changes) & arguments:
        yield "error", f"{name} installs packages"
    if name in _ROOTS_TOOLS:
        yield "error", f"{name} changes the system"
    if name == "chgrp" or (name == "chown" and _to_group_alone(command)):
        yield "warning", f"without root {name} gives its own files to a group of its own, and fails with any others"
    elif name == "chown":
        yield "warning", "chown gives files away, which only root can do"
    if name in ("npm", "pnpm") and arguments & {"-g", "--global"} and arguments & {"install", "i", "add"}:
        yield "warning", f"{name} installs into a folder of root's"
    if _is_pip(command) and "install" in arguments and not own_python and not _has_place(command):
        yield "warning", "pip cannot write into the system's Python and installs into the user's home instead"
    for path in created(command, step):
        if writable.closed(path):
            yield "error", f"it writes {quoted(path)}, a place of root's"


def _to_group_alone(command: Command) -> bool:
    """Whether a chown leaves the owner: `chown :GROUP FILE`."""
    return next((word for word in command.arguments if not word.startswith("-")), "").startswith(":")


def _is_pip(command: Command) -> bool:
    if command.words[0] in ("pip", "pip3"):
        return True
    return command.name.startswith("python") and "/" not in command.words[0] and command.arguments[:2] == ("-m", "pip")


def _has_place(command: Command) -> bool:
    return any(word.partition("=")[0] in _OWN_PLACE for word in command.arguments)


def _own_python(steps: tuple[Step, ...]) -> bool:
    """Whether a virtual environment or another PATH is set: then pip may be the user's own."""
    return any(
        step.keyword == "ENV"
        and any(name in ("VIRTUAL_ENV", "PATH", "PIP_TARGET", "PIP_USER", None) for name, _ in step.pairs)
        for step in steps
    )


def _finding(step: Step, command: Command, severity: Severity, why: str) -> DockerfileFinding:
    """It names the program alone: the words behind it could be a secret."""
    shown = "a redirection" if command.words[0] == ":" else quoted(command.words[0], 60)
    return DockerfileFinding(
        rule=NAME,
        severity=severity,
        line=command.line,
        column=step.column if command.line == step.line else 1,
        reason="step needs root",
        detail=f"{shown} runs as {quoted(step.user or '')}: {why}",
        fix="move it above USER, or prepare the place there as root",
    )
