"""Which Pods the chart's own webhook configurations reach."""

import json
from typing import Any

from tests.support.helm import manifests, template
from tests.support.tables import table
from webhook.policy.selection import MODE_LABEL, Namespace
from webhook.scan import coverage


def installed(**values: Any) -> coverage.Coverage:
    """The coverage of a release in the namespace nonroot-system."""
    (made,) = [each for each in manifests(template(**values)) if each["kind"] == "ValidatingWebhookConfiguration"]
    found = coverage.read([json.dumps(made).encode()])
    assert found is not None
    return found


@table(
    ("namespace", "values", "reached"),
    {
        "an ordinary one": (Namespace("shop"), {}, True),
        "one that only warns": (Namespace("shop", {MODE_LABEL: "warn"}), {}, True),
        "one with a mistyped label": (Namespace("shop", {MODE_LABEL: "enforced"}), {}, True),
        "the release's own": (Namespace("nonroot-system"), {}, False),
        "the system's": (Namespace("kube-node-lease"), {}, False),
        "the platform's, by prefix": (Namespace("gke-managed-system"), {}, False),
        "the platform's, by name": (Namespace("calico-system"), {}, False),
        "one that the values exclude": (Namespace("ci"), {"webhook": {"excludeNamespaces": ["ci"]}}, False),
        "one that the values do not select": (
            Namespace("shop"),
            {"webhook": {"namespaceSelector": {"matchLabels": {"team": "a"}}}},
            False,
        ),
        "one that they do": (
            Namespace("shop", {"team": "a"}),
            {"webhook": {"namespaceSelector": {"matchLabels": {"team": "a"}}}},
            True,
        ),
        "the platform's, where the values give it to us": (
            Namespace("gke-x"),
            {"webhook": {"managedNamespaces": {"prefixes": [], "names": []}}},
            True,
        ),
        "one of which only the hook that refuses hears": (
            Namespace("shop"),
            {"webhook": {"advise": {"enabled": False}, "templates": {"enabled": False}}},
            True,
        ),
    },
)
def test_the_chart_s_own_hooks(namespace: Namespace, values: dict[str, Any], reached: bool) -> None:
    """Whatever the label says now: it could say enforce."""
    assert installed(**values).covers(namespace) is reached


def test_a_policy_alone_reaches_nothing_where_the_hook_for_it_is_off() -> None:
    """The label still can: the namespace can be enforced, but is not asked about today. Templates are no Pods."""
    found = installed(webhook={"advise": {"enabled": False}})
    assert found.covers(Namespace("shop"))
    assert not found.asks_today(Namespace("shop"))
    assert found.asks_today(Namespace("shop", {MODE_LABEL: "enforce"}))


def test_hundreds_of_namespaces_may_be_left_out() -> None:
    """More than a policy's selector may name."""
    found = installed(webhook={"excludeNamespaces": [f"tenant-{number}" for number in range(300)]})
    assert not found.covers(Namespace("tenant-299"))
    assert found.covers(Namespace("shop"))
