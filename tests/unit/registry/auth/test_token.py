"""Logging in, step by step, against answers that are made up: no connection is opened."""

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from tests.support.clock import Clock
from webhook.registry.auth.token import (
    ANONYMOUS,
    IDENTITY_TOKEN,
    REALMS,
    Challenge,
    Credential,
    TokenCache,
    authorised,
    challenges,
    expected_challenges,
)
from webhook.registry.client import RegistryClient
from webhook.registry.endpoints import api_host
from webhook.registry.settings import ClientCertificate, Host, RegistrySettings
from webhook.registry.transport.messages import RegistryError, Request, Response

APP = Credential("app", "secret")
BASIC = "Basic " + base64.b64encode(b"app:secret").decode()
ASK = Request("GET", "https://registry.example.com/v2/team/app/manifests/1", "registry.example.com", 100)
BEARER = 'Bearer realm="https://auth.example.com/token?x=1",service="reg",scope="repository:team/app:pull"'


def session(clock: Clock | None = None, *insecure: str) -> TokenCache:
    """A fresh memory of what worked."""
    return TokenCache(clock or Clock(), lambda authority: authority in insecure)


def answered(status: int, *challenge: str, own: bool = True, **body: object) -> Response:
    """An answer with these challenges and this JSON."""
    return Response(status, {"www-authenticate": challenge}, json.dumps(body).encode(), own)


def run(
    *answers: Response, credential: Credential = APP, within: TokenCache | None = None, request: Request = ASK
) -> tuple[list[Request], Response]:
    """What is asked while these answers come back, and the last of them."""
    flow = authorised(request, "team/app", credential, within or session())
    asked = [next(flow)]
    for answer in answers:
        try:
            asked.append(flow.send(answer))
        except StopIteration as stop:
            return asked, stop.value
    raise AssertionError(f"not finished after {asked}")


def test_nothing_is_sent_that_is_not_asked_for() -> None:
    """A registry that needs no log-in sees no credential."""
    asked, last = run(answered(200))
    assert [each.authorization for each in asked] == [""]
    assert last.status == 200


def test_basic_is_answered_and_remembered() -> None:
    """The second request for the same repository needs no challenge."""
    memory = session()
    asked, last = run(answered(401, 'Basic realm="x"'), answered(200), within=memory)
    assert [each.authorization for each in asked] == ["", BASIC]
    assert last.status == 200
    asked, _ = run(answered(200), within=memory)
    assert asked[0].authorization == BASIC


def test_a_token_is_fetched_used_and_remembered_until_it_expires() -> None:
    """By GET with Basic, for exactly the scope."""
    clock = Clock()
    memory = session(clock)
    answers = (answered(401, BEARER), answered(200, token="t1", expires_in=300), answered(200))
    asked, last = run(*answers, within=memory)
    assert last.status == 200
    url = urlsplit(asked[1].url)
    assert (url.scheme, url.netloc, url.path) == ("https", "auth.example.com", "/token")
    assert parse_qs(url.query) == {"x": ["1"], "service": ["reg"], "scope": ["repository:team/app:pull"]}
    assert [each.authorization for each in asked] == ["", BASIC, "Bearer t1"]
    clock.now += 289
    assert run(answered(200), within=memory)[0][0].authorization == "Bearer t1"
    clock.now += 2
    asked, _ = run(answered(200, token="t2"), answered(200), within=memory)
    assert [each.authorization for each in asked] == [BASIC, "Bearer t2"]
    assert asked[0].url == url.geturl()


def test_a_token_is_foreseen_for_the_registrys_other_repositories() -> None:
    """By the same service, for the other scope; another registry has said nothing yet."""
    memory = session()
    run(answered(401, BEARER), answered(200, token="t1"), answered(200), within=memory)
    flow = authorised(ASK, "team/other", ANONYMOUS, memory)
    wanted = next(flow)
    assert parse_qs(urlsplit(wanted.url).query)["scope"] == ["repository:team/other:pull"]
    assert wanted.authorization == ""
    assert flow.send(answered(200, token="t2")).authorization == "Bearer t2"
    elsewhere = msgspec.structs.replace(ASK, url="https://elsewhere.example.com/v2/", authority="elsewhere.example.com")
    assert next(authorised(elsewhere, "team/app", APP, memory)) == elsewhere


