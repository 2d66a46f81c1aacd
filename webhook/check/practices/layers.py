"""The rows about how a Dockerfile's layers come to be: copies, packages, order, context.

Source: docker/docs content/manuals/build/building/best-practices.md.
"""

import re
from collections.abc import Iterable, Iterator

from webhook.check.practices.row import BuildContext, Row, failed, not_applicable, passed
from webhook.dockerfile.analysis.package_managers import PackageManager, package_manager
from webhook.dockerfile.evaluation import Evaluation
from webhook.dockerfile.shell.commands import Command
from webhook.dockerfile.stages.step import Step

_GIT = re.compile(r"\A(?:git@|github\.com/)|\.git(?:#|\Z)")  # moby/buildkit util/gitutil: git addresses without ://
_ARCHIVE = re.compile(r"\.(?:tar|tar\.\w+|tgz|tbz2?|txz)\Z")
_DEPENDENCIES = (
    ("pip", "install"),
    ("pip3", "install"),
    ("poetry", "install"),
    ("uv", "sync"),
    ("pipenv", "install"),
    ("npm", "ci"),
    ("npm", "install"),
    ("yarn", "install"),
    ("pnpm", "install"),
    ("bundle", "install"),
    ("composer", "install"),
    ("go", "mod"),
    ("cargo", "fetch"),
    ("dotnet", "restore"),
)
_IGNORED = (".git", ".env")
_CACHES = ("node_modules", "__pycache__", ".venv", "venv", "target", "dist", "*.pyc", ".cache", ".pytest_cache")


def copy_over_add(evaluation: Evaluation, _neighbours: BuildContext) -> Row:
    """ADD only for what COPY cannot do: archives and addresses."""
    practice = "COPY over ADD"
    for step in evaluation.all_steps:
        if step.keyword != "ADD":
            continue
        sources = [source for source in step.sources if source]
        if not step.documents and not all(
            "://" in text or _ARCHIVE.search(text) or _GIT.search(text) for text in sources
        ):
            return failed(practice, "ADD of plain files. COPY does that without surprises.", f"line {step.line}")
    return passed(practice, "No needless ADD.")


def clean_lists(evaluation: Evaluation, _neighbours: BuildContext) -> Row:
    """Package lists removed in the layer that fetched them."""
    practice = "Package lists cleaned in the same layer"
    installs = [(step, manager) for step, manager, _ in _installations(evaluation.steps)]
    for step, manager in installs:
        if not _cleans(step, manager.name):
            return failed(practice, f"The lists stay in the layer. Add: {manager.cleaning}", f"line {step.line}")
    if not installs:
        return not_applicable(practice, "No packages are installed in the final image.")
    return passed(practice, "Cleaned.", f"line {installs[-1][0].line}")


def combined_steps(evaluation: Evaluation, _neighbours: BuildContext) -> Row:
    """Lists fetched and used in one RUN, and one RUN where two would do."""
    practice = "Combined RUN steps"
    runs = [step for step in evaluation.steps if step.keyword == "RUN"]
    if not runs:
        return not_applicable(practice, "No RUN.")
    for step in runs:
        verbs = {
            verb
            for command in step.commands
            if (manager := package_manager(command)) is not None and manager.name == "apt"
            for verb in manager.call(command)[:1]
        }
        if "update" in verbs and "install" not in verbs:
            return failed(
                practice, "apt-get update alone is cached and goes stale. Install in the same RUN.", f"line {step.line}"
            )
    installing = [step.line for step, _, _ in _installations(evaluation.steps)]
    apart = sorted(set(installing))
    if len(apart) > 1:
        return failed(practice, f"Packages in {len(apart)} layers. One RUN will do.", f"line {apart[1]}")
    return passed(practice, "Nothing to combine.")


def sorted_packages(evaluation: Evaluation, _neighbours: BuildContext) -> Row:
    """Package names in alphabetical order, so that a change is one line and twice is seen."""
    practice = "Sorted package arguments"
    verdict = False
    for step, manager, command in _installations(evaluation.steps):
        packages = [word for word in manager.call(command)[1:] if not word.startswith(("-", "$", "/", "."))]
        verdict = verdict or len(packages) > 1
        if packages != sorted(packages):
            return failed(
                practice, "Unsorted. Sort them, and see what is there twice.", f"line {max(command.line, step.line)}"
            )
    return passed(practice, "Sorted.") if verdict else not_applicable(practice, "No list of packages.")


