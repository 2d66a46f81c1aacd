"""Every format of one scan: complete, safe to print, and as its schema says."""

import json
import re
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest

from webhook.cli.output.scan import FORMATS, render, report
from webhook.policy.selection import BUILT_IN
from webhook.scan import document
from webhook.scan.document import Container, Document, Finding, Outcome, Running, Skip, Waiting, Workload
from webhook.scan.policyreport import RULE, reports

PAGES = "https://nonroot.dev/docs/reference/rules/"
NASTY = "\x1b[31m<b>::error::%0A\n,\u202e"


def finding(severity: Any = "error", message: str = "it is root", rule: str = "root-image") -> Finding:
    return Finding(rule, severity, message, "write 1000", "USER 1001" if rule == "root-image" else "")


def container(outcome: Outcome = "unchanged", *findings: Finding, **more: Any) -> Container:
    given: dict[str, Any] = {
        "name": "app", "kind": "regular", "image": "app:1", "digest": "", "user": "app", "uid": 1000, "who": "uid 1000",
        "reason": "", "expires_soon": False, "path": "", "yaml": "", "running": (), "mismatch": None,
        "waiting": None,
    }  # fmt: skip
    return Container(outcome=outcome, findings=findings, **{**given, **more})


def workload(outcome: Outcome, *containers: Container, **more: Any) -> Workload:
    given: dict[str, Any] = {
        "kind": "Deployment", "namespace": "shop", "name": "web", "policy": "strict", "mode": "Audit", "today": "allow",
        "reason": "", "pods": 2, "api_version": "apps/v1", "object_uid": f"uid-{more.get('name', 'web')}",
    }  # fmt: skip
    return Workload(outcome=outcome, containers=containers, **{**given, **more})


def reported(*workloads: Workload, skipped: tuple[Skip, ...] = ()) -> Document:
    return document.document("small", "2026-06-01T12:00:00+00:00", workloads, skipped)


ROOT = container("refused", finding(), running=(Running(0, 0, (0,), 2), Running(5, 5, (5,), 1)))
ODD = container("unknown", finding("unknown", NASTY, "unknown-image"), name=NASTY, image=NASTY)
REPORTED = reported(
    workload("refused", ROOT, container("excepted", name="mesh", kind="init", reason="exception e: ticket 7")),
    workload(
        "fixed",
        container(
            "fixed",
            finding("note", "a name: app", "named-user"),
            finding("warning", "may not write", "volume-permissions"),
            yaml="runAsUser: 1000\nrunAsNonRoot: true\n",
            path="spec.template.spec.containers[0].securityContext",
            mismatch="runs as uid 5 where uid 1000 was predicted",
            waiting=Waiting("CreateContainerConfigError", "image has non-numeric user (app)", 2),
        ),
        name="db",
        kind="StatefulSet",
    ),
    workload("unchanged", container(), name="fine"),
    workload("unknown", ODD, name=NASTY, namespace="tools"),
    workload("unknown", container("unknown", who=document.LEFT_OUT), name="later", namespace="tools"),
    skipped=(Skip("CronJobs", NASTY),),
)  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_tells_what_matters_and_lets_no_stranger_write_to_the_terminal(form: str) -> None:
    """What refuses and how it is cured, everywhere; no escape sequence, no override of the writing direction."""
    text = render(form, REPORTED)
    for part in ("root-image", "it is root", "write 1000", "unknown-image", "volume-permissions"):
        assert part in text
    if form not in {"json", "policyreport"}:  # which encode it
        assert "CronJobs" in text
        assert "\u202e" not in text
    assert "\x1b" not in text
    assert render(form, reported())


