"""The paths and headers by which clients of other gateways and clouds come to the same routes."""

import re
from collections.abc import Iterator, Mapping

import orjson
from starlette.types import Scope

from services.chassis import errors
from services.gateway.keys import authenticator

# Where a key may stand. What a client made for a gateway shows goes first: beside it `authorization` may hold a
# provider's key.
_GATEWAYS = (b"x-portkey-api-key", b"x-litellm-api-key")
_OTHERS = (b"api-key", b"x-api-key")
# Those that are no Authorization header.
KEY_HEADERS = frozenset((*_GATEWAYS, *_OTHERS))
_AUTHORIZATION = b"authorization"
_SCHEME = re.compile(r"^bearer\s+", re.IGNORECASE)
# Azure's: the model is in the path, as the name of a deployment.
_AZURE = re.compile(r"^/openai/deployments/(?P<model>[^/]+)(?P<rest>/.+)$")


def paths(path: str) -> Iterator[tuple[str, str]]:
    """The paths of routes that a request's path may mean, in order, each with the model that it names.

    They are meant with and without `/v1`, below Azure's `/openai`, and with a slash at their end.
    """
    plain = path.rstrip("/") or "/"
    yield plain, ""
    if found := _AZURE.match(plain):
        yield f"/v1{found['rest']}", found["model"]
    elif plain.startswith("/openai/"):
        yield f"/v1{plain.removeprefix('/openai').removeprefix('/v1')}", ""
    elif not plain.startswith("/v1/"):
        yield f"/v1{plain}", ""


def key(scope: Scope) -> str:
    """The key that a request shows, in whichever header; empty when there is none.

    Raises:
        Invalid: a header is there more than once.
    """
    shown: dict[bytes, list[str]] = {}
    for name, value in scope["headers"]:
        if name == _AUTHORIZATION or name in KEY_HEADERS:
            shown.setdefault(name, []).append(value.decode("latin-1"))
    return (
        _first(shown, _GATEWAYS)
        or authenticator.bearer(shown.get(_AUTHORIZATION, ()))
        or _first(shown, _OTHERS)
    )


def _first(shown: Mapping[bytes, list[str]], names: tuple[bytes, ...]) -> str:
    for name in names:
        values = shown.get(name, ())
        if len(values) > 1:
            raise errors.Invalid(f"{name.decode()}: sent more than once; send one", param=name.decode())
        if values and (found := _SCHEME.sub("", values[0].strip())):
            return found
    return ""


def with_model(body: bytes, model: str) -> bytes:
    """A JSON object that asks for the model of its path, whatever it says itself; other bodies stay as they are.

    Nothing is parsed: of a name that is there twice, the last one counts.
    """
    head = body.rstrip()
    if not model or not head.endswith(b"}"):
        return body
    comma = b"" if head[:-1].rstrip().endswith(b"{") else b","
    return b'%b%b"model":%b}' % (head[:-1], comma, orjson.dumps(model))
