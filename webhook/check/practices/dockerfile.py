"""The rows about a Dockerfile: base, user, stages, health and server; those about its layers are in `layers`.

Source: docker/docs content/manuals/build/building/best-practices.md, and the notes that this project began with.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator

from webhook.check.practices import layers
from webhook.check.practices.row import BuildContext, Row, failed, not_applicable, passed
from webhook.dockerfile.evaluation import Evaluation
from webhook.dockerfile.shell.commands import Command
from webhook.dockerfile.stages.step import Step
from webhook.image import reference
from webhook.image.config import parse_user
from webhook.text import quoted

_SMALL = re.compile(
    r"slim|alpine|distroless|chiseled|minimal|(?<![a-z])micro(?![a-z])|nanoserver|chainguard|wolfi|busybox|static|scratch"
)
_NO_SLIM = re.compile(r"docker\.io/library/(?:ubuntu|caddy|traefik|registry)\Z")  # small inside, or without such tags
_NO_SHELL = re.compile(r"distroless|cgr\.dev/chainguard/|(?:\A|[/:-])static(?:\Z|[:@-])")
_EXACT = re.compile(r"v?[0-9]+\.[0-9]+\.[0-9]+|[0-9]{8}")
_COMPILED = re.compile(r"(?:\A|/)(?:golang|rust)(?::|\Z|@)")
_LOOPBACK = re.compile(r"(?:\A|[=/@\s\"'])(?:127\.0\.0\.1|localhost|\[::1\])(?::|\Z|[\s\"'])")
_EVERYWHERE = re.compile(r"(?:\A|[=/@\s\"'])(?:0\.0\.0\.0|\[::\])(?::|\Z|[\s\"'])")
_HOST_NAMES = frozenset({"HOST", "HOSTNAME", "BIND", "BIND_ADDRESS", "FLASK_RUN_HOST", "UVICORN_HOST", "LISTEN_ADDR"})
_LOOPBACK_SERVERS = ("uvicorn", "hypercorn", "gunicorn")  # what they bind to when nobody says otherwise


def rows(evaluation: Evaluation, neighbours: BuildContext) -> tuple[Row, ...]:
    """Every row, in the order of the table."""
    return tuple(row(evaluation, neighbours) for row in _ROWS)


def small_base(evaluation: Evaluation, _neighbours: BuildContext) -> Row:
    """A slim or distroless base of the final stage."""
    practice = "Slim or distroless base"
    base, line = evaluation.base, f"line {evaluation.chain[0].origin.line}"
    if base is None:
        return passed(practice, "scratch. Nothing is smaller.", line)
    if _SMALL.search(base.lower()):
        return passed(practice, f"{base}. Fine.", line)
    if _NO_SLIM.match(reference.parse(base).name):
        return not_applicable(practice, f"{base}: there is no slimmer tag of it.")
    if reference.parse(base).name.startswith("docker.io/library/"):
        return failed(practice, f"{base} is the fat one. Take -slim, -alpine or distroless.", line)
    return not_applicable(practice, f"{base}: its name does not tell what is in it.")


def exact_base(evaluation: Evaluation, _neighbours: BuildContext) -> Row:
    """Every base by a digest, or a tag that names one release."""
    practice = "Exact base tag or digest"
    used = {step.stage for step in evaluation.all_steps} | {stage.index for stage in evaluation.chain}
    found = [stage for stage in evaluation.stages if stage.external and stage.index in used]
    for stage in found:
        if not _is_exact(stage.external or ""):
            how = (
                "the digest"
                if _NO_SLIM.match(reference.parse(stage.external or "").name)
                else "all three numbers or the digest"
            )
            comment = f"{stage.external} is another image next week. Pin {how}."
            return failed(practice, comment, f"line {stage.origin.line}")
    if not found:
        return not_applicable(practice, "No base image.")
    return passed(practice, "Pinned.", f"line {found[-1].origin.line}")


def numeric_user(evaluation: Evaluation, _neighbours: BuildContext) -> Row:
    """A numeric USER that is not root."""
    practice = "Non-root numeric USER"
    line = f"line {evaluation.line}"
    if evaluation.windows:
        return not_applicable(practice, "Windows has no numeric users.")
    if evaluation.user is None:
        return failed(practice, f"Whoever {evaluation.base} says. Mostly root.", line)
    if evaluation.root:
        return failed(practice, "Runs as root.", line)
    user = parse_user(evaluation.user)
    if user.uid is None:
        number = f"USER {evaluation.evidence.uid}" if evaluation.evidence.uid else "a number"
        return failed(
            practice, f"{quoted(evaluation.user)} is a name; the kubelet cannot verify it. Write {number}.", line
        )
    return passed(practice, f"USER {evaluation.user}.", line)


def high_uid(evaluation: Evaluation, _neighbours: BuildContext) -> Row:
    """A uid outside the system's own range."""
    practice = "UID of 1000 or above"
    uid = parse_user(evaluation.user).uid if evaluation.user else None
    uid = evaluation.evidence.uid if uid is None else uid
    if uid is None or evaluation.root:
        return not_applicable(practice, "No number to evaluate.")
    line = f"line {evaluation.line}"
    return passed(practice, f"{uid}.", line) if uid >= 1000 else failed(practice, f"{uid} is a system account's.", line)


