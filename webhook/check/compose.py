"""A compose file's text -> its services, and who they run as: here Docker looks names up, and no kubelet says no.

Source: compose-spec/compose-spec spec.md (user, image, build) and 12-interpolation.md; moby/moby daemon/oci_linux.go
(getUser: `user` replaces the image's USER, names are looked up in the container).
"""

import re
from typing import Any

import msgspec

from webhook.check.files import Source
from webhook.check.manifest.decode import locate, locate_node, plain
from webhook.check.manifest.parser import MalformedYaml, Node, documents
from webhook.check.report import Examined, Finding, Object, Report, Skipped
from webhook.check.suppressions import Comment, covers, read_comments
from webhook.evaluation.finding import Severity
from webhook.image import user as identity
from webhook.image.config import User, parse_user
from webhook.image.source import Image, Images, Query, Unknown
from webhook.image.user import Identity, ResolutionError
from webhook.policy.types import Rule
from webhook.text import quoted

_VARIABLE = re.compile(r"\$\{[A-Za-z_]\w*:?-([^${}]*)\}")


class _Service(msgspec.Struct, frozen=True):
    """A service as far as it matters: `user` is its own, None where the image decides; `image` is "" where it is built."""

    name: str
    image: str
    user: str | None


class _Fault(msgspec.Struct, frozen=True):
    rule: Rule
    severity: Severity
    field: str
    message: str


async def check(source: Source, images: Images, not_examined: Unknown, budget: float) -> Report:
    """Judge every service that has an image, or a user; one that is built is judged by its Dockerfile."""
    try:
        root = next(iter(documents(source.text)), None)
        data = plain(root) if root is not None else None
    except MalformedYaml as error:
        return Report(skipped=(Skipped(source.path, error.line, str(error)),))
    services = data.get("services") if isinstance(data, dict) else None
    if root is None or not isinstance(services, dict):
        return Report(skipped=(Skipped(source.path, 1, "a compose file has services, and this one has none"),))
    comments = list(read_comments(source.text, source.path))
    skipped = [each for each in comments if isinstance(each, Skipped)]
    findings: list[Finding] = []
    left_out = allowed = 0
    for name, settings in services.items():
        service = _service(str(name), settings)
        pointer = f"/services/{service.name.replace('~', '~0').replace('/', '~1')}"
        if "$" in service.image + (service.user or ""):
            mark = locate(root, f"{pointer}/image") or root.start
            skipped.append(
                Skipped(source.path, mark.line, f"service {quoted(service.name)} has a variable without a default")
            )
            continue
        result = await _evaluate(service, images, budget)
        if isinstance(result, Unknown) and result is not_examined:
            left_out += 1
            continue
        image_user, faults = (None, _unknown(service, result)) if isinstance(result, Unknown) else result
        for fault in faults:
            finding = _finding(source.path, root, pointer, service, image_user, fault)
            if _allowed(root, pointer, fault.rule, [each for each in comments if isinstance(each, Comment)]):
                allowed += 1
            else:
                findings.append(finding)
    return Report(
        findings=tuple(findings),
        files=(Examined(source.path, "compose"),),
        skipped=tuple(skipped),
        workloads=len(services),
        containers=len(services),
        not_examined=left_out,
        allowed=allowed,
    )


def _service(name: str, settings: Any) -> _Service:
    settings = settings if isinstance(settings, dict) else {}
    image, user = settings.get("image"), settings.get("user")
    return _Service(
        name=name,
        image=_VARIABLE.sub(r"\1", image) if isinstance(image, str) and "build" not in settings else "",
        user=None if user is None else _VARIABLE.sub(r"\1", str(user)),
    )


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
        return [_Fault(rule, "error", field, f"service {name} cannot be told who it is: {found.detail}")]
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


def _allowed(root: Node, pointer: str, rule: Rule, comments: list[Comment]) -> bool:
    key, node = locate(root, pointer), locate_node(root, pointer)
    return (
        key is not None
        and node is not None
        and any(
            rule in comment.rules and (comment.about == key.line or covers(node, comment.about)) for comment in comments
        )
    )
