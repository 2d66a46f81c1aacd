"""What changes while a request is under way: it is answered by what was in force when it came."""

import asyncio
import json

from tests.support.images import image
from tests.support.pods import IMAGE, minimal
from tests.unit.server.test_asgi import review
from webhook.admission.handler import Admission
from webhook.admission.review import decode
from webhook.image.source import Image, Images, Query
from webhook.policy.cache import PolicyCache, StoredObject
from webhook.policy.selection import Namespace
from webhook.policy.types import ExceptionSpec, Metadata, NonRootException, NonRootPolicy, PolicySpec


class Slow(Images):
    """An image of root that takes until `release` is set to be known."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.asked = asyncio.Event()

    async def find(self, query: Query) -> Image:
        """Wait, and give it."""
        self.asked.set()
        await self.release.wait()
        return image("root")


def _show(view: PolicyCache, mode: str, name: str, *exceptions: NonRootException) -> None:
    policy = NonRootPolicy(Metadata(name), PolicySpec(mode=mode))  # type: ignore[arg-type]  # one of the three
    stored = [StoredObject(name, policy), *(StoredObject(each.metadata.name, each) for each in exceptions)]
    view.replace([Namespace("default")], stored)


async def test_a_policy_that_changes_in_mid_request_counts_from_the_next_on() -> None:
    """Both ways; the answer and what the audit log is told of are of one policy."""
    for former, latter, codes in (("Enforce", "Audit", (403, 200)), ("Audit", "Enforce", (200, 403))):
        view, images = PolicyCache(), Slow()
        admission = Admission(view, images)
        _show(view, former, "former")
        under_way = asyncio.create_task(admission.review(decode(review(minimal())), "validate"))
        await images.asked.wait()
        _show(view, latter, "latter")
        images.release.set()
        answers = [await under_way, await admission.review(decode(review(minimal())), "validate")]
        for outcome, code, name in zip(answers, codes, ("former", "latter"), strict=True):
            response = json.loads(outcome.body)["response"]
            assert response.get("status", {}).get("code", 200) == code
            assert response["auditAnnotations"]["policy"] == name


async def test_an_exception_that_comes_in_mid_request_counts_from_the_next_on() -> None:
    view, images = PolicyCache(), Slow()
    admission = Admission(view, images)
    _show(view, "Enforce", "strict")
    under_way = asyncio.create_task(admission.review(decode(review(minimal())), "validate"))
    await images.asked.wait()

    spec = ExceptionSpec(reason="a test", images=(IMAGE,))
    _show(view, "Enforce", "strict", NonRootException(Metadata("let", namespace="default"), spec))
    images.release.set()
    assert not json.loads((await under_way).body)["response"]["allowed"]
    later = await admission.review(decode(review(minimal())), "validate")
    assert json.loads(later.body)["response"]["allowed"]
