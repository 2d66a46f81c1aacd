"""The rows about a compose file, as parsed.

Source: compose-spec/compose-spec spec.md and deploy.md.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from webhook.check.interpolation import expand, interpolate
from webhook.check.practices.row import Row, failed, not_applicable, passed
from webhook.image.config import parse_user
from webhook.text import many, quoted

_CONFIGURATION = re.compile(r"\.(?:conf|cfg|ini|ya?ml|json)\Z")
_DATA = re.compile(  # by the folder's own name, or where the image keeps such things
    r"(?:\A|[/._-])(?:data|db|logs?|backups?|uploads?|storage|volumes?)/? | /(?:var/(?:lib|log|backups?)|data|backups?)(?:/|\Z)"
)


def rows(document: Mapping[str, Any], values: Mapping[str, str] = MappingProxyType({})) -> tuple[Row, ...]:
    """Every row about the services of a compose file, whose variables have these values."""
    services = expand(document.get("services"), values)
    known = (
        [(str(name), service) for name, service in services.items() if isinstance(service, Mapping)]
        if isinstance(services, Mapping)
        else []
    )
    return tuple(row(known) for row in _ROWS) if known else ()


_Services = list[tuple[str, Mapping[str, Any]]]


def no_source_mounts(services: _Services) -> Row:
    """The image's own application, not the developer's folder over it."""
    practice = "No bind mount of sources"
    for name, service in services:
        for source, target in _binds(service):
            if source.startswith(".") and not _CONFIGURATION.search(source) and not _DATA.search(f"{source} {target}"):
                return failed(
                    practice,
                    f"{quoted(source, 60)} hides {quoted(target, 60)} of the image. That is development.",
                    f"services.{name}.volumes",
                )
    return passed(practice, "None.")


def replicas(services: _Services) -> Row:
    """More than one, and the new one before the old one goes."""
    practice = "Replicas and a rolling update"
    deployed = [(name, service["deploy"]) for name, service in services if isinstance(service.get("deploy"), Mapping)]
    if not deployed:
        return not_applicable(practice, "No deploy section.")
    for name, deploy in deployed:
        count = deploy.get("replicas", 1)
        if isinstance(count, int) and count < 2 and deploy.get("mode", "replicated") == "replicated":
            return failed(
                practice, f"{many(count, 'replica')}. Every update is an outage.", f"services.{name}.deploy.replicas"
            )
        update = deploy.get("update_config")
        if not isinstance(update, Mapping):
            return failed(
                practice, "No update_config: stopped first, started later.", f"services.{name}.deploy.update_config"
            )
        if update.get("parallelism", 1) == 0:
            return failed(
                practice, "parallelism: 0 takes all at once.", f"services.{name}.deploy.update_config.parallelism"
            )
    return passed(practice, "Rolling.")


def numeric_user(services: _Services) -> Row:
    """No service as root by its own wish."""
    practice = "Non-root numeric user"
    users = [(name, str(service["user"])) for name, service in services if service.get("user") is not None]
    for name, text in users:
        if interpolate(text, {}) is None:
            continue  # only the environment could say it
        user = parse_user(text)
        if user.uid is None and user.name not in ("", "root"):
            return failed(practice, f"{quoted(text, 60)} is a name. Write its number.", f"services.{name}.user")
        if not user.uid:
            return failed(practice, "Runs as root.", f"services.{name}.user")
    return passed(practice, "Numbers.") if users else not_applicable(practice, "The images decide.")


def healthcheck(services: _Services) -> Row:
    """A health check that is not switched off."""
    practice = "Health checks"
    for name, service in services:
        check = service.get("healthcheck")
        if isinstance(check, Mapping) and (check.get("disable") is True or check.get("test") in ("NONE", ["NONE"])):
            return failed(practice, "Switched off.", f"services.{name}.healthcheck")
    having = [name for name, service in services if isinstance(service.get("healthcheck"), Mapping)]
    if not having:
        return not_applicable(practice, "Left to the images.")
    result = passed if len(having) == len(services) else failed
    return result(practice, f"{len(having)} of {len(services)} services.")


_ROWS: tuple[Callable[[_Services], Row], ...] = (no_source_mounts, replicas, numeric_user, healthcheck)


def _binds(service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The bind mounts of a service that can be written: source and target."""
    volumes = service.get("volumes")
    for volume in volumes if isinstance(volumes, list) else ():
        if isinstance(volume, str):
            source, _, rest = volume.partition(":")
            target, _, options = rest.partition(":")
            if source.startswith((".", "/", "~")) and target and "ro" not in options.split(","):
                yield source, target
        elif isinstance(volume, Mapping) and volume.get("type") == "bind" and volume.get("read_only") is not True:
            yield str(volume.get("source", "")), str(volume.get("target", ""))
