"""Everything that can go wrong at a provider, and what the caller, the records and the breaker make of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from lumni.events.v1 import events_pb2

from services.chassis import status
from services.executor.attempts.retry import RULES
from services.executor.engines.outcomes import ErrorClass
from tests.executor.service import Caller, deployments, executor
from tests.simulator import Simulator

C = ErrorClass
FORMATS = {"openai": "openai/m", "anthropic": "anthropic/claude-m", "gemini": "gemini/gemini-m"}

# What the simulator does -> what it is, without a stream and with one; None is a good answer.
# A class with a star broke off after its first chunks had left for the caller.
FAULTS: dict[str, tuple[str | None, str | None]] = {
    "400": (C.BAD_REQUEST, C.BAD_REQUEST),
    "401": (C.AUTHENTICATION, C.AUTHENTICATION),
    "403": (C.PERMISSION, C.PERMISSION),
    "404": (C.NOT_FOUND, C.NOT_FOUND),
    "408": (C.TIMEOUT, C.TIMEOUT),
    "413": (C.TOO_LARGE, C.TOO_LARGE),
    "422": (C.BAD_REQUEST, C.BAD_REQUEST),
    "429-retry-7": (C.RATE_LIMIT, C.RATE_LIMIT),
    "500": (C.SERVER_ERROR, C.SERVER_ERROR),
    "502": (C.OVERLOADED, C.OVERLOADED),
    "502-html": (C.OVERLOADED, C.OVERLOADED),
    "503": (C.OVERLOADED, C.OVERLOADED),
    "529": (C.OVERLOADED, C.OVERLOADED),
    "context": (C.CONTEXT_LENGTH, C.CONTEXT_LENGTH),
    "hang": (C.TIMEOUT, C.TIMEOUT),
    "drop": (C.CONNECTION, C.CONNECTION),
    "reset": (C.CONNECTION, C.CONNECTION),
    "drip-5": (None, None),
    "cut-3": (C.CONNECTION, "cut*"),
    "end-3": (C.CONNECTION, "cut*"),
    "stall-3": (C.TIMEOUT, "cut*"),
    "error-3": (C.SERVER_ERROR, "server_error*"),
    "malformed": (C.MALFORMED, "malformed*"),
    "html": (C.MALFORMED, C.MALFORMED),
    "empty": (C.MALFORMED, C.MALFORMED),
    "done": (C.MALFORMED, C.MALFORMED),
    "firsterror": (C.SERVER_ERROR, C.SERVER_ERROR),
}


# Only these have to run into the timeout; the others have time on any machine.
SILENT = ("hang", "stall")

# What an outage may be called: by LiteLLM's own streams, which hide what happened, and by errors inside a 200.
TROUBLE = {C.TIMEOUT, C.SERVER_ERROR, C.OVERLOADED, C.CONNECTION, C.MALFORMED, C.CUT}
IN_BAND = {"server_error", "server_error*", "overloaded", "overloaded*"}


def alike(wanted: str, found: str, *, exactly: bool) -> bool:
    if wanted == found or (wanted in IN_BAND and found == wanted.replace("server_error", "overloaded")):
        return True
    return not exactly and {wanted.rstrip("*"), found.rstrip("*")} <= TROUBLE


@pytest.fixture(params=["fast", "general"])
async def caller(
    request: pytest.FixtureRequest, simulator: Simulator, valkey: str, tmp_path: Path
) -> AsyncIterator[Caller]:
    models = [
        (f"{name}-{words}-{kind}", f"{model}-sim-{words}")
        for name, model in FORMATS.items()
        for words in FAULTS
        for kind in ("whole", "stream")
    ]
    config = deployments(simulator.url, [*models, ("good", "openai/good")])
    for one in config["model_list"]:
        if any(words in one["litellm_params"]["model"] for words in SILENT):
            one["litellm_params"]["timeout"] = 0.4 if request.param == "fast" else 1.0
    async with executor(tmp_path, config, valkey, engine=request.param) as caller:
        yield caller


async def outcome_of(caller: Caller, provider: str, words: str, *, stream: bool) -> list[str]:
    """What differs from the table, in words."""
    wanted = FAULTS[words][stream]
    place = f"{provider} {words} {'stream' if stream else 'whole'}"
    outcome = await caller.ask(
        f"{provider}-{words}-{'stream' if stream else 'whole'}", "good", stream=stream, timeout_s=60
    )
    first = outcome.report.attempts[0]
    found = first.error_class + ("*" if len(outcome.chunks) and outcome.fault else "")
    if not alike(wanted or "", found, exactly=caller.engine == "fast"):
        return [
            f"{place}: {wanted or 'a good answer'}, but it was {found or 'a good answer'} ({first.message})"
        ]
    if wanted is None:
        return (
            []
            if outcome.fault is None and len(outcome.report.attempts) == 1
            else [f"{place}: {outcome.fault}"]
        )
    rule = RULES[ErrorClass(found.rstrip("*"))]
    committed = found.endswith("*")
    wrong = []
    if committed or not rule.fall_back:
        if outcome.fault is None or len(outcome.report.attempts) != 1:
            wrong.append(f"{place}: the caller should see the error, but saw {outcome.fault}")
        elif not isinstance(outcome.fault, rule.fault) and not committed:
            wrong.append(f"{place}: {status.to_status(outcome.fault)}")
    elif outcome.fault is not None or [one.deployment for one in outcome.report.attempts][1:] != ["good"]:
        wrong.append(f"{place}: the next candidate should have answered, but {outcome.fault}")
    refused = first.status_code >= 400
    if refused and first.cost_nano_usd:
        wrong.append(f"{place}: an error status costs nothing")
    if not refused and first.error_class != "unsupported" and not first.cost_nano_usd:
        wrong.append(f"{place}: what may have been billed has an upper bound")
    return wrong


@pytest.mark.parametrize("provider", FORMATS)
async def test_every_fault_has_its_outcome_and_nothing_hangs(provider: str, caller: Caller) -> None:
    # LiteLLM's entry points take long enough for many at once to look like slow providers.
    at_once = asyncio.Semaphore(len(FAULTS) if caller.engine == "fast" else 4)

    async def one(words: str, *, stream: bool) -> list[str]:
        async with at_once:
            return await outcome_of(caller, provider, words, stream=stream)

    async with asyncio.timeout(200):
        lines = await asyncio.gather(
            *(one(words, stream=stream) for words in FAULTS for stream in (False, True))
        )
    wrong = [line for some in lines for line in some]
    assert not wrong, "\n".join(["", *sorted(wrong)])
    events = await caller.events()
    begun = [one.attempt.id for one in events if one.kind == events_pb2.USAGE_KIND_STARTED]
    ended = [one.attempt.id for one in events if one.kind != events_pb2.USAGE_KIND_STARTED]
    assert len(begun) == len(set(begun))
    assert sorted(begun) == sorted(ended)
