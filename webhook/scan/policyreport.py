"""The policy reports of a scan, one for each workload, as Policy Reporter and other readers expect them.

Of each container every finding is a result of its rule, and where nothing speaks against the container there is one result
that says so: thirteen rules that each found nothing would only fill etcd. Nothing in a report changes unless what it says
does: it does not hold the number of Pods, and the time of a result is since when it is the same (`stamped`).
Sources: openreports/reports-api apis/openreports.io/v1alpha1/report_types.go; kubernetes-sigs/wg-policy-prototypes
policy-report/pkg/api/wgpolicyk8s.io/v1alpha2/policyreport_types.go; kyverno/kyverno pkg/utils/report/results.go (whose shape
readers know: scope and owner are the object, results name no resources).
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, Literal

from webhook import json_output
from webhook.evaluation.documentation import rule_url
from webhook.scan.document import UNREACHED, Container, Document, Finding, Workload

Api = Literal["openreports.io/v1alpha1", "wgpolicyk8s.io/v1alpha2"]
Result = Literal["pass", "fail", "warn", "error", "skip"]

OPENREPORTS: Api = "openreports.io/v1alpha1"
KINDS: dict[str, str] = {OPENREPORTS: "Report", "wgpolicyk8s.io/v1alpha2": "PolicyReport"}
RULE = "runs-as-non-root"  # of the one result of a container that no rule speaks against
_SOURCE = "nonroot-webhook"
_NAME = 244  # characters of a name without its end
# kubernetes/apimachinery pkg/util/validation/validation.go, IsValidLabelValue; the built-in policy's name is none
_LABEL = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_RESULTS = 1000  # of one report: a Pod may have thousands of containers, and etcd takes 1.5 MiB
_SEVERITIES: dict[str, tuple[Result, str]] = {
    "error": ("fail", "high"),
    "warning": ("warn", "medium"),
    "unknown": ("error", "medium"),
    "note": ("pass", "info"),
}


def reports(
    workloads: Iterable[Workload], api_version: str = OPENREPORTS, *, passes: bool = True
) -> Iterator[dict[str, Any]]:
    """One report a workload, of the kind that has that API version; none in namespaces that are out of admission's reach."""
    for each in workloads:
        if each.reason != UNREACHED:
            yield report(each, api_version, passes=passes)


def report(workload: Workload, api_version: str = OPENREPORTS, *, passes: bool = True) -> dict[str, Any]:
    """A workload's report, to be deleted with it. Without `passes` such results are counted and left out."""
    about = {
        "apiVersion": workload.api_version,
        "kind": workload.kind,
        "name": workload.name,
        "uid": workload.object_uid,
    }
    results = list(islice(_results(workload), _RESULTS))
    counts = dict.fromkeys(("pass", "fail", "warn", "error", "skip"), 0)
    for each in results:
        counts[each["result"]] += 1
    ours = {"outcome": workload.outcome, "state": workload.state, "mode": workload.mode, "policy": workload.policy}
    labels = {f"nonroot.dev/{key}": value for key, value in ours.items() if value and _LABEL.fullmatch(value)}
    return {
        "apiVersion": api_version,
        "kind": KINDS[api_version],
        "metadata": {
            "name": _name(workload),
            "namespace": workload.namespace,
            "labels": {**workload.labels, **labels},
            "ownerReferences": [about],
        },
        **({"source": _SOURCE} if api_version == OPENREPORTS else {}),
        "scope": about | {"namespace": workload.namespace},
        "results": [each for each in results if passes or each["result"] != "pass"],
        "summary": counts,
    }


def stamped(report: dict[str, Any], former: Mapping[str, Any], at: datetime) -> dict[str, Any]:
    """A report whose results say since when: those that the `former` report has keep its time, the others are of now."""
    known = {_identity(each): each["timestamp"] for each in former.get("results", ()) if "timestamp" in each}
    now = {"seconds": int(at.timestamp()), "nanos": 0}
    return {**report, "results": [{**each, "timestamp": known.get(_identity(each), now)} for each in report["results"]]}


def _identity(result: Mapping[str, Any]) -> tuple[str, ...]:
    """The identity of a result: the same for two results about one fault, however it is worded."""
    properties = result.get("properties", {})
    return (result.get("rule", ""), result["result"], properties.get("container", ""), properties.get("image", ""))


def _name(workload: Workload) -> str:
    """Readable, and of this very object: of two kinds with one name, or of a later object with the same, it is another."""
    digest = hashlib.sha256(workload.object_uid.encode()).hexdigest()[:8]
    return f"nonroot-{workload.kind.lower()}-{workload.name}"[:_NAME].rstrip("-.") + f"-{digest}"


def render(document: Document) -> str:
    """All reports as a List that kubectl applies."""
    at = datetime.fromisoformat(document.at)
    items = [stamped(each, {}, at) for each in reports(document.workloads)]
    return json_output.text({"apiVersion": "v1", "kind": "List", "items": items})


def _results(workload: Workload) -> Iterator[dict[str, Any]]:
    for container in workload.containers:
        for finding in container.findings:
            yield _finding(finding, container, workload)
        if all(finding.severity == "note" for finding in container.findings):
            yield _verdict(container, workload)


def _finding(finding: Finding, container: Container, workload: Workload) -> dict[str, Any]:
    result, severity = _SEVERITIES[finding.severity]
    return _result(
        finding.rule, result, severity, f"{finding.message}; {finding.fix}", container, workload, rule_url(finding.rule)
    )


def _verdict(container: Container, workload: Workload) -> dict[str, Any]:
    """That nothing speaks against the container, that nobody looked, or that its exemption will end."""
    passed_over = container.state in {"exempted", "unknown"}
    name = f"container {container.name}"
    message = f"{name}: {container.reason or container.who}"
    if container.expires_soon:
        message = f"{name} is exempted for less than a week more: {container.reason}"
    if container.state == "fixable":
        message = f"{name} will run as {container.who}; admission adds {' '.join(container.yaml.split())}"
    return _result(RULE, "skip" if passed_over else "pass", "info", message, container, workload)


def _result(
    rule: str, result: Result, severity: str, message: str, container: Container, workload: Workload, url: str = ""
) -> dict[str, Any]:
    running = ",".join(str(uid) for uid in sorted({each.uid for each in container.running}))
    properties = {
        "container": container.name,
        "image": container.image,
        "digest": container.digest,
        "outcome": container.outcome,
        "state": container.state,
        "mode": workload.mode,
        "today": workload.today,
        "runningAsUid": running,
        "mismatch": container.mismatch or "",
        "waiting": container.waiting.reason if container.waiting else "",
        "url": url,
    }
    return {
        "source": _SOURCE,
        "policy": workload.policy,
        "rule": rule,
        "category": "Pod Security",
        "severity": severity,
        "result": result,
        "scored": True,
        "message": message,
        "properties": {name: value for name, value in properties.items() if value},
    }
