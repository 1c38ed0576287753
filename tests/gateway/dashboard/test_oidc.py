"""Signing in through a provider of OpenID Connect: who gets in, as what, and who does not."""

import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import OctKey, RSAKey

from services.chassis.config import Mistakes, from_environ
from services.gateway import postgres
from services.gateway.dashboard.oidc import roles
from services.gateway.dashboard.oidc.provider import CALLBACK, FRESH_S, KEYS_AGAIN_S, Provider
from services.gateway.dashboard.oidc.routes import BEGUN_COOKIE
from services.gateway.dashboard.oidc.settings import Settings
from services.gateway.dashboard.page_route import COOKIE
from services.gateway.dashboard.routes import Oidc
from services.gateway.dashboard.session import Role
from services.gateway.dashboard.sign_in_limit import MOST
from tests.openid import CLIENT, ISSUER, SECRET, OpenIdProvider

BEGIN = "/dashboard/sign-in/oidc"
GIVEN = {
    "LUMNI_OIDC_ISSUER": ISSUER,
    "LUMNI_OIDC_CLIENT_ID": CLIENT,
    "LUMNI_OIDC_CLIENT_SECRET": SECRET,
    "LUMNI_OIDC_PUBLIC_URL": "https://gateway",
    "LUMNI_OIDC_ADMINS": "llm-admins",
    "LUMNI_OIDC_VIEWERS": "staff",
}
SETTINGS = from_environ(Settings, GIVEN)
Browse = Callable[..., Any]


class Clock:
    """A clock that only a test moves."""

    at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def openid() -> OpenIdProvider:
    """The provider, where Ann is an admin."""
    one = OpenIdProvider()
    one.claims["groups"] = ["staff", "llm-admins"]
    return one


