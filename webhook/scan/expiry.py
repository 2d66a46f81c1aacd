"""The expiry of exceptions: which containers lose theirs within a week, and which have lost one lately.

Both are asked of the one function that finds exemptions, at another moment or with other ends.
"""

from collections.abc import Sequence
from datetime import datetime

from webhook.evaluation.verdict import ContainerVerdict, Verdict
from webhook.policy.conditions import EXPIRY_WARNING
from webhook.policy.exemptions import find_exemption
from webhook.policy.types import NonRootException


def ends_soon(each: ContainerVerdict, verdict: Verdict, exceptions: Sequence[NonRootException], now: datetime) -> bool:
    """Whether what exempts a container will not do so in a week, or for fewer rules."""
    if each.exemption is None or not exceptions:
        return False
    then = find_exemption(
        verdict.effective_policy, exceptions, each.subject.workload, each.subject.slot, now + EXPIRY_WARNING
    )
    return then is None or then.rules != each.exemption.rules


def lapsed(each: ContainerVerdict) -> str:
    """The exceptions that exempted a container until they ended; empty where there are none, or others do still."""
    if each.exemption is not None:
        return ""
    return "; ".join(f"exception {one.name}: {one.reason} (it ended at {one.end})" for one in each.lapsed)
