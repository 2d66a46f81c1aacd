"""The cache of what the API server says of users: what it keeps, for whom and for how long."""

import asyncio

import pytest

from tests.support.clock import Clock
from webhook.cluster.users import ALLOWED_LIFE, DENIED_LIFE, TOKEN_LIMIT, CachedAccessReviews, User, bearer_token
from webhook.errors import NonrootError

WEB = User("system:serviceaccount:shops:web")


class Reviews:
    """An API server that knows the token `t0k`, whose user may ask for the namespace shops."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away = False
        self.answers = asyncio.Event()
        self.answers.set()

    async def user_of(self, token: str) -> User | None:
        await self._heard(token)
        return WEB if token == "t0k" else None

    async def may_resolve(self, user: User, namespace: str) -> bool:
        await self._heard(namespace)
        return namespace == "shops"

    async def may_list_pods(self, user: User, namespace: str) -> bool:
        await self._heard(f"Pods of {namespace}")
        return namespace == "shops"

    async def may_get(self, user: User, path: str) -> bool:
        await self._heard(f"the path {path}")
        return path == "/metrics"

    async def _heard(self, what: str) -> None:
        self.asked.append(what)
        await self.answers.wait()
        if self.away:
            raise NonrootError("it does not answer")


@pytest.fixture
def reviews() -> Reviews:
    return Reviews()


async def test_a_yes_is_remembered_for_a_minute_and_a_no_for_seconds(reviews: Reviews) -> None:
    clock = Clock()
    cached = CachedAccessReviews(reviews, at_once=2, waiting=100, clock=clock)
    for _ in range(3):
        assert await cached.may_resolve(WEB, "shops")
        assert not await cached.may_resolve(WEB, "other")
    assert reviews.asked == ["shops", "other"]
    clock.now += DENIED_LIFE
    assert not await cached.may_resolve(WEB, "other")
    assert await cached.may_resolve(WEB, "shops")
    assert reviews.asked == ["shops", "other", "other"]
    clock.now += ALLOWED_LIFE
    await cached.may_resolve(WEB, "shops")
    assert reviews.asked[-1] == "shops"


async def test_an_answer_is_one_users_alone(reviews: Reviews) -> None:
    cached = CachedAccessReviews(reviews, at_once=2, waiting=100)
    await cached.may_resolve(WEB, "shops")
    await cached.may_resolve(User(WEB.username, groups=("more",)), "shops")
    assert reviews.asked == ["shops", "shops"]


async def test_many_who_ask_the_same_are_one_question(reviews: Reviews) -> None:
    cached = CachedAccessReviews(reviews, at_once=2, waiting=100)
    assert await asyncio.gather(*(cached.user_of("t0k") for _ in range(50))) == [WEB] * 50
    assert reviews.asked == ["t0k"]


async def test_rights_to_resolve_and_to_list_are_two_questions(reviews: Reviews) -> None:
    cached = CachedAccessReviews(reviews, at_once=2, waiting=100)
    assert await cached.may_list_pods(WEB, "shops")
    assert await cached.may_resolve(WEB, "shops")
    assert reviews.asked == ["Pods of shops", "shops"]


async def test_a_path_is_a_question_of_its_own(reviews: Reviews) -> None:
    cached = CachedAccessReviews(reviews, at_once=2, waiting=100)
    for _ in range(2):
        assert await cached.may_get(WEB, "/metrics")
        assert not await cached.may_get(WEB, "/report")
    assert reviews.asked == ["the path /metrics", "the path /report"]


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer t0k", "t0k"),
        ("bearer  t0k ", "t0k"),
        (f"Bearer {'x' * TOKEN_LIMIT}", "x" * TOKEN_LIMIT),
        (f"Bearer {'x' * (TOKEN_LIMIT + 1)}", ""),
        ("Basic t0k", ""),
        ("Bearer", ""),
        ("t0k", ""),
        ("", ""),
    ],
)
def test_the_token_of_a_header(header: str, token: str) -> None:
    assert bearer_token(header) == token