@pytest.mark.parametrize("status", [401, 403])
def test_a_foreseen_token_that_is_refused_is_as_if_there_were_none(status: int) -> None:
    """The registry may say so of the token, of the credential, or of a repository that is open to nobody's."""
    memory = session()
    run(answered(401, BEARER), answered(200, token="t1"), answered(200), within=memory)
    asked, last = run(answered(200, token="t2"), answered(status), answered(200), credential=ANONYMOUS, within=memory)
    assert [each.authorization for each in asked[1:]] == ["Bearer t2", ""]
    assert last.status == 200


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_where_no_token_is_had_the_registry_says_what_it_wants(status: int) -> None:
    """And no token is foreseen until one has been had again."""
    memory = session()
    run(answered(401, BEARER), answered(200, token="t1"), answered(200), within=memory)
    for first in (answered(status),), ():
        asked, last = run(*first, answered(200), credential=ANONYMOUS, within=memory)
        assert asked[-1] == ASK
        assert last.status == 200


def test_a_token_for_another_repository_is_asked_for_in_the_registrys_own_words() -> None:
    """A mirror's own path stays before the name, several scopes stay several, and one for all stays as it is."""
    for said, meant in (
        ("repository:proxy/team/app:pull", "repository:proxy/team/other:pull"),
        ("repository:team/app:metadata_read,pull", "repository:team/other:metadata_read,pull"),
        (
            "repository(plugin):team/app:pull registry:catalog:*",
            "repository(plugin):team/other:pull registry:catalog:*",
        ),
        ("repository:app:pull", "repository:other:pull"),
        ("repository:xteam/app:pull", "repository:xteam/app:pull"),
        ("aws", "aws"),
        ("", "repository:team/other:pull"),
    ):
        memory = session()
        challenge = f'Bearer realm="https://auth.example.com/token",scope="{said}"'
        run(answered(401, challenge), answered(200, token="t1"), answered(200), within=memory)
        wanted = next(authorised(ASK, "team/other", APP, memory))
        assert parse_qs(urlsplit(wanted.url).query)["scope"] == [meant]


@pytest.mark.parametrize("again", [answered(401, 'Basic realm="harbor"'), answered(403)])
def test_a_void_token_is_asked_for_anew(again: Response) -> None:
    """Where the answer to it names no token service, the registry is asked once without it."""
    memory = session()
    run(answered(401, BEARER), answered(200, token="old"), answered(200), credential=ANONYMOUS, within=memory)
    answers = (again, answered(401, BEARER), answered(200, token="new"), answered(200))
    asked, last = run(*answers, credential=ANONYMOUS, within=memory)
    assert [each.authorization for each in asked] == ["Bearer old", "", "", "Bearer new"]
    assert last.status == 200


def test_a_fresh_token_that_is_refused_is_the_answer() -> None:
    """It is asked for once."""
    asked, last = run(answered(401, BEARER), answered(200, token="t"), answered(403))
    assert [each.authorization for each in asked] == ["", BASIC, "Bearer t"]
    assert last.status == 403


EXPECTED = {ASK.authority: {"realm": "https://known.example.com/token", "service": "known"}}


def expecting() -> TokenCache:
    """A fresh memory that expects a token to be had at a known place."""
    return TokenCache(Clock(), lambda _: False, expected=EXPECTED)


@pytest.mark.parametrize("credential", [APP, ANONYMOUS])
def test_an_expected_token_is_had_before_the_registry_is_asked(credential: Credential) -> None:
    """And then it is as if the registry had said where."""
    memory = expecting()
    asked, last = run(answered(200, token="t"), answered(200), credential=credential, within=memory)
    assert last.status == 200
    assert asked[0].url == "https://known.example.com/token?service=known&scope=repository%3Ateam%2Fapp%3Apull"
    assert [each.authorization for each in asked] == [credential.basic, "Bearer t"]
    assert asked[0].tentative
    later = next(authorised(ASK, "team/other", credential, memory))
    assert later.url.startswith("https://known.example.com/token?")
    assert later.tentative


def test_an_expected_identity_token_is_exchanged() -> None:
    """Where it is expected to be."""
    asked, _ = run(
        answered(200, token="t"), answered(200), credential=Credential(IDENTITY_TOKEN, "refresh"), within=expecting()
    )
    assert [(each.method, each.url) for each in asked] == [
        ("POST", "https://known.example.com/token"),
        ("GET", ASK.url),
    ]
    assert asked[0].tentative


