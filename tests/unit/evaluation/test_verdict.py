"""What is known of each container is summed up in a state, and what an exemption covers is said."""

import msgspec
import pytest

from tests.support.pods import effective_policy, workload
from tests.unit.admission.test_decision import CURABLE, ERROR, MISSING, WARNING, found, subject
from webhook.evaluation.subject import Subject
from webhook.evaluation.verdict import Verdict, decide
from webhook.image.user import Injection
from webhook.policy.exemptions import Exemption

SOME = Exemption("x", frozenset({"root-image"}))
NOTHING_SAID = msgspec.structs.replace(subject(), permits_root=True)
PINNED = msgspec.structs.replace(subject(work=workload(runAsUser=1000)), permits_root=True)
TO_PIN = msgspec.structs.replace(NOTHING_SAID, planned=Injection(1000))


@pytest.mark.parametrize("exemption", [Exemption("x"), SOME])
def test_a_verdict_names_the_exemption(exemption: Exemption) -> None:
    assert decide(subject(), (ERROR, CURABLE), exemption).exemption is exemption


def test_an_exemption_of_an_unknown_image_is_counted() -> None:
    assert decide(subject(), (MISSING,), Exemption("x", frozenset({"unknown-image"}))).state == "exempted"


@pytest.mark.parametrize(
    ("given", "state"),
    [(NOTHING_SAID, "exempted"), (PINNED, "compliant"), (TO_PIN, "compliant"), (subject(), "compliant")],
)
def test_an_exemption_by_which_root_may_run_is_counted(given: Subject, state: str) -> None:
    """It is none where the Pod keeps root out all the same, or will when it is patched."""
    assert decide(given, (WARNING,), SOME).state == state


def test_without_an_fs_group_only_what_it_would_fix_is_reported() -> None:
    volume = found(rule="volume-permissions", fixable=True)
    verdict = Verdict(effective_policy(), (decide(subject(), (CURABLE, volume), None),)).without_fs_group()
    assert [each.fixable for each in verdict.containers[0].findings] == [True, False]
