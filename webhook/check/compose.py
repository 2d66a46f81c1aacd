"""The check of a compose file: who its services run as. Docker looks names up, and no kubelet refuses them.

Source: compose-spec/compose-spec spec.md (user, image, build) and 12-interpolation.md; moby/moby daemon/oci_linux.go
(getUser: `user` replaces the image's USER, names are looked up in the container).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from webhook.check.files import STDIN, Source, read_file, shortest
from webhook.check.interpolation import interpolate, read_env
from webhook.check.manifest.decode import locate, locate_node, plain
from webhook.check.manifest.parser import MalformedYaml, Node, documents
from webhook.check.report import Examined, Finding, Object, Report, Skipped, Suppressed, merge
from webhook.check.suppressions import Comment, covers, read_comments
from webhook.evaluation.finding import Severity
from webhook.image import user as identity
from webhook.image.config import User, parse_user
from webhook.image.source import Image, Images, Query, Unknown
from webhook.image.user import Identity, ResolutionError
from webhook.policy.types import Rule
from webhook.text import quoted
from webhook.workload import json_pointer

_TAG = re.compile(r"(?<=[\s,\[{-])!(?:reset|override)(?=\s)")
_INCLUDES = 20


class _Build(msgspec.Struct, frozen=True):
    """The build of a service; `inline` is a Dockerfile's text in the compose file itself."""

    context: str
    dockerfile: str
    inline: str | None
    target: str | None
    arguments: dict[str, str]


class _Service(msgspec.Struct, frozen=True):
    """A service as far as it matters: `user` is its own, None where the image decides; `image` is "" where it is built."""

    name: str
    image: str
    user: str | None
    build: _Build | None = None


class _Fault(msgspec.Struct, frozen=True):
    rule: Rule
    severity: Severity
    field: str
    message: str


async def check(
    source: Source, images: Images, not_examined: Unknown, budget: float, included: frozenset[str] = frozenset()
) -> Report:
    """Evaluate every service: by its user, its image, or the Dockerfile that it is built from; and the files it includes."""
    try:
        root = next(iter(documents(_TAG.sub(lambda tag: " " * len(tag[0]), source.text))), None)
        data = plain(root, own_keys_win=True) if root is not None else None
    except MalformedYaml as error:
        return Report(skipped=(Skipped(source.path, error.line, str(error)),))
    if root is None or not isinstance(data, dict):
        return Report()
    services, includes = data.get("services"), _included(data.get("include"))
    if not isinstance(services, dict):
        if not includes:
            return Report(skipped=(Skipped(source.path, 1, "a compose file has services, and this one has none"),))
        services = {}
    comments = list(read_comments(source.text, source.path))
    said = [each for each in comments if isinstance(each, Comment)]
    values = environment(source)
    reports = [Report(skipped=tuple(each for each in comments if isinstance(each, Skipped)))]
    for name, settings in services.items():
        pointer = f"/services/{json_pointer.escaped(str(name))}"
        try:
            service = _service(str(name), settings, values)
        except _Open:
            mark = locate(root, f"{pointer}/image") or locate(root, pointer) or root.start
            reason = f"service {quoted(str(name))} has a variable without a default"
            reports.append(Report(skipped=(Skipped(source.path, mark.line, reason),)))
            continue
        result = await _evaluate(service, images, budget)
        if isinstance(result, Unknown) and result is not_examined:
            reports.append(Report(not_examined=1))
            continue
        image_user, faults = (None, _unknown(service, result)) if isinstance(result, Unknown) else result
        for fault in faults:
            finding = _finding(source.path, root, pointer, service, image_user, fault)
            comment = _allowing(root, pointer, fault.rule, said)
            if comment is None:
                reports.append(Report(findings=(finding,)))
            else:
                reports.append(Report(allowed=1, suppressed=(Suppressed(finding, "inSource", comment.reason),)))
        if service.build is not None and service.user is None:
            line = (locate(root, f"{pointer}/build") or locate(root, pointer) or root.start).line
            reports.append(await _built(source, service.build, line, images, not_examined, budget))
    own = merge(reports)
    own = msgspec.structs.replace(
        own, files=(Examined(source.path, "compose"),), workloads=len(services), containers=len(services)
    )
    return merge([own, *[await _include(source, name, images, not_examined, budget, included) for name in includes]])


class _Open(Exception):
    """A variable has no value."""


def _service(name: str, settings: Any, values: Mapping[str, str]) -> _Service:
    settings = settings if isinstance(settings, dict) else {}
    image, user, build = settings.get("image"), settings.get("user"), settings.get("build")
    user = None if user is None else _value(str(user), values)
    return _Service(
        name=name,
        image=_value(image, values) if isinstance(image, str) and build is None else "",
        user=user or None,
        build=_build(build, values),
    )


def _value(text: str, values: Mapping[str, str]) -> str:
    found = interpolate(text, values)
    if found is None:
        raise _Open
    return found


def _build(build: Any, values: Mapping[str, str]) -> _Build | None:
    settings = {"context": build} if isinstance(build, str) else build
    if not isinstance(settings, dict):
        return None
    arguments = settings.get("args") or {}
    if isinstance(arguments, list):
        arguments = dict(str(each).split("=", 1) for each in arguments if "=" in str(each))
    inline = settings.get("dockerfile_inline")
    target = settings.get("target")
    return _Build(
        context=_value(str(settings.get("context") or "."), values),
        dockerfile=_value(str(settings.get("dockerfile") or "Dockerfile"), values),
        inline=_value(inline, values) if isinstance(inline, str) else None,
        target=_value(str(target), values) if target else None,
        arguments={
            str(key): _value(str(value), values)
            for key, value in (arguments if isinstance(arguments, dict) else {}).items()
            if value is not None
        },
    )


