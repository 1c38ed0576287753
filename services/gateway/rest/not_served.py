"""OpenAI's routes that Lumni does not serve: each says so, instead of being no route at all."""

from services.chassis import errors
from services.gateway.rest.dispatcher import Handler, Route
from services.gateway.rest.exchange import Exchange

_STATE = "Lumni keeps no files, and passes none on, as the provider's account is shared by all callers"
WHY = {
    "/v1/files": f"{_STATE}; send the content in the request itself",
    "/v1/batches": f"{_STATE}; send the requests one by one, as many at once as your plan allows",
}


def routes() -> list[Route]:
    """A refusal for each."""
    return [
        Route(method, path, _refusing(f"{path} is not served here: {why}"))
        for path, why in WHY.items()
        for method in ("GET", "POST")
    ]


def _refusing(message: str) -> Handler:
    async def refuse(_: Exchange) -> None:
        raise errors.NotFound(message, reason="NOT_SUPPORTED")

    return refuse
