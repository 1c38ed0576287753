"""Calls an engine for an operation, by way of a chat completion where the deployment does not speak the operation."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeAlias

from services.chassis.deployments import Deployment
from services.chassis.operations import Operation
from services.executor.bridges.base import Bridge
from services.executor.bridges.completions import CompletionsBridge
from services.executor.bridges.messages import MessagesBridge
from services.executor.bridges.responses import ResponsesBridge
from services.executor.engines.base import Call, Engine, Piece
from services.executor.engines.outcomes import ErrorClass, Failed

# How LiteLLM's `supported_endpoints` names it.
RESPONSES_PATH = "/v1/responses"
MakeBridge: TypeAlias = Callable[[Mapping[str, Any], Deployment], Bridge]
BRIDGES: Mapping[Operation, MakeBridge] = {
    Operation.COMPLETIONS: CompletionsBridge,
    Operation.MESSAGES: MessagesBridge,
    Operation.RESPONSES: ResponsesBridge,
}


def speaks(deployment: Deployment, operation: Operation) -> bool:
    """Whether a deployment is called with an operation in that operation's own format."""
    match operation:
        case Operation.COMPLETIONS:
            return deployment.mode == "completion"
        case Operation.MESSAGES:
            return deployment.provider == "anthropic"
        case Operation.RESPONSES:
            # What stands behind an address of one's own speaks chat in OpenAI's format, and seldom more.
            elsewhere = bool(deployment.api_base or deployment.api_base_ref)
            return deployment.provider == "openai" and (
                not elsewhere or RESPONSES_PATH in deployment.endpoints
            )
        case _:
            return True


def pieces(engine: Engine, call: Call) -> AsyncGenerator[Piece]:
    """The answer to a call, in the format of its operation.

    Raises:
        Failed: anything else than a whole answer; the iteration does.
    """
    return engine.call(call) if speaks(call.deployment, call.operation) else _bridged(engine, call)


async def _bridged(engine: Engine, call: Call) -> AsyncGenerator[Piece]:
    bridge = _made(call)
    done = False
    async with aclosing(engine.call(replace(call, operation=Operation.CHAT, body=bridge.body))) as given:
        async for piece in given:
            done = done or piece.done
            if not call.stream:
                yield Piece(bridge.whole(piece.data), headers=piece.headers)
            elif not piece.done:
                # A chunk that says nothing still shows that the provider is not silent.
                yield Piece({}, headers=piece.headers)
                for data in bridge.events(piece.data):
                    yield Piece(data)
    if call.stream:
        for data in bridge.end(done=done):
            yield Piece(data)
        if done:
            yield Piece({}, done=True)


def _made(call: Call) -> Bridge:
    try:
        return BRIDGES[call.operation](call.body, call.deployment)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # What a caller over gRPC sends is checked by nobody before.
        raise Failed(
            ErrorClass.BAD_REQUEST, f"the body cannot be read as {call.operation}: {type(error).__name__}"
        ) from error
