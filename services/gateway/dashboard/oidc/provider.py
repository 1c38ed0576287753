"""The provider: where browsers are sent, and what it says of somebody who comes back.

A code is exchanged with PKCE, and an id token believed only if it was signed by one of the provider's keys, for this
client, for the nonce of the same browser, and not long ago.
"""

import asyncio
import base64
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import httpx
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import JWKRegistry, Key, KeySet

from services.chassis import errors
from services.chassis.outage import Outage
from services.gateway.dashboard.oidc.settings import Settings

log = logging.getLogger(__name__)

# The longest wait for the provider, in seconds, for all that one step asks it.
TIMEOUT_S = 5.0
# For how long what the provider says of itself is good, in seconds, and how often a key that is not among those known
# makes us ask for them again.
FRESH_S = 3600.0
KEYS_AGAIN_S = 60.0
# How far the provider's clock may be from ours, in seconds.
LEEWAY_S = 60
# Signatures of a key pair alone: none, and no secret that the client shares.
ALGORITHMS = [
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "Ed25519",
    "EdDSA",
]
# What a key, or a token, that is not as it should be raises.
UNBELIEVABLE = (JoseError, ValueError, TypeError, KeyError)
A = TypeVar("A")
CALLBACK = "/dashboard/sign-in/oidc/callback"


@dataclass(frozen=True, slots=True)
class _Described:
    """What the provider says of itself, and when it was read, on the monotonic clock."""

    authorization: str
    token: str
    keys: str
    by_post: bool
    read_at: float


class Provider:
    """Asks the provider that the settings name, and remembers its addresses and keys."""

    def __init__(
        self, client: httpx.AsyncClient, settings: Settings, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._settings = settings
        self._now = now
        self._described: _Described | None = None
        self._keys: KeySet | None = None
        self._keys_at = 0.0
        self._outage = Outage(log, "the OpenID provider does not answer", "the OpenID provider answers")

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends browsers back to."""
        return self._settings.public_url.rstrip("/") + CALLBACK

    async def address(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where a browser is sent to sign in there.

        Raises:
            Unavailable: the provider does not answer, or not as OpenID Connect wants.
        """
        described = await self._asking(self._describe())
        digest = hashlib.sha256(verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": " ".join(self._settings.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in described.authorization else "?"
        return f"{described.authorization}{joint}{urlencode(query)}"

    async def claims(self, *, code: str, nonce: str, verifier: str) -> Mapping[str, Any]:
        """What the provider says of somebody who came back with a code.

        Raises:
            Forbidden: it does not take the code, or its token cannot be believed.
            Unavailable: as `address`.
        """
        return await self._asking(self._claims(code, nonce, verifier))

    async def _claims(self, code: str, nonce: str, verifier: str) -> Mapping[str, Any]:
        token = await self._exchange(await self._describe(), code, verifier)
        keys = await self._known_keys(again=False)
        try:
            return self._believed(token, keys, nonce)
        except InvalidKeyIdError:
            # It has a new key.
            keys = await self._known_keys(again=True)
        except UNBELIEVABLE as error:
            raise self._refused(error) from error
        try:
            return self._believed(token, keys, nonce)
        except UNBELIEVABLE as error:
            raise self._refused(error) from error

    def _believed(self, token: str, keys: KeySet, nonce: str) -> Mapping[str, Any]:
        found = jwt.decode(token, keys, algorithms=ALGORITHMS)
        self._check(found.claims, nonce)
        return found.claims

    def _refused(self, error: Exception) -> errors.Forbidden:
        log.warning("an id token of the OpenID provider is not believed: %s", str(error)[:200])
        return errors.Forbidden(
            f"The id token of {self._settings.host} cannot be believed; the gateway's log says why.",
            reason="ID_TOKEN",
        )

    def _check(self, claims: Mapping[str, Any], nonce: str) -> None:
        ours = self._settings.client_id
        jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": self._settings.issuer},
            aud={"essential": True, "value": ours},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        ).validate(dict(claims))
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else ours) != ours:
            raise ValueError("azp: it was made for another client")

    async def _exchange(self, described: _Described, code: str, verifier: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": verifier,
        }
        ident, secret = self._settings.client_id, self._settings.client_secret.reveal()
        if described.by_post:
            answer = await self._client.post(
                described.token, data={**form, "client_id": ident, "client_secret": secret}
            )
        else:
            # RFC 6749, 2.3.1: both are encoded as in a form before.
            basic = httpx.BasicAuth(quote(ident, safe=""), quote(secret, safe=""))
            answer = await self._client.post(described.token, data=form, auth=basic)
        if answer.status_code in (400, 401, 403):
            why = _object(answer).get("error") if "json" in answer.headers.get("content-type", "") else ""
            log.warning("the OpenID provider does not take a code: %s", str(why)[:100])
            raise errors.Forbidden(
                f"{self._settings.host} does not take this sign-in; begin again, or see the gateway's log.",
                reason="CODE_REFUSED",
            )
        answer.raise_for_status()
        return _text(_object(answer), "id_token")

    async def _describe(self) -> _Described:
        known = self._described
        if known is not None and self._now() - known.read_at < FRESH_S:
            return known
        said = await self._get(self._settings.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if said["issuer"] != self._settings.issuer:
            raise ValueError("it names another issuer than LUMNI_OIDC_ISSUER")
        methods = said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        self._described = _Described(
            _text(said, "authorization_endpoint"),
            _text(said, "token_endpoint"),
            _text(said, "jwks_uri"),
            "client_secret_basic" not in methods,
            self._now(),
        )
        return self._described

    async def _known_keys(self, *, again: bool) -> KeySet:
        old_s = self._now() - self._keys_at
        if self._keys is None or old_s > (KEYS_AGAIN_S if again else FRESH_S):
            self._keys = _usable(await self._get((await self._describe()).keys))
            self._keys_at = self._now()
        return self._keys

    async def _get(self, address: str) -> Mapping[str, Any]:
        answer = await self._client.get(address)
        answer.raise_for_status()
        return _object(answer)

    async def _asking(self, step: Awaitable[A]) -> A:
        """Do a step within its deadline; whatever goes wrong at the provider means that nobody can sign in there."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                done = await step
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError, KeyError, TypeError) as error:
            self._outage.begin(error)
            raise errors.Unavailable(
                f"{self._settings.host} does not answer as OpenID Connect wants; try again, or sign in with a key."
            ) from error
        self._outage.end()
        return done


def _object(answer: httpx.Response) -> Mapping[str, Any]:
    said = answer.json()
    if not isinstance(said, dict):
        raise TypeError(f"{answer.url.path}: expected a JSON object")
    return said


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said[name]
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected a text")
    return value


def _usable(said: Mapping[str, Any]) -> KeySet:
    """The keys of a set that we understand: others may be for other clients, of kinds that are newer than we are."""
    keys: list[Key] = []
    for one in said["keys"]:
        try:
            keys.append(JWKRegistry.import_key(one))
        except UNBELIEVABLE as error:
            log.info("a key of the OpenID provider is of no use here: %s", str(error)[:100])
    if not keys:
        raise ValueError("it has no key that is of use here")
    return KeySet(keys)
