"""Policy Reporter's reading of a report, modelled on its source, as its Go module cannot be had here.

Sources: kyverno/policy-reporter pkg/crd/api/policyreport/v1alpha2/common.go, policyreport_types.go (the fields and their types);
pkg/report/result/id_generator.go, reconditioner.go, resource.go and pkg/openreports/result.go (what it makes of them).
"""

from typing import Any, Literal

import msgspec

CATEGORY = "Other"  # of a result that names none
_PRIORITIES = {"critical": "critical", "high": "error", "medium": "warning", "low": "info", "info": "info", "": "debug"}


class Resource(msgspec.Struct, frozen=True, rename="camel"):
    """What a result is about."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_version: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.namespace, self.kind.lower(), self.name) if part)


class Time(msgspec.Struct, frozen=True):
    """Go's metav1.Timestamp."""

    seconds: int = 0
    nanos: int = 0


class Result(msgspec.Struct, frozen=True):
    """The fields of a result, with the types into which it decodes them."""

    policy: str
    source: str = ""
    rule: str = ""
    resources: tuple[Resource, ...] = ()
    message: str = ""
    result: Literal["pass", "fail", "warn", "error", "skip"] = "pass"
    scored: bool = False
    properties: dict[str, str] = {}
    timestamp: Time = Time()
    category: str = ""
    severity: str = ""

    @property
    def priority(self) -> str:
        """What it shows as the weight of a result."""
        fixed = {"skip": "debug", "pass": "info", "error": "error", "warn": "warning"}.get(self.result)
        return fixed or _PRIORITIES[self.severity]


class Summary(msgspec.Struct, frozen=True, rename={"passed": "pass"}):
    """The counts."""

    passed: int = 0
    fail: int = 0
    warn: int = 0
    error: int = 0
    skip: int = 0


class Report(msgspec.Struct, frozen=True):
    """The fields of a report."""

    scope: Resource | None = None
    summary: Summary = Summary()
    results: tuple[Result, ...] = ()

    @property
    def source(self) -> str:
        """That of the first result; filters and dashboards select by it."""
        return self.results[0].source if self.results else ""


class Shown(msgspec.Struct, frozen=True):
    """A result as it is stored, counted and sent: the last of those with one `id` stands for all of them."""

    id: tuple[str, ...]
    resource: str
    category: str
    result: Result


def read(report: dict[str, Any]) -> tuple[Report, list[Shown]]:
    """A report, and what is shown of it; `msgspec.ValidationError` where Go would not decode it."""
    found = msgspec.convert(report, Report)
    shown: dict[tuple[str, ...], Shown] = {}
    for each in found.results:
        about = each.resources[0] if each.resources else found.scope or Resource()
        hashed = found.scope or about
        category = each.category or CATEGORY
        made = (hashed.name, hashed.uid, each.policy, each.rule, each.result, each.category, each.message)
        key = (each.properties["resultID"],) if "resultID" in each.properties else made
        shown[key] = Shown(key, str(about), category, each)
    return found, list(shown.values())
