"""One call through one engine: what it sent, what it returned, and what the provider counted."""

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from services.chassis.deployments import Deployment
from services.chassis.operations import Operation
from services.executor.bridges import calling
from services.executor.engines.base import Call, Engine, File
from services.executor.engines.outcomes import Failed
from services.executor.formats.base import Chunk
from services.executor.formats.factory import response_format
from tests.executor.conftest import KEY
from tests.simulator import Simulator
from tests.simulator.counts import Outcome

# Reads the texts of an answer, one or the chunks of a stream, as what both engines must agree in.
Read = Callable[[list[dict[str, Any]]], Any]


@dataclass
class Seen:
    """What one engine sent and returned."""

    upstream: list[dict[str, Any]] = field(default_factory=list)
    answer: Any = None
    usage: Any = None
    error: str = ""
    said: str = field(default="", compare=False)
    # Prompt and completion, as the provider counted them and as the usage event will.
    counted: tuple[int, int] = (0, 0)
    reported: tuple[int, int] = (0, 0)
    # Whether the usage event will say that its provider reported nothing.
    estimated: bool = False


async def seen(
    engine: Engine,
    simulator: Simulator,
    called: Deployment,
    body: dict[str, Any],
    *,
    operation: Operation = Operation.CHAT,
    stream: bool,
    read: Read,
    file: File | None = None,
) -> Seen:
    """Call one deployment on the simulator, which forgets everything before."""
    await simulator.reset()
    call = Call(
        deployment=called,
        key=KEY,
        operation=operation,
        body=json.loads(json.dumps(body)),
        stream=stream,
        timeout_s=10,
        file=file,
    )
    answer = response_format(operation, called.model, call.body)
    result = Seen()
    texts: list[str] = []
    try:
        async with asyncio.timeout(60), aclosing(calling.pieces(engine, call)) as pieces:
            async for piece in pieces:
                texts += [
                    one.text or _content(one)
                    for one in (answer.chunk(piece) if stream else [answer.whole(piece)])
                ]
    except Failed as failed:
        result.error, result.said = failed.error, failed.message
    result.usage = answer.usage or answer.units
    result.answer = read([json.loads(text) for text in texts])
    result.estimated = answer.estimated or (answer.usage is None and answer.units is None)
    if answer.usage is not None:
        result.reported = (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    requests = await simulator.requests()
    answered = [one for one in requests if one["outcome"] == Outcome.ANSWERED]
    result.counted = (
        sum(one["prompt_tokens"] for one in answered),
        sum(one["completion_tokens"] for one in answered),
    )
    result.upstream = [
        {
            "method": one["method"],
            "path": one["path"],
            "body": bare(one["body"]),
            "key": one["headers"].get("authorization")
            or one["headers"].get("x-api-key")
            or one["headers"].get("x-goog-api-key"),
            "beta": one["headers"].get("anthropic-beta"),
            "version": one["headers"].get("anthropic-version"),
        }
        for one in requests
    ]
    return result


def _content(chunk: Chunk) -> str:
    """An answer that is no JSON, as JSON."""
    return json.dumps({"content_type": chunk.content_type, "content": chunk.content.hex()})


def bare(part: Any) -> Any:
    """Without nulls and empty parts."""
    if isinstance(part, dict):
        return {name: bare(value) for name, value in part.items() if value not in (None, [], {})}
    return [bare(one) for one in part] if isinstance(part, list) else part


def difference(expected: Seen, found: Seen) -> str:
    """Where the engines differ, from a little before the first difference."""
    lines = []
    for item in ("error", "upstream", "answer", "usage", "counted"):
        one, other = getattr(expected, item), getattr(found, item)
        if one != other:
            at = next((i for i, (a, b) in enumerate(zip(str(one), str(other), strict=False)) if a != b), 0)
            shown = slice(max(0, at - 60), at + 160)
            lines.append(
                f"\n  {item}: general {str(one)[shown]} {expected.said[:200]}"
                f"\n  {item}: fast    {str(other)[shown]} {found.said[:200]}"
            )
    return "".join(lines)


def miscounted(*engines: Seen, reports: bool = True) -> str:
    """Where the usage of a whole answer is not the provider's count, or does not say that it is an estimate.

    Args:
        engines: What each did.
        reports: Whether the provider reports usage at all.

    """
    return "".join(
        f"\n  the provider counted {one.counted}, the usage says {one.reported}, estimated: {one.estimated}"
        for one in engines
        if not one.error and (one.estimated == reports or (reports and one.counted != one.reported))
    )