@pytest.mark.parametrize("credential", [APP, ANONYMOUS])
@pytest.mark.parametrize("failure", [401, 403, 404, 405, 429, 500, 200, RegistryError("unreachable", "no such host")])
def test_where_no_token_is_had_as_expected_the_registry_says_where(
    failure: int | RegistryError, credential: Credential
) -> None:
    """A wrong expectation costs one request, the first time alone."""
    memory = expecting()
    flow = authorised(ASK, "team/app", credential, memory)
    guessed = next(flow)
    assert guessed.url.startswith("https://known.example.com/")
    plain = flow.throw(failure) if isinstance(failure, RegistryError) else flow.send(answered(failure))
    assert plain == ASK
    token = flow.send(answered(401, BEARER))
    assert token.url.startswith("https://auth.example.com/")
    assert flow.send(answered(200, token="t")).authorization == "Bearer t"
    assert next(authorised(ASK, "team/other", credential, memory)).url.startswith("https://auth.example.com/")
    assert memory.expected == {}


def test_an_expected_token_that_the_registry_refuses_gives_way_to_what_it_wants() -> None:
    """Its own challenge wins, and is remembered."""
    memory = expecting()
    asked, last = run(
        answered(200, token="no"),
        answered(401, BEARER),
        answered(200, token="t"),
        answered(200),
        within=memory,
    )
    assert [each.authorization for each in asked] == [BASIC, "Bearer no", BASIC, "Bearer t"]
    assert last.status == 200
    assert next(authorised(ASK, "team/other", APP, memory)).url.startswith("https://auth.example.com/")


def test_nothing_is_expected_of_anybody_else() -> None:
    """Another port, a mirror, a longer name."""
    for authority in (f"{ASK.authority}:5000", f"mirror.{ASK.authority}", f"{ASK.authority}.example.org", "mirror"):
        request = msgspec.structs.replace(ASK, url=f"https://{authority}/v2/", authority=authority)
        assert next(authorised(request, "team/app", APP, expecting())) == request


def test_an_expected_token_is_had_over_tls_or_not_at_all() -> None:
    """The realm's rule is the same."""
    memory = TokenCache(Clock(), lambda _: False, expected={ASK.authority: {"realm": "http://known.example.com/token"}})
    assert next(authorised(ASK, "team/app", APP, memory)) == ASK


def test_a_token_is_good_for_a_minute_unless_it_says_more() -> None:
    """And never for longer than an hour."""
    for body, life in (({}, 50), ({"expires_in": 10**9}, 3600), ({"expires_in": "x"}, 50), ({"expires_in": 4}, 2)):
        clock = Clock()
        memory = session(clock)
        run(answered(401, BEARER), answered(200, access_token="t", **body), answered(200), within=memory)
        clock.now += life - 0.5
        assert run(answered(200), within=memory)[0][0].authorization == "Bearer t"
        clock.now += 1
        assert run(answered(200, token="new"), answered(200), within=memory)[0][1].authorization == "Bearer new"


def test_a_remembered_token_that_is_refused_is_replaced() -> None:
    """The registry may have forgotten it."""
    memory = session()
    run(answered(401, BEARER), answered(200, token="old"), answered(200), within=memory)
    asked, last = run(answered(401, BEARER), answered(200, token="new"), answered(200), within=memory)
    assert [each.authorization for each in asked] == ["Bearer old", BASIC, "Bearer new"]
    assert last.status == 200


def test_credentials_are_kept_apart() -> None:
    """One user's token is not another's, nor another repository's."""
    memory = session()
    run(answered(401, BEARER), answered(200, token="t"), answered(200), within=memory)
    flows = [authorised(ASK, *who, memory) for who in (("team/app", ANONYMOUS), ("team/other", APP))]
    assert [next(each).authorization for each in flows] == ["", BASIC]  # to the token service
    assert [each.send(answered(200, token=f"t{n}")).authorization for n, each in enumerate(flows)] == [
        "Bearer t0",
        "Bearer t1",
    ]


def test_nobody_fetches_a_token_too() -> None:
    """Public images of Docker Hub need one."""
    asked, _ = run(answered(401, BEARER), answered(200, token="t"), answered(200), credential=ANONYMOUS)
    assert [each.authorization for each in asked] == ["", "", "Bearer t"]


def test_nobody_has_no_answer_to_basic() -> None:
    """The refusal stands."""
    asked, last = run(answered(401, 'Basic realm="x"'), credential=ANONYMOUS)
    assert len(asked) == 1
    assert last.status == 401


def test_a_refused_password_is_tried_once() -> None:
    """No loop."""
    asked, last = run(answered(401, 'Basic realm="x"'), answered(401, 'Basic realm="x"'))
    assert len(asked) == 2
    assert last.status == 401