@pytest.fixture
async def oidc(openid: OpenIdProvider, clock: Clock) -> AsyncIterator[Oidc]:
    """What the gateway knows of it."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(openid.app)) as client:
        yield Oidc(Provider(client, SETTINGS, now=clock), SETTINGS)


async def begin(one: httpx.AsyncClient, next_path: str = "/dashboard/keys") -> str:
    """Where the browser is sent."""
    answer = await one.get(BEGIN, params={"next": next_path})
    assert 303 == answer.status_code, answer.text
    return answer.headers["location"]


async def sign_in(one: httpx.AsyncClient, openid: OpenIdProvider) -> httpx.Response:
    """There and back."""
    return await one.get(CALLBACK, params=openid.signs_in(await begin(one)))


async def test_an_admin_signs_in_and_is_named_where_something_is_changed(
    browser: Browse, openid: OpenIdProvider, pool: postgres.Pool
) -> None:
    async with browser(scheme="https") as one:
        assert "Sign in through login.example.com" in (await one.get("/dashboard/sign-in")).text
        begun = await one.get(BEGIN, params={"next": "/dashboard/keys"})
        assert "SameSite=lax" in begun.headers["set-cookie"]
        answer = await one.get(CALLBACK, params=openid.signs_in(begun.headers["location"]))
        cookies = {text.partition("=")[0]: text for text in answer.headers.get_list("set-cookie")}
        for flag in ("HttpOnly", "SameSite=strict", "Secure"):
            assert flag in cookies[COOKIE]
        assert "Max-Age=0" in cookies[BEGUN_COOKIE]
        # Not the provider's navigation any more, so that the strict cookie is sent.
        assert '<meta http-equiv="refresh" content="0; url=/dashboard/keys">' in answer.text

        page = await one.get("/dashboard/keys")
        own = re.search(r'name="csrf" value="([^"]+)"', page.text)
        assert own is not None
        assert 201 == (await one.post("/dashboard/keys", data={"csrf": own[1], "user_id": "ben"})).status_code
    assert "admin:ann@example.com" == await pool.fetchval("SELECT actor FROM audit_events")


async def test_a_viewer_signs_in_and_sees_no_key(browser: Browse, openid: OpenIdProvider) -> None:
    openid.claims["groups"] = ["staff"]
    async with browser(scheme="https") as one:
        assert 200 == (await sign_in(one, openid)).status_code
        assert 200 == (await one.get("/dashboard")).status_code
        assert 403 == (await one.get("/dashboard/keys")).status_code


async def test_somebody_without_a_role_is_told_so(browser: Browse, openid: OpenIdProvider) -> None:
    openid.claims["groups"] = ["guests"]
    async with browser(scheme="https") as one:
        answer = await sign_in(one, openid)
        assert 403 == answer.status_code
        assert "ann@example.com has signed in at login.example.com, but has no role here" in answer.text
        assert COOKIE not in one.cookies


async def test_a_code_that_was_asked_for_by_another_browser_is_of_no_use(
    browser: Browse, openid: OpenIdProvider
) -> None:
    async with (
        browser(scheme="https") as one,
        browser(scheme="https") as other,
        browser(scheme="https") as third,
    ):
        brought = openid.signs_in(await begin(one))
        await begin(other)
        for stranger in (other, third):
            answer = await stranger.get(CALLBACK, params=brought)
            assert (403, True) == (answer.status_code, "not begun in this browser" in answer.text)
            assert COOKIE not in stranger.cookies
        # Nor is it used twice by the right one.
        assert 200 == (await one.get(CALLBACK, params=brought)).status_code
        assert 403 == (await one.get(CALLBACK, params=brought)).status_code


async def test_a_no_of_the_provider_is_shown(browser: Browse) -> None:
    async with browser(scheme="https") as one:
        for error, shown in (("access_denied", "access_denied"), ("<b>", "for no reason that it names")):
            state = parse_qs(urlsplit(await begin(one)).query)["state"][0]
            answer = await one.get(CALLBACK, params={"state": state, "error": error})
            assert (403, True) == (answer.status_code, shown in answer.text)
        state = parse_qs(urlsplit(await begin(one)).query)["state"][0]
        answer = await one.get(CALLBACK, params={"state": state, "code": "x", "iss": "https://evil.example"})
        assert (403, True) == (answer.status_code, "another provider" in answer.text)


NOW = int(time.time())


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"aud": "another client"},
        {"aud": [CLIENT, "another client"]},
        {"azp": "another client"},
        {"nonce": "of another sign-in"},
        {"exp": NOW - 3600},
        {"iat": NOW + 3600},
        {"sub": None},
    ],
)
async def test_an_id_token_for_somebody_or_something_else_is_not_believed(
    browser: Browse, openid: OpenIdProvider, claims: dict[str, Any]
) -> None:
    openid.claims |= claims
    async with browser(scheme="https") as one:
        answer = await sign_in(one, openid)
        assert (403, True) == (answer.status_code, "cannot be believed" in answer.text)
        assert COOKIE not in one.cookies


async def test_an_id_token_that_the_provider_did_not_sign_is_not_believed(
    browser: Browse, openid: OpenIdProvider
) -> None:
    forged: list[tuple[dict[str, Any], Any]] = [
        ({}, RSAKey.generate_key(2048, {"kid": "first"})),
        ({"alg": "HS256"}, OctKey.import_key(SECRET)),
        ({"alg": "none"}, None),
    ]
    async with browser(scheme="https") as one:
        for openid.header, openid.signing_key in forged:
            answer = await sign_in(one, openid)
            assert (403, True) == (answer.status_code, "cannot be believed" in answer.text)
        assert COOKIE not in one.cookies


async def test_a_new_key_of_the_provider_is_fetched_but_not_for_every_token(
    browser: Browse, openid: OpenIdProvider, clock: Clock
) -> None:
    async with browser(scheme="https") as one:
        assert 200 == (await sign_in(one, openid)).status_code
        openid.rotate()
        assert 403 == (await sign_in(one, openid)).status_code
        clock.at += KEYS_AGAIN_S + 1
        assert 200 == (await sign_in(one, openid)).status_code
        assert (1, 2) == (openid.asked.count("describe"), openid.asked.count("keys"))
        clock.at += FRESH_S + 1
        assert 200 == (await sign_in(one, openid)).status_code
        assert (2, 3) == (openid.asked.count("describe"), openid.asked.count("keys"))


@pytest.mark.parametrize("methods", [["client_secret_post"], ["client_secret_basic", "client_secret_post"]])
async def test_the_client_shows_its_secret_as_the_provider_wants(
    browser: Browse, openid: OpenIdProvider, methods: list[str]
) -> None:
    openid.metadata["token_endpoint_auth_methods_supported"] = methods
    async with browser(scheme="https") as one:
        assert 200 == (await sign_in(one, openid)).status_code


async def test_while_the_provider_is_down_a_key_signs_in(
    browser: Browse, openid: OpenIdProvider, caplog: pytest.LogCaptureFixture
) -> None:
    async with browser(scheme="https") as one:
        brought = openid.signs_in(await begin(one))
        openid.down = True
        answer = await one.get(CALLBACK, params=brought)
        assert (503, True) == (answer.status_code, "or sign in with a key" in answer.text)
    assert 1 == caplog.text.count("the OpenID provider does not answer")
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "metadata", [{"issuer": "https://evil.example"}, {"token_endpoint": 7}, {"jwks_uri": "x"}]
)
async def test_a_provider_that_describes_something_else_signs_nobody_in(
    browser: Browse, openid: OpenIdProvider, metadata: dict[str, Any]
) -> None:
    openid.metadata = metadata
    async with browser(scheme="https") as one:
        answer = await one.get(BEGIN)
        if answer.status_code == 303:
            answer = await one.get(CALLBACK, params=openid.signs_in(answer.headers["location"]))
        assert answer.status_code in (403, 503)
        assert COOKIE not in one.cookies


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("describe", ([], 200)),
        ("describe", ("text", 200)),
        ("keys", ([], 200)),
        ("keys", ({"keys": None}, 200)),
        ("keys", ({"keys": []}, 200)),
        ("token", ([], 200)),
        ("token", ("id_token", 200)),
        ("token", ({"id_token": None}, 200)),
        ("token", ([], 400)),
        ("token", ("invalid_grant", 400)),
    ],
)
async def test_an_answer_of_another_shape_is_the_providers_failure(
    browser: Browse, openid: OpenIdProvider, asked: str, said: tuple[Any, int]
) -> None:
    openid.said[asked] = said
    async with browser(scheme="https") as one:
        answer = await one.get(BEGIN)
        if answer.status_code == 303:
            answer = await one.get(CALLBACK, params=openid.signs_in(answer.headers["location"]))
        assert (503, True) == (answer.status_code, "or sign in with a key" in answer.text)


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
async def test_an_address_that_is_no_text_is_the_providers_failure(
    browser: Browse, openid: OpenIdProvider, name: str
) -> None:
    openid.metadata[name] = None
    async with browser(scheme="https") as one:
        assert 503 == (await one.get(BEGIN)).status_code


async def test_a_key_that_nobody_here_understands_does_not_spoil_the_others(
    browser: Browse, openid: OpenIdProvider
) -> None:
    own = dict(openid.key.as_dict(private=False))
    openid.other_keys = [
        {"kty": "EC", "crv": "brainpoolP256r1", "x": "AA", "y": "AA", "kid": "curve"},
        {**own, "use": "tls", "kid": "use"},
        {"kty": "AKP", "kid": "type"},
        {"kty": "RSA", "kid": "incomplete"},
        None,
    ]
    async with browser(scheme="https") as one:
        assert 200 == (await sign_in(one, openid)).status_code


async def fails(one: httpx.AsyncClient) -> int:
    """The status of a return from the provider with a code that it never gave."""
    state = parse_qs(urlsplit(await begin(one)).query)["state"][0]
    return (await one.get(CALLBACK, params={"code": "x", "state": state})).status_code


async def test_who_fails_too_often_must_wait(browser: Browse, openid: OpenIdProvider) -> None:
    async with browser(scheme="https") as one:
        assert {403} == {await fails(one) for _ in range(MOST)}
        asked = openid.asked.count("token")
        answer = await one.get(CALLBACK, params=openid.signs_in(await begin(one)))
        assert (429, True) == (answer.status_code, "retry-after" in answer.headers)
        assert asked == openid.asked.count("token") == MOST


async def test_a_website_that_leads_browsers_to_the_callback_locks_nobody_out(
    browser: Browse, openid: OpenIdProvider
) -> None:
    async with browser(scheme="https") as one:
        brought = openid.signs_in(await begin(one))
        for forged in ({}, {"code": "x", "state": "y"}, {"state": "y", "error": "access_denied"}) * MOST:
            assert 403 == (await one.get(CALLBACK, params=forged)).status_code
        # Nor does it end the sign-in that is under way.
        assert 200 == (await one.get(CALLBACK, params=brought)).status_code


async def test_an_outage_of_the_provider_locks_nobody_out(browser: Browse, openid: OpenIdProvider) -> None:
    async with browser(scheme="https") as one:
        for _ in range(MOST):
            brought = openid.signs_in(await begin(one))
            openid.down = True
            assert 503 == (await one.get(CALLBACK, params=brought)).status_code
            openid.down = False
        assert 200 == (await sign_in(one, openid)).status_code


async def test_nobody_is_led_elsewhere(browser: Browse, openid: OpenIdProvider) -> None:
    async with browser(scheme="https") as one:
        for path in ("https://evil.example", "//evil.example", "/dashboard\\evil", "/v1/models"):
            answer = await one.get(CALLBACK, params=openid.signs_in(await begin(one, path)))
            assert 'content="0; url=/dashboard"' in answer.text


@pytest.mark.parametrize(
    ("claim", "claims", "role"),
    [
        ("groups", {"groups": "llm-admins"}, Role.ADMIN),
        ("groups", {"groups": ["LLM-ADMINS"]}, None),
        ("groups", {"groups": {"llm-admins": True}}, None),
        ("groups", {}, None),
        ("realm_access.roles", {"realm_access": {"roles": ["staff"]}}, Role.VIEWER),
        ("realm_access.roles", {"realm_access": "staff"}, None),
        ("https://example.com/roles", {"https://example.com/roles": ["staff"]}, Role.VIEWER),
        ("email", {"email": "staff", "email_verified": True}, Role.VIEWER),
        ("email", {"email": "staff", "email_verified": "true"}, None),
        ("email", {"email": "staff"}, None),
    ],
)
def test_a_claim_gives_a_role(claim: str, claims: dict[str, Any], role: Role | None) -> None:
    assert role is roles.role(claims, from_environ(Settings, {**GIVEN, "LUMNI_OIDC_ROLE_CLAIM": claim}))


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"email": "ann@example.com", "email_verified": True}, "ann@example.com"),
        ({"email": "ann@example.com", "email_verified": "true"}, "u1"),
        ({"email": "ann@example.com"}, "u1"),
        ({"preferred_username": "ann@example.com"}, "u1"),
        ({"email": "ann\n", "email_verified": True}, "u1"),
        ({"sub": 7}, "somebody"),
    ],
)
def test_nobody_is_called_what_the_provider_has_not_verified(claims: dict[str, Any], name: str) -> None:
    assert name == roles.name({"sub": "u1", **claims})


def test_all_users_of_a_provider_may_read_where_that_is_said() -> None:
    settings = from_environ(Settings, {**GIVEN, "LUMNI_OIDC_VIEWERS": "*"})

    assert Role.VIEWER is roles.role({}, settings)
    assert Role.ADMIN is roles.role({"groups": ["llm-admins"]}, settings)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"LUMNI_OIDC_ISSUER": ""}, "LUMNI_OIDC_ISSUER"),
        ({"LUMNI_OIDC_ISSUER": "http://login.example.com"}, "LUMNI_OIDC_ISSUER"),
        ({"LUMNI_OIDC_CLIENT_ID": ""}, "LUMNI_OIDC_CLIENT_ID"),
        ({"LUMNI_OIDC_CLIENT_SECRET": ""}, "LUMNI_OIDC_CLIENT_SECRET"),
        ({"LUMNI_OIDC_PUBLIC_URL": ""}, "LUMNI_OIDC_PUBLIC_URL"),
        ({"LUMNI_OIDC_PUBLIC_URL": "https://[x"}, "LUMNI_OIDC_PUBLIC_URL"),
        ({"LUMNI_OIDC_SCOPES": "email"}, "LUMNI_OIDC_SCOPES"),
        ({"LUMNI_OIDC_ADMINS": "*"}, "LUMNI_OIDC_ADMINS"),
        ({"LUMNI_OIDC_ADMINS": "", "LUMNI_OIDC_VIEWERS": ""}, "LUMNI_OIDC_ADMINS"),
    ],
)
def test_settings_that_let_nobody_or_anybody_in_are_mistakes(changed: dict[str, str], named: str) -> None:
    with pytest.raises(Mistakes, match=named):
        from_environ(Settings, {**GIVEN, **changed})