def multi_stage(evaluation: Evaluation, _neighbours: BuildContext) -> Row:
    """Built in one stage, run in another."""
    practice = "Multi-stage build"
    if len({step.stage for step in evaluation.all_steps} | {evaluation.final.index}) > 1:
        return passed(practice, f"Ends in {evaluation.final.title}.", f"line {evaluation.final.origin.line}")
    if not any(step.keyword == "RUN" for step in evaluation.steps):
        return not_applicable(practice, "Nothing is built here.")
    return failed(practice, "One stage: the tools ship with the product.", f"line {evaluation.final.origin.line}")


def healthcheck(evaluation: Evaluation, _neighbours: BuildContext) -> Row:
    """A HEALTHCHECK, for what runs outside Kubernetes."""
    practice = "HEALTHCHECK"
    step = _last(evaluation.steps, "HEALTHCHECK")
    if step is None:
        return failed(practice, "None. Nobody will notice when it hangs.")
    if step.arguments[:1] == ("NONE",):
        return failed(practice, "Switched off.", f"line {step.line}")
    return passed(practice, "There.", f"line {step.line}")


def bound_everywhere(evaluation: Evaluation, _neighbours: BuildContext) -> Row:
    """A server that can be reached from outside its container, where the file makes the address evident."""
    practice = "Bound to 0.0.0.0"
    start = [step for step in (_last(evaluation.steps, "ENTRYPOINT"), _last(evaluation.steps, "CMD")) if step]
    words = [word for step in start for command in step.commands for word in command.words]
    line = f"line {start[-1].line}" if start else ""
    for step in _steps(evaluation.steps, "ENV"):
        for name, value in step.pairs:
            if name in _HOST_NAMES and value:
                words.append(value)
                line = f"line {step.line}" if _LOOPBACK.search(value) else line
    if any(map(_LOOPBACK.search, words)):
        return failed(practice, "Bound to the container's own loopback. Nobody else gets in.", line)
    if any(map(_EVERYWHERE.search, words)):
        return passed(practice, "Reachable.", line)
    server = next((command for step in start for command in step.commands if _stays_inside(command)), None)
    if server is not None:
        return failed(practice, f"{server.name} binds to 127.0.0.1 by default. Say 0.0.0.0.", line)
    return not_applicable(practice, "The file does not say where it listens.")


def distroless(evaluation: Evaluation, _neighbours: BuildContext) -> Row:
    """No distribution under a binary that needs none."""
    practice = "Distroless where it pays"
    compiled = any(_COMPILED.search(stage.image) for stage in evaluation.stages)
    if not compiled:
        return not_applicable(practice, "No compiled, self-contained binary in sight.")
    start = _last(evaluation.steps, "ENTRYPOINT") or _last(evaluation.steps, "CMD")
    if start is not None and not any(_taken(evaluation, command) for command in start.commands):
        return not_applicable(practice, "What it starts does not come from another stage.")
    base, line = evaluation.base, f"line {evaluation.chain[0].origin.line}"
    if base is None or re.search(r"distroless|scratch|static|chainguard|busybox", base):
        return passed(practice, "Binary and nothing else.", line)
    return failed(practice, f"A static binary does not need {base}. Try scratch or distroless/static.", line)


