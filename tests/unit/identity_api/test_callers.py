"""Who is answered: certificates before tokens, what is remembered, and for how long."""

import asyncio

import pytest

from tests.unit.cluster.test_users import WEB, Reviews
from webhook.cluster.users import User
from webhook.identity_api import callers as limits
from webhook.identity_api.callers import REQUESTS_EACH, Callers, Refused


class Certificates:
    """Knows the certificate `good`."""

    def common_name(self, certificate: str) -> str | None:
        return "gatekeeper" if certificate == "good" else None


@pytest.fixture
def reviews() -> Reviews:
    return Reviews()


async def test_a_certificate_says_who_asks_without_the_api_server(reviews: Reviews) -> None:
    callers = Callers(Certificates(), reviews)
    assert await callers.identify("good", "t0k") == User("nonroot.dev:certificate:gatekeeper")
    assert reviews.asked == []


async def test_a_token_counts_where_there_is_no_good_certificate(reviews: Reviews) -> None:
    for callers in (Callers(Certificates(), reviews), Callers(None, reviews)):
        for certificate in ("", "bad"):
            assert await callers.identify(certificate, "t0k") == WEB


@pytest.mark.parametrize(("certificate", "token"), [("", ""), ("bad", ""), ("", "other"), ("bad", "other")])
async def test_nobody_is_refused_with_401(reviews: Reviews, certificate: str, token: str) -> None:
    with pytest.raises(Refused, match="show a client certificate") as refused:
        await Callers(Certificates(), reviews).identify(certificate, token)
    assert refused.value.status == 401


async def test_standalone_a_token_is_nobodys_and_a_certificate_is_enough() -> None:
    callers = Callers(Certificates(), None)
    with pytest.raises(Refused):
        await callers.identify("", "t0k")
    assert await callers.may_resolve(await callers.identify("good", ""), "shops")


async def test_an_api_server_that_is_away_is_503_and_asked_again(reviews: Reviews) -> None:
    """Its own words are for the log."""
    callers = Callers(None, reviews)
    reviews.away = True
    with pytest.raises(Refused, match="could not be asked") as refused:
        await callers.identify("", "t0k")
    assert (refused.value.status, "does not answer" in str(refused.value)) == (503, False)
    reviews.away = False
    assert await callers.identify("", "t0k") == WEB


async def test_strangers_cannot_make_us_ask_without_end(reviews: Reviews, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many tokens at once some are asked about, some wait, and the rest is turned away."""
    monkeypatch.setattr(limits, "REVIEWS_AT_ONCE", 2)
    monkeypatch.setattr(limits, "REVIEWS_WAITING", 4)
    callers = Callers(None, reviews)
    reviews.answers.clear()
    tasks = [asyncio.create_task(callers.identify("", f"token {number}")) for number in range(9)]
    await asyncio.sleep(0.01)
    assert len(reviews.asked) == 2
    assert sum(task.done() for task in tasks) == 5
    reviews.answers.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(each.status for each in outcomes if isinstance(each, Refused)) == [401] * 4 + [503] * 5
    await callers.aclose()


def test_one_caller_leaves_room_for_others() -> None:
    callers = Callers(None, None)
    held = [callers.room(WEB) for _ in range(REQUESTS_EACH)]
    for each in held:
        each.__enter__()
    with pytest.raises(Refused) as refused, callers.room(WEB):
        pass
    assert refused.value.status == 429
    with callers.room(User("other")):
        pass
    held[0].__exit__(None, None, None)
    with callers.room(WEB):
        pass