def dependencies_first(evaluation: Evaluation, _neighbours: BuildContext) -> Row:
    """Dependencies installed before the sources are copied, so that an edit does not install them again."""
    practice = "Dependencies before sources"
    copied: dict[int, int] = {}
    found = 0
    for step in evaluation.all_steps:
        if step.keyword in ("COPY", "ADD") and step.instruction.flag("from") is None and _whole_context(step):
            copied.setdefault(step.stage, step.line)
        for command in step.commands if step.keyword == "RUN" else ():
            if (command.name, *command.operands[:1]) in _DEPENDENCIES:
                found = found or step.line
                if step.stage in copied:
                    comment = f"Everything is copied before {command.name} runs: every edit installs all again."
                    return failed(practice, comment, f"line {copied[step.stage]}")
    return (
        passed(practice, "In order.", f"line {found}")
        if found
        else not_applicable(practice, "No dependencies installed.")
    )


def ignored_context(evaluation: Evaluation, neighbours: BuildContext) -> Row:
    """A .dockerignore that keeps history, secrets and caches out of the build."""
    practice = ".dockerignore"
    if not neighbours.looked:
        return not_applicable(practice, "The folder was not looked into.")
    whole = next(
        (step for step in evaluation.all_steps if step.keyword in ("COPY", "ADD") and _whole_context(step)), None
    )
    if neighbours.dockerignore is None:
        where = f"line {whole.line}" if whole else ""
        return failed(practice, "None. .git and .env go along." if whole else "None.", where)
    patterns = _patterns(neighbours.dockerignore)
    if patterns & {"*", "**"}:
        return passed(practice, "Everything is out unless let in.")
    missing = [name for name in _IGNORED if name not in patterns and f"{name}*" not in patterns]
    if not patterns & set(_CACHES):
        missing.append("caches, such as node_modules or __pycache__")
    if missing:
        return failed(practice, f"Does not list {', '.join(missing)}.", ".dockerignore")
    return passed(practice, "Covers the usual.", ".dockerignore")


def _installations(steps: Iterable[Step]) -> Iterator[tuple[Step, PackageManager, Command]]:
    """Every command that installs packages by a package manager whose lists we know to clean."""
    for step in steps:
        for command in step.commands if step.keyword == "RUN" else ():
            manager = package_manager(command)
            if manager is not None and manager.cleaning and manager.installs & {*manager.call(command)[:1]}:
                yield step, manager, command


def _cleans(step: Step, kind: str) -> bool:
    """Whether the same RUN leaves no lists: removed, never kept, or kept in a cache mount."""
    text = [" ".join(command.words) for command in step.commands]
    targets = [
        mount.get("target") or mount.get("dst") or mount.get("destination") or "" for mount in step.instruction.mounts()
    ]
    if kind == "apt":
        return any("rm " in line and "/var/lib/apt/lists" in line for line in text) or "/var/lib/apt" in str(targets)
    if kind == "apk":
        kept = [line for line in text if line.startswith("apk ") and "--no-cache" not in line]
        return (
            not kept
            or any("rm " in line and "/var/cache/apk" in line for line in text)
            or "/var/cache/apk" in str(targets)
        )
    return any(
        "clean all" in line or ("rm " in line and "/var/cache/" in line) for line in text
    ) or "/var/cache/" in str(targets)


def _whole_context(step: Step) -> bool:
    return step.instruction.flag("from") is None and any(source in (".", "./", "*", "/") for source in step.sources)


def _patterns(text: str) -> set[str]:
    """The patterns of a .dockerignore, without the marks that say at which depth."""
    lines = (line.strip() for line in text.splitlines())
    plain = (line.removeprefix("/").removeprefix("**/").removesuffix("/**").removesuffix("/") for line in lines)
    return {line for line in plain if line and not line.startswith(("#", "!"))}