def setuid_bits(evaluation: Evaluation, _neighbours: BuildContext) -> Row:
    """No program that makes root of whoever starts it."""
    practice = "SUID bits removed"
    if evaluation.base is None or evaluation.windows or _NO_SHELL.search(evaluation.base):
        return not_applicable(practice, "No such programs in the base.")
    for step in _steps(evaluation.steps, "RUN"):
        for command in step.commands:
            text = " ".join(command.words)
            if "chmod" in text and re.search(r"(?:\A|[\s,])(?:[augo]*-[rwx]*s|ug-s)", text):
                return passed(practice, "Removed.", f"line {command.line}")
    return failed(practice, "Still there. Remove them, or set allowPrivilegeEscalation: false in the Pod.")


def image_size(evaluation: Evaluation, neighbours: BuildContext) -> Row:
    """The built image under the limit."""
    limit = neighbours.image_limit / 1_000_000
    practice = f"Image under {limit:g} MB"
    if neighbours.image_bytes is None:
        if neighbours.base_bytes is None:
            return not_applicable(practice, "Neither the built image nor its base was read: --image IMAGE.")
        base = f"The base alone has {_megabytes(neighbours.base_bytes)}"
        if neighbours.base_bytes > neighbours.image_limit:
            return failed(practice, f"{base}. Too fat.", f"line {evaluation.chain[0].origin.line}")
        return not_applicable(practice, f"{base}; what is built on it was not given: --image IMAGE.")
    comment = f"{_megabytes(neighbours.image_bytes)}."
    if neighbours.image_bytes <= neighbours.image_limit:
        return passed(practice, comment)
    return failed(practice, f"{comment} Too fat.")


_ROWS: tuple[Callable[[Evaluation, BuildContext], Row], ...] = (
    small_base,
    exact_base,
    numeric_user,
    high_uid,
    multi_stage,
    healthcheck,
    layers.copy_over_add,
    layers.clean_lists,
    layers.combined_steps,
    layers.sorted_packages,
    layers.dependencies_first,
    layers.ignored_context,
    bound_everywhere,
    distroless,
    setuid_bits,
    image_size,
)


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:.0f} MB" if size >= 1_000_000 else "less than 1 MB"


def _is_exact(image: str) -> bool:
    parsed = reference.parse(image)
    return parsed.digest is not None or bool(_EXACT.search(parsed.tag or ""))


def _steps(steps: Iterable[Step], keyword: str) -> Iterator[Step]:
    return (step for step in steps if step.keyword == keyword)


def _last(steps: Iterable[Step], keyword: str) -> Step | None:
    return next(reversed(list(_steps(steps, keyword))), None)


def _taken(evaluation: Evaluation, command: Command) -> bool:
    """Whether a program is one that COPY takes from another stage, by its name or its folder."""
    program = command.words[0]
    name = posixpath.basename(program)
    for step in _steps(evaluation.steps, "COPY"):
        if step.instruction.flag("from") is None:
            continue
        destination = (step.destination or "").rstrip("/")
        names = {posixpath.basename(each or "") for each in (destination, *step.sources)}
        if name in names or program.startswith(f"{destination}/"):
            return True
    return False


def _stays_inside(command: Command) -> bool:
    """A server that binds to the loopback by default, and is given no other address."""
    words = command.words
    name = (
        command.arguments[1] if command.name.startswith("python") and command.arguments[:1] == ("-m",) else command.name
    )
    if any(word.startswith(("--host", "--bind", "-b", "--config", "-c", "$")) for word in command.arguments):
        return False
    if name in _LOOPBACK_SERVERS:
        return True
    return (name == "flask" and "run" in words) or words[-1:] == ("runserver",)
