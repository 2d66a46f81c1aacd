"""A rule that is not asked would have found nothing: what is left out is left out for speed alone."""

from typing import Any

from hypothesis import given, settings

from tests.support.evaluation import evaluate_object
from tests.support.images import multi
from tests.support.pods import effective_policy, minimal, tweak
from tests.support.variety import IMAGES, PODS, POLICIES
from webhook.evaluation.rules import RULES, check
from webhook.image.source import PlatformImage


@settings(max_examples=5 * settings().max_examples)
@given(IMAGES, PODS, POLICIES)
async def test_what_is_found_is_what_all_rules_find(
    images: list[PlatformImage], paths: dict[str, Any], spec: dict[str, Any]
) -> None:
    """For any image, Pod and policy."""
    verdict = await evaluate_object(tweak(minimal(), paths), multi(*images), rule=effective_policy(**spec))
    for each in verdict.containers:
        every = tuple(found for rule in RULES if (found := rule.check(each.subject)) is not None)
        assert check(each.subject) == each.findings == every