async def _built(
    source: Source, build: _Build, line: int, images: Images, not_examined: Unknown, budget: float
) -> Report:
    """The report of the Dockerfile that a service is built from; of one inside the compose file at its line."""
    from webhook.check import dockerfiles

    if build.inline is not None:
        text = Source(source.path, "dockerfile", build.inline)
        report = await dockerfiles.check(text, images, not_examined, budget, build.target, build.arguments)
        return msgspec.structs.replace(
            report,
            files=(),
            findings=tuple(msgspec.structs.replace(each, line=line, column=1) for each in report.findings),
            skipped=tuple(msgspec.structs.replace(each, line=line) for each in report.skipped),
        )
    path = Path(source.path).parent / build.context / build.dockerfile
    if "://" in build.context or source.path == STDIN or not path.is_file():
        reason = f"it is built by {build.context}/{build.dockerfile}, which is not here: check that file, too"
        return Report(skipped=(Skipped(source.path, line, reason),))
    found = read_file(shortest(str(path)), "dockerfile")
    if isinstance(found, Skipped):
        return Report(skipped=(found,))
    return await dockerfiles.check(found, images, not_examined, budget, build.target, build.arguments)


def _included(include: Any) -> list[str]:
    """The files that `include` names."""
    entries = include if isinstance(include, list) else []
    paths = (each.get("path") if isinstance(each, dict) else each for each in entries)
    return [str(name) for each in paths for name in (each if isinstance(each, list) else [each]) if name]


async def _include(
    source: Source, name: str, images: Images, not_examined: Unknown, budget: float, included: frozenset[str]
) -> Report:
    path = shortest(str(Path(source.path).parent / name))
    if path in included or len(included) > _INCLUDES:
        return Report()
    if source.path == STDIN or not Path(path).is_file():  # noqa: ASYNC240  # read as every other file is
        return Report(skipped=(Skipped(source.path, 1, f"it includes {name[:200]!a}, which is not here"),))
    found = read_file(path, "compose")
    if isinstance(found, Skipped):
        return Report(skipped=(found,))
    return await check(found, images, not_examined, budget, included | {source.path, path})


def environment(source: Source) -> dict[str, str]:
    """The variables of the `.env` file beside a compose file."""
    path = Path(source.path).parent / ".env"
    if source.path == STDIN or not path.is_file():
        return {}
    found = read_file(str(path), "compose")
    return {} if isinstance(found, Skipped) else read_env(found.text)


async def _evaluate(service: _Service, images: Images, budget: float) -> "Unknown | tuple[User | None, list[_Fault]]":
    """The image's USER, where it was read, and what is wrong; Unknown where the image is needed and not known."""
    own = None if service.user is None else parse_user(service.user)
    if own is not None and (not own.name or own.looks_numeric or own.name == "root"):
        return None, _faults(service, own, identity.resolve(own, None) if own.name != "root" else Identity(0))
    if not service.image:
        return None, []
    found = await images.find(Query(service.image, accounts=own is not None, budget=budget))
    if isinstance(found, Unknown):
        return found
    return _worst(service, own, found)


def _worst(service: _Service, own: User | None, image: Image) -> "Unknown | tuple[User | None, list[_Fault]]":
    """Of several platforms the first on which something is wrong, or not known."""
    for each in image.platforms:
        user = own or each.config.user
        resolved = identity.resolve(user, each.accounts)
        if isinstance(resolved, Unknown):
            return resolved
        faults = _faults(service, user, resolved)
        if faults:
            return each.config.user, faults
    return (image.platforms[0].config.user if image.platforms else None), []


def _faults(service: _Service, user: User, found: Identity | ResolutionError | Unknown) -> list[_Fault]:
    name = quoted(service.name)
    field = "image" if service.user is None else "user"
    if isinstance(found, ResolutionError):
        rule: Rule = "invalid-user" if found.kind == "invalid" else "unresolvable-user"
        return [_Fault(rule, "error", field, f"it is not known who service {name} runs as: {found.detail}")]
    if not isinstance(found, Identity) or found.uid:
        return []
    if service.user is not None:
        return [_Fault("root-user", "error", field, f"runs as root: service {name} has user {quoted(service.user)}")]
    user_line = f"USER {quoted(user.text)}" if user.text else "no USER"
    message = f"image runs as root: service {name} (image {quoted(service.image)}, {user_line}) has no user of its own"
    return [_Fault("root-image", "error", field, message)]


def _unknown(service: _Service, found: Unknown) -> list[_Fault]:
    message = f"image could not be read: service {quoted(service.name)} (image {quoted(service.image)}): "
    return [_Fault("unknown-image", "unknown", "image", f"{message}{found.cause}: {found.detail}")]


def _finding(path: str, root: Node, pointer: str, service: _Service, user: User | None, fault: _Fault) -> Finding:
    mark = locate(root, f"{pointer}/{fault.field}") or locate(root, pointer) or root.start
    return Finding(
        rule=fault.rule,
        severity=fault.severity,
        path=path,
        line=mark.line,
        column=mark.column,
        message=fault.message,
        fix=f'set services.{service.name}.user to a uid above 0 under which the image can run, such as "1000:1000"',
        object=Object("service", "", service.name),
        container=service.name,
        image=service.image,
        user=user.text if user else None,
    )


def _allowing(root: Node, pointer: str, rule: Rule, comments: list[Comment]) -> Comment | None:
    """The comment that allows a rule to find something in a service."""
    key, node = locate(root, pointer), locate_node(root, pointer)
    if key is None or node is None:
        return None
    return next(
        (each for each in comments if rule in each.rules and (each.about == key.line or covers(node, each.about))), None
    )