def test_the_text_is_for_a_person() -> None:
    """By namespace; what there is to do, and nothing of what runs unchanged; then what it all comes to."""
    odd = "\\x1b[31m<b>::error::%0A\\n,\\u202e"
    lines = render("text", REPORTED).splitlines()
    assert lines[:17] == [
        "shop  policy strict, Audit: 1 denied, 1 fixable, 1 compliant; 1 run as root now",
        "  denied    Deployment web, container app: uid 1000",
        "      root-image: it is root",
        "      fix: write 1000",
        "      Dockerfile: USER 1001",
        f"      more: {PAGES}root-image/",
        "      runs as root now, in 2 Pods",
        "  fixable   StatefulSet db, container app: uid 1000",
        "      volume-permissions: may not write",
        "      fix: write 1000",
        f"      more: {PAGES}volume-permissions/",
        "      does not start in 2 Pods now: CreateContainerConfigError: image has non-numeric user (app)",
        "      mismatch: runs as uid 5 where uid 1000 was predicted",
        "tools  policy strict, Audit: 2 unknown",
        f"  unknown   Deployment {odd}, container {odd}: uid 1000",
        f"      unknown-image: {odd}",
        "      fix: write 1000",
    ]
    assert lines[-1] == (
        "small: 5 workloads with 10 Pods; if all were enforced now: 1 denied, 2 unknown, 1 fixable, 1 compliant; "
        "1 run as root now; 1 image not examined (--no-images)"
    )
    assert (
        render("text", reported()) == "small: 0 workloads with 0 Pods; if all were enforced now: nothing would change\n"
    )


def test_the_json_is_as_its_published_schema_says() -> None:
    """The schema is generated from the types; whoever changes them publishes it anew."""
    published = document.SCHEMA.read_bytes()
    assert published == document.schema(), "run: python -m webhook.scan.document"
    jsonschema.validate(json.loads(render("json", REPORTED)), json.loads(published))


def test_the_sums_are_those_of_their_parts() -> None:
    """By outcome, by namespace, by image."""
    sums = REPORTED.summary
    assert (sums.workloads.refused, sums.workloads.unknown, sums.workloads.root, sums.pods) == (1, 2, 1, 10)
    assert (sums.containers.excepted, sums.mismatches, sums.not_examined) == (1, 1, 1)
    assert [(each.namespace, each.pods, each.workloads.refused) for each in sums.namespaces] == [
        ("shop", 6, 1),
        ("tools", 4, 0),
    ]
    assert [(each.image, each.containers.refused, each.containers.root) for each in sums.images] == [
        ("app:1", 1, 1),
        (NASTY, 0, 0),
    ]


def test_a_scan_for_code_scanning_says_where_in_the_cluster() -> None:
    """The path is the object's; a fingerprint lives as long as the finding."""
    (run,) = json.loads(render("sarif", REPORTED))["runs"]
    where = run["results"][0]["locations"][0]
    assert where["physicalLocation"]["artifactLocation"]["uri"] == "shop/Deployment/web"
    assert where["logicalLocations"][0]["fullyQualifiedName"] == "Deployment shop/web, container app"
    assert render("github", REPORTED).splitlines()[-1].startswith("5 workloads, 6 containers, 1 image not")


@pytest.mark.parametrize(
    ("findings", "fail_on", "code"),
    [((), "error", 0), (("note",), "unknown", 0), (("warning",), "error", 0), (("warning",), "warning", 1),
     (("unknown",), "error", 3), (("unknown",), "unknown", 1), (("error", "unknown"), "error", 1)],
)  # fmt: skip
def test_the_exit_code(findings: tuple[str, ...], fail_on: Any, code: int) -> None:
    """As for a check."""
    one = reported(workload("refused", container("refused", *map(finding, findings))))
    assert report(one).exit_code(fail_on) == code


def test_a_scan_that_skipped_something_exits_with_3() -> None:
    assert report(reported(skipped=(Skip("Pods", "forbidden"),))).exit_code() == 3


