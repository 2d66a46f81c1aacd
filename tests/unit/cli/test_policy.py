"""The policy that applies to a namespace, and why the others do not, as text and as JSON."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml
from click.testing import CliRunner, Result
from kubernetes.aio.config import kube_config

from tests.support.api import serving
from tests.support.evaluation import NOW
from tests.support.pods import Object
from tests.support.tables import table
from tests.unit.scan.test_run import EXCEPTIONS, POLICIES, cluster_of, namespace
from webhook.cli.main import main
from webhook.cli.policy import text
from webhook.policy.loader import load
from webhook.policy.selection import MODE_LABEL, Namespace
from webhook.policy.types import Documents
from webhook.scan import effective_policy as module
from webhook.scan.effective_policy import describe_policy, render

API = {"apiVersion": "nonroot.dev/v1alpha1"}


def rule(name: str, **spec: Any) -> Object:
    return API | {"kind": "NonRootPolicy", "metadata": {"name": name}, "spec": spec}


def exception(name: str, **spec: Any) -> Object:
    metadata = {"name": name, "namespace": "shop"}
    return API | {"kind": "NonRootException", "metadata": metadata, "spec": {"reason": f"ticket {name}", **spec}}


def of(*objects: Object) -> Documents:
    return load(objects, "a test")


def expression(key: str, operator: str, *values: str) -> Object:
    return {"namespaceSelector": {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}}


@table(
    ("spec", "why"),
    {
        "a label that is not there": (
            {"namespaceSelector": {"matchLabels": {"team": "a"}}},
            "its namespaceSelector wants team In (a), and the label is not set",
        ),
        "a label with another value": (
            {"namespaceSelector": {"matchLabels": {"tier": "a"}}},
            "its namespaceSelector wants tier In (a), and the label is 'web'",
        ),
        "one that must not be": (
            expression("tier", "DoesNotExist"),
            "its namespaceSelector wants tier DoesNotExist, and the label is 'web'",
        ),
        "the namespace's own name": (
            expression("kubernetes.io/metadata.name", "NotIn", "shop"),
            "its namespaceSelector wants kubernetes.io/metadata.name NotIn (shop), and the label is 'shop'",
        ),
        "a lower priority": ({"priority": 4}, "its priority 4 is lower than 5, that of m-first"),
        "a later name": (
            {"priority": 5},
            "its priority is that of m-first, which is as strict and whose name comes first",
        ),
    },
)
def test_why_a_policy_does_not_apply(spec: Object, why: str) -> None:
    """The first thing that speaks against it; of the one that applies, that nothing does."""
    result = describe_policy(
        of(rule("z-other", **spec), rule("m-first", priority=5)), Namespace("shop", {"tier": "web"}), NOW
    )
    assert result.policy == "m-first"
    by_name = {each.policy: each for each in result.candidates}
    assert (by_name["z-other"].applies, by_name["z-other"].why) == (False, why)
    assert by_name["m-first"].applies


def test_without_a_policy_the_built_in_one_applies_and_says_so() -> None:
    result = describe_policy(Documents(), Namespace("shop"), NOW)
    assert (result.policy, result.mode, result.injects, result.candidates) == ("(built-in)", "Audit", False, ())
    assert result.why == "no NonRootPolicy selects the namespace"
    assert result.spec["onUnknown"] == {"default": "Warn", "invalid": "Deny"}


@table(
    ("spec", "state"),
    {
        "for ever": ({}, "in force"),
        "long enough": ({"expires": (NOW + timedelta(days=8)).isoformat()}, "in force"),
        "a week or less": ({"expires": (NOW + timedelta(days=7)).isoformat()}, "expires soon"),
        "over, at that second": ({"expires": NOW.isoformat()}, "expired"),
    },
)
def test_an_exception_says_whether_it_counts(spec: Object, state: str) -> None:
    """None does where the policy forbids them."""
    said = exception("7", **spec)
    (result,) = describe_policy(of(said, rule("p")), Namespace("shop"), NOW).exceptions
    assert result.state == state
    (result,) = describe_policy(of(said, rule("p", exceptions="Forbid")), Namespace("shop"), NOW).exceptions
    assert result.state == ("expired" if state == "expired" else "forbidden")
    assert describe_policy(of(said), Namespace("default"), NOW).exceptions == ()


EVERYTHING = of(
    rule("strict", mode="Enforce", priority=5, exemptions={"images": ["gcr.io/*"]}, presets=["istio"]),
    rule("loose", namespaceSelector={"matchLabels": {"team": "a"}}),
    exception(
        "7",
        workloads=[{"kind": "Deployment", "name": "web"}, {"name": "db*"}],
        containers=["app"],
        rules=["root-image"],
        expires=(NOW + timedelta(days=1)).isoformat(),
    ),
    exception("8"),
)


def test_the_text_output_holds_all_of_it() -> None:
    """The policy and its mode, why, what it lets be, who else there is, and what is wrong with the label."""
    lines = text(describe_policy(EVERYTHING, Namespace("shop", {MODE_LABEL: "enforced\x1b"}), NOW)).splitlines()
    assert lines == [
        "shop: policy strict, mode Enforce, injects",
        "  selected by namespaceSelector with priority 5, the only one; the mode is the namespace label's",
        "  label nonroot.dev/mode=enforced\\x1b",
        (
            "  problem: the namespace label nonroot.dev/mode has the value 'enforced\\x1b'; it must be audit, warn or enforce, "
            "and counts as enforce"
        ),
        "  rootImages: Refuse",
        "  templates: Warn",
        '  onUnknown: {"default":"Verify","invalid":"Deny"}',
        "  exceptions: Allow",
        '  exemptions: {"images":["gcr.io/*"]}',
        '  presets: ["istio"]',
        "  not loose (priority 0, Audit): its namespaceSelector wants team In (a), and the label is not set",
        (
            "  exception 7 expires soon, until 2026-06-02T12:00:00+00:00: workloads Deployment/web, db*; containers app; rules "
            "root-image; because: ticket 7"
        ),
        "  exception 8 in force: everything; because: ticket 8",
    ]
    assert "  the namespace is exempt: nothing in it is evaluated" in text(
        describe_policy(EVERYTHING, Namespace("kube-system"), NOW)
    )


def test_the_json_is_as_its_published_schema_says() -> None:
    """The schema is generated from the types; whoever changes them publishes it anew."""
    published = module.SCHEMA.read_bytes()
    assert published == module.schema(), "run: python -m webhook.scan.effective_policy"
    result = json.loads(render(describe_policy(EVERYTHING, Namespace("shop"), NOW)))
    jsonschema.validate(result, json.loads(published))
    assert result["spec"]["exemptions"]["images"] == ["gcr.io/*"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["policy", *arguments])


def test_files_need_no_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The labels are given, or there are none."""
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", "/nowhere/kubeconfig")
    file = tmp_path / "policies.yaml"
    file.write_text(yaml.safe_dump_all([rule("a", namespaceSelector={"matchLabels": {"team": "a"}})]))
    assert run("-n", "shop", "--policy", str(file)).output.startswith(
        "shop: policy (built-in), mode Audit, injects nothing"
    )
    result = run("-n", "shop", "--policy", str(file), "--label", "team=a", "-o", "json")
    assert (result.exit_code, json.loads(result.output)["policy"]) == (0, "a")
    for arguments in (["--label", "team=a"], ["--policy", str(file), "--label", "team"]):
        result = run("-n", "shop", *arguments)
        assert (result.exit_code, "Traceback" in result.output) == (2, False)
        assert "--label" in result.output
    assert run("-n", "shop").exit_code == 2