def test_whoever_a_redirect_leads_to_gets_no_credential() -> None:
    """A challenge from another host is answered as nobody, at its own address; its token is its own."""
    memory = session()
    there = "https://store.example.com/blob?signature=x"
    wants = Response(401, {"www-authenticate": (BEARER,)}, own=False, url=there)
    asked, last = run(wants, answered(200, token="t"), answered(200, own=False), within=memory)
    assert [(each.url, each.authorization) for each in asked[1:]] == [(asked[1].url, ""), (there, "Bearer t")]
    assert asked[1].url.startswith("https://auth.example.com/token?")
    assert {each.authority for each in asked} == {ASK.authority}
    assert last.status == 200
    asked, _ = run(wants, answered(200, own=False), within=memory)
    assert [each.authorization for each in asked] == ["", "Bearer t"]


def test_a_password_that_another_host_asks_for_is_not_given() -> None:
    """Its answer stands."""
    asked, last = run(Response(401, {"www-authenticate": ('Basic realm="x"',)}, own=False, url="https://a.example/"))
    assert len(asked) == 1
    assert last.status == 401


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"[1]",
            b'"x"',
            b"\xff",
            b"{}",
            b'{"token":""}',
            b'{"token":["x"]}',
            b'{"token":"a\\u0000b"}',
            b"[" * 60_000,
        ),
        b'{"token":"x","expires_in":1' + b"0" * 400 + b"}",
        *(b'{"token":"x","expires_in":%b}' % each for each in (b"NaN", b"Infinity", b"1e999", b"[1]")),
    ],
)
def test_what_is_no_token_is_refused(body: bytes) -> None:
    """In one way, whatever is wrong with it."""
    with pytest.raises(RegistryError, match="token service answered") as refused:
        run(answered(401, BEARER), Response(200, {}, body))
    assert refused.value.cause == "unauthorized"


@pytest.mark.parametrize(
    "realm",
    [
        *("https://[::1", "https://host:99999/", "https://host:abc/x", "https:///x", "https://a b/t", "https://..../t"),
        *(
            "https://u:p@h.example/",
            "https://" + "a" * 70 + ".example/",
            "https://é.example/",
            "https://h.example/\x01",
        ),
    ],
)
def test_a_realm_that_no_url_is_made_of_is_not_asked(realm: str) -> None:
    """Nothing but our own error leaves."""
    with pytest.raises(RegistryError, match="not asked"):
        run(answered(401, f'Bearer realm="{realm}"'))


@pytest.mark.parametrize("status", [404, 405])
def test_a_token_service_without_get_is_posted_to(status: int) -> None:
    """With the password in the form, and no Basic beside it."""
    asked, _ = run(answered(401, BEARER), answered(status), answered(200, access_token="t"), answered(200))
    posted = asked[2]
    assert posted.method == "POST"
    assert posted.url == "https://auth.example.com/token?x=1"
    assert posted.authorization == ""
    assert posted.form == {
        "service": "reg",
        "scope": "repository:team/app:pull",
        "client_id": "nonroot-webhook",
        "grant_type": "password",
        "username": "app",
        "password": "secret",
    }
    assert asked[3].authorization == "Bearer t"


def test_an_identity_token_is_exchanged() -> None:
    """By a grant; it is no password."""
    identity = Credential(IDENTITY_TOKEN, "refresh")
    asked, _ = run(answered(401, BEARER), answered(200, access_token="t"), answered(200), credential=identity)
    assert asked[1].form is not None
    assert (asked[1].form["grant_type"], asked[1].form["refresh_token"]) == ("refresh_token", "refresh")
    asked, last = run(answered(401, 'Basic realm="x"'), credential=identity)
    assert (len(asked), last.status) == (1, 401)


@pytest.mark.parametrize(
    ("status", "cause"), [(401, "unauthorized"), (403, "unauthorized"), (429, "rateLimited"), (500, "unreachable")]
)
def test_a_token_service_that_refuses_has_an_error_of_its_own(status: int, cause: str) -> None:
    """The cause is its own."""
    with pytest.raises(RegistryError) as caught:
        run(answered(401, BEARER), answered(status))
    assert caught.value.cause == cause
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"token": 1}',
        b'{"token": ""}',
        b'{"token": "a\\r\\nX: y"}',
        b'{"token": "\\u00e9"}',
        b"[" * 99999,
    ],
)
def test_what_is_no_token_is_not_used(body: bytes) -> None:
    """Above all nothing that would make a second header."""
    with pytest.raises(RegistryError, match=r"without a token|other than a token"):
        run(answered(401, BEARER), Response(200, {}, body))