def test_a_report_says_each_rule_of_each_container_and_who_is_fine() -> None:
    """Fail, warn, error, and one pass or skip for a container that nothing speaks against."""
    said = {
        each["scope"]["name"]: [(result["rule"], result["result"], result["severity"]) for result in each["results"]]
        for each in reports(REPORTED.workloads)
    }
    assert said == {
        "web": [("root-image", "fail", "high"), (RULE, "skip", "info")],
        "db": [("named-user", "pass", "info"), ("volume-permissions", "warn", "medium")],
        "fine": [(RULE, "pass", "info")],
        NASTY: [("unknown-image", "error", "medium")],
        "later": [(RULE, "skip", "info")],
    }
    result = next(each for each in reports(REPORTED.workloads) if each["scope"]["name"] == "web")["results"][0]
    assert result["properties"] == {
        "container": "app", "image": "app:1", "outcome": "refused", "state": "denied", "mode": "Audit", "today": "allow",
        "runningAsUid": "0,5", "url": f"{PAGES}root-image/",
    }  # fmt: skip
    assert (result["policy"], result["message"]) == ("strict", "it is root; write 1000")
    stuck = next(each for each in reports(REPORTED.workloads) if each["scope"]["name"] == "db")["results"][0]
    assert stuck["properties"]["waiting"] == "CreateContainerConfigError"


def test_a_report_is_found_by_what_it_says_and_read_by_its_name() -> None:
    """Labels for `kubectl get -l`; a name that tells the workload, and no other object of that name."""
    made = {each["scope"]["name"]: each["metadata"] for each in reports(REPORTED.workloads)}
    assert re.fullmatch(r"nonroot-deployment-web-[0-9a-f]{8}", made["web"]["name"])
    assert made["web"]["labels"] == {
        "nonroot.dev/outcome": "refused", "nonroot.dev/state": "denied", "nonroot.dev/mode": "Audit",
        "nonroot.dev/policy": "strict",
    }  # fmt: skip
    (other,) = reports([workload("unchanged", container(), object_uid="of-another", policy="p" * 64, name="n" * 253)])
    assert len(other["metadata"]["name"]) == 253
    assert "nonroot.dev/policy" not in other["metadata"]["labels"]
    (ungoverned,) = reports([workload("unchanged", container(), policy=BUILT_IN.metadata.name)])
    assert "nonroot.dev/policy" not in ungoverned["metadata"]["labels"]


def test_passes_may_be_left_out_and_are_counted() -> None:
    (made,) = reports([workload("unchanged", container())], passes=False)
    assert (made["results"], made["summary"]["pass"]) == ([], 1)


def test_a_report_changes_only_when_what_it_says_does() -> None:
    """Neither with the time nor with the number of Pods, or every scan would write every report."""
    one = reported(workload("unchanged", container(running=(Running(5, 5, (5,), 1),)), pods=1))
    other = document.document(
        "small", "later", [workload("unchanged", container(running=(Running(5, 5, (5,), 9),)), pods=9)]
    )
    assert list(reports(one.workloads)) == list(reports(other.workloads))


def test_a_report_is_bounded() -> None:
    """A Pod of thousands of containers does not fill etcd."""
    (made,) = reports(
        reported(workload("unchanged", *(container(name=f"c{number}") for number in range(5000)))).workloads
    )
    assert len(made["results"]) == made["summary"]["pass"] == 1000


def test_an_exception_that_ends_within_a_week_says_so() -> None:
    """For whoever reads reports, and for whoever reads text."""
    ending = reported(workload("excepted", container("excepted", reason="exception e: ticket 7", expires_soon=True)))
    (made,) = reports(ending.workloads)
    assert (made["summary"]["skip"], made["results"][0]["message"]) == (
        1, "container app is exempted for less than a week more: exception e: ticket 7",
    )  # fmt: skip
    assert "      ends within a week: exception e: ticket 7" in render("text", ending)
    ended = reported(workload("refused", container("refused", finding(), reason="exception e: r (it ended at noon)")))
    assert "      exception e: r (it ended at noon)" in render("text", ended)


def test_a_fixed_container_passes_and_says_what_admission_adds() -> None:
    fixed = container("fixed", yaml="runAsUser: 1000\nrunAsNonRoot: true\n")
    (made,) = reports(reported(workload("fixed", fixed)).workloads)
    assert made["results"][0]["message"] == (
        "container app will run as uid 1000; admission adds runAsUser: 1000 runAsNonRoot: true"
    )