@pytest.mark.parametrize("forbidden", [False, True])
async def test_a_cluster_tells_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forbidden: bool) -> None:
    """What may not be read is said, and the exit code is 3 then."""
    api = cluster_of(pods=[], deployments=[])
    api.objects["/api/v1/namespaces"] = [namespace("shop", **{MODE_LABEL: "warn"})]
    api.objects[POLICIES] = [{"metadata": {"name": "strict"}, "spec": {"mode": "Enforce"}}]
    api.objects[EXCEPTIONS] = [{"metadata": {"name": "e", "namespace": "shop"}, "spec": {"reason": "r"}}]
    api.forbidden = {"/api/v1/namespaces/shop"} if forbidden else set()
    async with serving(api, tmp_path) as kubeconfig:
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
        result = await asyncio.to_thread(run, "-n", "shop", "-o", "json")
        document = json.loads(result.output)
        assert (result.exit_code, document["policy"]) == ((3, "(unknown)") if forbidden else (0, "strict"))
        assert document["mode"] == (None if forbidden else "Warn")
        assert len(document["exceptions"]) == 1
        file = tmp_path / "policies.yaml"
        file.write_text(yaml.safe_dump_all([rule("mine")]))
        result = await asyncio.to_thread(run, "-n", "shop", "--context", "small", "--policy", str(file), "-o", "json")
        assert json.loads(result.output)["policy"] == ("(unknown)" if forbidden else "mine")


@pytest.mark.parametrize(("label", "mode"), [("enforce", "Enforce"), ("warn", "unknown")])
async def test_a_namespaces_admin_does_not_read_that_no_policy_applies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str, mode: str
) -> None:
    """Who may read the namespace and its exceptions, and no policy, learns that: what depends on it is unknown."""
    api = cluster_of(pods=[], deployments=[])
    api.objects["/api/v1/namespaces"] = [namespace("shop", **{MODE_LABEL: label})]
    api.objects[POLICIES] = [{"metadata": {"name": "shops"}, "spec": {"mode": "Enforce", "exceptions": "Forbid"}}]
    api.objects[EXCEPTIONS] = [{"metadata": {"name": "e", "namespace": "shop"}, "spec": {"reason": "r"}}]
    api.forbidden = {POLICIES}
    async with serving(api, tmp_path) as kubeconfig:
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
        printed = await asyncio.to_thread(run, "-n", "shop")
        document = json.loads((await asyncio.to_thread(run, "-n", "shop", "-o", "json")).output)
    assert printed.exit_code == 3
    first, why, *rest = printed.output.splitlines()
    assert first == f"shop: policy (unknown), mode {mode}"
    assert (
        why == "  the NonRootPolicies may not be read with this kubeconfig, and any policy may apply to the namespace"
    )
    assert any(line.startswith("  exception e unknown: ") for line in rest)
    assert any(line.startswith("no right to read NonRootPolicy objects (") for line in rest)
    assert "no NonRootPolicy selects" not in printed.output
    jsonschema.validate(document, json.loads(module.SCHEMA.read_bytes()))
    assert (document["injects"], document["exempt"], document["spec"], document["candidates"]) == (None, None, {}, [])


async def test_all_namespaces_that_may_not_be_listed_are_not_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = cluster_of(pods=[], deployments=[])
    api.forbidden = {"/api/v1/namespaces"}
    async with serving(api, tmp_path) as kubeconfig:
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
        result = await asyncio.to_thread(run, "-A")
    assert result.exit_code == 2
    assert "403 forbidden" in result.stderr
    assert "with -n" in result.stderr