@pytest.mark.parametrize("realm", ["http://auth.example.com/t", "file:///etc/passwd", "auth.example.com", ""])
def test_no_password_leaves_over_plain_http(realm: str) -> None:
    """The token service must be https."""
    with pytest.raises(RegistryError, match=r"not https|not asked"):
        run(answered(401, f'Bearer realm="{realm}",service="x"'))


def test_an_insecure_registry_may_have_an_insecure_token_service() -> None:
    """Both are plain HTTP then."""
    within = session(None, "registry.example.com")
    asked, _ = run(
        answered(401, 'Bearer realm="http://a.example.com/t"'), answered(200, token="t"), answered(200), within=within
    )
    assert asked[1].url == "http://a.example.com/t?scope=repository%3Ateam%2Fapp%3Apull"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((), []),
        (("Basic",), [Challenge("basic", {})]),
        (("BASIC realm=x",), [Challenge("basic", {"realm": "x"})]),
        (('Negotiate, Basic realm="x"',), [Challenge("negotiate", {}), Challenge("basic", {"realm": "x"})]),
        (("Negotiate", 'basic Realm="x"'), [Challenge("negotiate", {}), Challenge("basic", {"realm": "x"})]),
        (
            ('Bearer realm="https://a/b?c=d,e", service="f g" , scope="h:i:pull,push", Basic realm="j"',),
            [
                Challenge("bearer", {"realm": "https://a/b?c=d,e", "service": "f g", "scope": "h:i:pull,push"}),
                Challenge("basic", {"realm": "j"}),
            ],
        ),
        ((r'Basic realm="a \"b\" c"',), [Challenge("basic", {"realm": 'a "b" c'})]),
        (('Basic realm="x", realm="y"',), [Challenge("basic", {"realm": "x"})]),
        (("Negotiate abc==, Basic",), [Challenge("negotiate", {"abc": "="}), Challenge("basic", {})]),
        (('Basic realm="open',), [Challenge("basic", {"realm": ""})]),
        (("=,=,\x00, ,",), []),
    ],
)
def test_challenges_are_read(values: tuple[str, ...], expected: list[Challenge]) -> None:
    """Several to a header, in any case, quoted or not."""
    assert challenges(values)[: len(expected)] == expected


def test_the_better_scheme_is_taken() -> None:
    """A bearer token where both are offered, whatever the order; unknown schemes are passed over."""
    for header in (f'Basic realm="x", {BEARER}', f'Negotiate, {BEARER}, Basic realm="x"'):
        asked, _ = run(answered(401, header), answered(200, token="t"), answered(200))
        assert asked[2].authorization == "Bearer t"


def test_nothing_prints_a_secret() -> None:
    """Neither credentials nor requests."""
    asked, _ = run(answered(401, BEARER), answered(404), answered(200, token="t0ken"), answered(200))
    shown = repr((APP, asked, answered(200, token="t0ken")))
    assert not any(secret in shown for secret in ("secret", "t0ken", BASIC))


def test_every_realm_is_a_plain_address_over_tls() -> None:
    """At the registry itself, or at its owner's."""
    for authority, parameters in REALMS.items():
        realm = urlsplit(parameters["realm"])
        assert set(parameters) == {"realm", "service"}
        assert (realm.scheme, realm.query, realm.fragment) == ("https", "", "")
        assert ".".join(authority.split(".")[-2:]) == ".".join((realm.hostname or "").split(".")[-2:])


@pytest.mark.parametrize("registry", ["docker.io", "ghcr.io", "registry.gitlab.com"])
async def test_a_client_expects_what_is_known(registry: str) -> None:
    """Under the name of the host that is asked."""
    client = RegistryClient()
    assert client._session.expected[api_host(registry)] == REALMS[api_host(registry)]
    await client.aclose()


@pytest.mark.parametrize(
    "settings",
    [
        {"insecure": frozenset({"ghcr.io"})},
        {"allowed": frozenset({"ghcr.io"})},
        {"authorities": {"ghcr.io": "PEM"}},
        {"client_certificates": {"ghcr.io": ClientCertificate(Path("pair.pem"))}},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_a_name_behind_which_somebody_else_may_be_is_not_the_registry(settings: dict[str, Any]) -> None:
    """A mirror with a CA of one's own, say, whose passwords are nobody else's business; the others stay known."""
    assert set(REALMS) - set(expected_challenges(RegistrySettings(**settings))) == {"ghcr.io"}


def test_a_mirror_of_its_own_name_says_nothing_about_the_registry() -> None:
    """It is asked under its own name, of which nothing is known."""
    assert expected_challenges(RegistrySettings(hosts={"ghcr.io": (Host("mirror.example.com"), Host())})) == REALMS
