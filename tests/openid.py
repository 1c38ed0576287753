"""A provider of OpenID Connect with real keys: it hands out codes, exchanges each once, and signs id tokens."""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

ISSUER = "https://login.example.com/tenant"
CLIENT = "lumni page"
SECRET = "a secret: of the client/%"


@dataclass
class OpenIdProvider:
    """Who answers at the issuer's addresses, and how it misbehaves."""

    # What it says of whoever signs in.
    claims: dict[str, Any] = field(
        default_factory=lambda: {"sub": "u1", "email": "ann@example.com", "email_verified": True}
    )
    # What it says of itself beside the usual.
    metadata: dict[str, Any] = field(default_factory=dict)
    # How tokens are signed: these replace what is right.
    header: dict[str, Any] = field(default_factory=dict)
    signing_key: Any = None
    # Other keys that it publishes, before its own.
    other_keys: list[Any] = field(default_factory=list)
    # What it answers in place of what is right, by what was asked: describe, keys, token; and its status.
    said: dict[str, tuple[Any, int]] = field(default_factory=dict)
    # Until when every answer is an error.
    down: bool = False
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._codes: dict[str, Mapping[str, str]] = {}
        self.key: RSAKey | ECKey = RSAKey.generate_key(2048, {"kid": "first"})
        self.app = Starlette(
            routes=[
                Route("/tenant/.well-known/openid-configuration", self._describe),
                Route("/tenant/keys", self._keys),
                Route("/tenant/token", self._token, methods=["POST"]),
            ]
        )

    def rotate(self) -> None:
        """Sign with another key from now on."""
        self.key = ECKey.generate_key("P-256", {"kid": "second"})

    def signs_in(self, address: str) -> dict[str, str]:
        """What a browser that was sent to `address` brings back once somebody has signed in."""
        parts = urlsplit(address)
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{ISSUER}/authorize"
        asked = dict(parse_qsl(parts.query))
        assert ("code", CLIENT, "S256") == (
            asked["response_type"],
            asked["client_id"],
            asked["code_challenge_method"],
        )
        code = secrets.token_urlsafe(8)
        self._codes[code] = asked
        return {"code": code, "state": asked["state"], "iss": ISSUER}

    async def _describe(self, _: Request) -> Response:
        return self._answer(
            "describe",
            {
                "issuer": ISSUER,
                "authorization_endpoint": f"{ISSUER}/authorize",
                "token_endpoint": f"{ISSUER}/token",
                "jwks_uri": f"{ISSUER}/keys",
                **self.metadata,
            },
        )

    async def _keys(self, _: Request) -> Response:
        own = KeySet([self.key]).as_dict(private=False)["keys"]
        return self._answer("keys", {"keys": [*self.other_keys, *own]})

    async def _token(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        asked = self._codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if not self._is_client(request, form):
            return self._answer("token", {"error": "invalid_client"}, 401)
        if (
            asked is None
            or form["grant_type"] != "authorization_code"
            or form["redirect_uri"] != asked["redirect_uri"]
            or base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]
        ):
            return self._answer("token", {"error": "invalid_grant"}, 400)
        now = int(time.time())
        said = {
            "iss": ISSUER,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.claims,
        }
        header = {
            "alg": "RS256" if isinstance(self.key, RSAKey) else "ES256",
            "kid": self.key.kid,
            **self.header,
        }
        if header["alg"] == "none":
            parts = (
                base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, said)
            )
            return self._answer("token", {"id_token": b".".join((*parts, b"")).decode()})
        token = jwt.encode(header, said, self.signing_key or self.key, algorithms=[header["alg"]])
        return self._answer("token", {"access_token": "unused", "token_type": "Bearer", "id_token": token})

    def _is_client(self, request: Request, form: Mapping[str, str]) -> bool:
        if "client_secret" in form:
            return (form["client_id"], form["client_secret"]) == (CLIENT, SECRET)
        shown = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        return [unquote(part) for part in shown.split(":")] == [CLIENT, SECRET]

    def _answer(self, what: str, body: Mapping[str, Any], code: int = 200) -> Response:
        self.asked.append(what)
        if self.down:
            return Response("down", 503)
        return JSONResponse(*self.said.get(what, (dict(body), code)))
