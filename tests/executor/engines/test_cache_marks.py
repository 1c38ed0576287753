"""Where a prompt is sent again and again, Anthropic is asked to keep its start; what a caller marked stays as it is."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from services.chassis.deployments import Deployment
from services.chassis.operations import Operation
from services.chassis.prices import Price, Row, rates_of
from services.executor.engines.base import Engine
from services.executor.engines.cache_marks import KEPT_S, MARK, REMEMBERED, CacheMarks
from services.executor.engines.direct import DirectEngine
from services.executor.engines.litellm_sdk import LiteLLMEngine
from services.executor.engines.prepare import Preparer
from services.executor.engines.proxies import Proxies
from tests.executor.conftest import KEY
from tests.executor.differential import seen
from tests.executor.fleet import deployment
from tests.simulator import Simulator

# Longer than the 1,024 tokens that Claude Sonnet 4.5 keeps at least, by any count.
RULES = "Answer in one sentence. " * 300
RATES = {"input": 1_000_000, "output": 4_000_000, "cached": 100_000, "cache_write": 1_250_000}
ASKED, ANSWERED, NEXT = (
    {"role": "user", "content": "Is it warm?"},
    {"role": "assistant", "content": "Yes."},
    {"role": "user", "content": "And tomorrow?"},
)
CALLED = {
    "role": "assistant",
    "content": "Let me look.",
    "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}},
        {"id": "c2", "type": "function", "function": {"name": "look", "arguments": "{}"}},
    ],
}
RESULTS = [{"role": "tool", "tool_call_id": ident, "content": "21 degrees"} for ident in ("c1", "c2")]
TOOL = {
    "type": "function",
    "function": {"name": "look", "description": RULES, "parameters": {"type": "object"}},
}
OWN_TOOL = {"name": "look", "description": RULES, "input_schema": {"type": "object", "properties": {}}}


def claude(url: str = "http://x", model: str = "claude-sonnet-4-5", **more: Any) -> Deployment:
    """A deployment of Anthropic's whose prompts are kept."""
    return deployment(
        url,
        "anthropic",
        model,
        **{
            "capabilities": frozenset(("tools", "prompt_caching")),
            "price": Price((Row("", 0, rates_of(RATES)),)),
            **more,
        },
    )


def system(text: str = RULES) -> dict[str, Any]:
    return {"role": "system", "content": text}


def marks(part: Any, path: str = "") -> Iterator[str]:
    """Where in a body marks stand."""
    if isinstance(part, dict):
        if "cache_control" in part:
            assert part["cache_control"] == {"type": "ephemeral"}
            yield path
        for name, one in part.items():
            yield from marks(one, f"{path}.{name}" if path else name)
    elif isinstance(part, list):
        for place, one in enumerate(part):
            yield from marks(one, f"{path}[{place}]")


def chat(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"messages": list(messages), "max_tokens": 9, **more}


@pytest.fixture
async def engines() -> AsyncIterator[tuple[Engine, Engine]]:
    """Both, each with a memory of its own."""
    preparers = [Preparer({"SIM_KEY": KEY}) for _ in range(2)]
    general, other = (LiteLLMEngine(Proxies(), preparer) for preparer in preparers)
    fast = DirectEngine(Proxies(), preparers[1], other)
    yield general, fast
    await fast.aclose()
    await general.aclose()
    await other.aclose()
    for preparer in preparers:
        await preparer.aclose()


@pytest.mark.parametrize(
    ("operation", "body", "marked"),
    [
        (Operation.CHAT, chat(system(), ASKED), ["system[0]"]),
        (Operation.CHAT, chat({**system(), "role": "developer"}, ASKED), ["system[0]"]),
        (Operation.CHAT, chat(system("Be kind."), system(), ASKED), ["system[1]"]),
        (Operation.CHAT, chat(ASKED, tools=[TOOL]), ["tools[0]"]),
        (Operation.CHAT, chat(system("Be kind."), ASKED, tools=[TOOL]), ["system[0]"]),
        (
            Operation.CHAT,
            chat(system(), ASKED, ANSWERED, NEXT),
            ["messages[1].content[0]", "system[0]"],
        ),
        (
            Operation.CHAT,
            chat(
                {"role": "user", "content": RULES},
                {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]},
                NEXT,
            ),
            ["messages[1].content[0]"],
        ),
        (
            Operation.CHAT,
            chat(ASKED, CALLED, *RESULTS, tools=[TOOL]),
            ["messages[1].content[2]", "tools[0]"],
        ),
        (Operation.MESSAGES, chat(ASKED, system=RULES), ["system[0]"]),
        (
            Operation.MESSAGES,
            chat(ASKED, system=[{"type": "text", "text": RULES}], tools=[OWN_TOOL]),
            ["system[0]"],
        ),
        (Operation.MESSAGES, chat(ASKED, tools=[OWN_TOOL]), ["tools[0]"]),
        (
            Operation.MESSAGES,
            chat(ASKED, ANSWERED, NEXT, system=RULES),
            ["messages[1].content[0]", "system[0]"],
        ),
        (
            Operation.MESSAGES,
            chat(
                ASKED,
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "c1", "name": "look", "input": {}}],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "21"}]},
                tools=[OWN_TOOL],
            ),
            ["messages[1].content[0]", "tools[0]"],
        ),
        (
            Operation.RESPONSES,
            {"instructions": RULES, "input": "Is it warm?", "max_output_tokens": 9},
            ["system[0]"],
        ),
    ],
)
async def test_what_is_sent_twice_is_marked_by_both_engines_alike(
    operation: Operation,
    body: dict[str, Any],
    marked: list[str],
    simulator: Simulator,
    engines: tuple[Engine, Engine],
) -> None:
    upstream = []
    for engine in engines:
        for expected in ([], marked):
            found = await seen(
                engine, simulator, claude(simulator.url), body, operation=operation, stream=False, read=list
            )
            assert not found.error
            (sent,) = found.upstream
            assert expected == sorted(marks(sent["body"]))
            # LiteLLM says of a message that it is not streamed.
            sent["body"].pop("stream", None)
        upstream.append(found.upstream)

    assert upstream[0] == upstream[1]


@pytest.mark.parametrize("operation", [Operation.CHAT, Operation.MESSAGES])
@pytest.mark.parametrize(
    "body",
    [
        chat(
            {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": dict(MARK)}]},
            system=RULES,
        ),
        chat(system(), ASKED, cache_control=dict(MARK)),
        chat(ASKED, tools=[{**TOOL, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]),
    ],
    ids=["message", "whole", "tool"],
)
def test_what_a_caller_marked_stays_as_it_is(operation: Operation, body: dict[str, Any]) -> None:
    memory = CacheMarks()

    for _ in range(3):
        assert body is memory.marked(claude(), operation, body)


def test_a_text_that_only_speaks_of_marks_is_none() -> None:
    memory = CacheMarks()
    body = chat(system(RULES + '{"cache_control": {"type":"ephemeral"}} "cache_control":{}'), ASKED)

    memory.marked(claude(), Operation.CHAT, body)

    assert ["messages[0].content[0]"] == list(marks(memory.marked(claude(), Operation.CHAT, body)))


@pytest.mark.parametrize(
    "called",
    [
        deployment("http://x", "openai", "gpt-4o"),
        replace(claude(), provider="bedrock"),
        replace(claude(), provider="openrouter"),
        claude(capabilities=frozenset(("tools",))),
        claude(params={"cache_control_injection_points": [{"location": "message", "role": "system"}]}),
        claude(price=Price((Row("", 0, rates_of({"input": 1_000_000, "output": 4_000_000})),))),
        # It keeps 4,096 tokens at least.
        claude(model="claude-haiku-4-5"),
    ],
    ids=["openai", "bedrock", "openrouter", "turned off", "configured", "no rebate", "too short"],
)
def test_nothing_is_marked_where_it_would_not_pay(called: Deployment) -> None:
    memory = CacheMarks()

    for _ in range(3):
        assert not list(marks(memory.marked(called, Operation.CHAT, chat(system(), ASKED, ANSWERED, NEXT))))


def test_a_start_is_forgotten_when_its_provider_has_forgotten_it() -> None:
    # Each use keeps it for as long again.
    times = iter((0.0, KEPT_S - 1, 2 * KEPT_S - 2, 3 * KEPT_S - 2))
    memory = CacheMarks(lambda: next(times))
    body = chat(system(), ASKED)

    found = [any(marks(memory.marked(claude(), Operation.CHAT, body))) for _ in range(4)]

    assert [False, True, True, False] == found


def test_starts_are_told_apart_by_deployment_and_text() -> None:
    memory = CacheMarks()
    memory.marked(claude(), Operation.CHAT, chat(system(), ASKED))

    assert not list(marks(memory.marked(claude(id="other"), Operation.CHAT, chat(system(), ASKED))))
    assert not list(marks(memory.marked(claude(), Operation.CHAT, chat(system(RULES + "!"), ASKED))))


def test_a_conversation_is_marked_to_its_latest_answer_and_never_in_what_the_caller_holds() -> None:
    memory = CacheMarks()
    turns = [{"role": "user", "content": RULES}, ANSWERED, NEXT]
    memory.marked(claude(), Operation.CHAT, chat(*turns))
    turns += [{"role": "assistant", "content": "Colder."}, {"role": "user", "content": "Why?"}]
    body = chat(*turns)

    assert ["messages[3]"] == list(marks(memory.marked(claude(), Operation.CHAT, body)))
    assert not list(marks(body))
    # An answer that the model is to go on with is not yet one.
    begun = chat(*turns, {"role": "assistant", "content": "Because"})
    assert ["messages[3]"] == list(marks(memory.marked(claude(), Operation.CHAT, begun)))


def test_thoughts_and_empty_texts_carry_no_mark() -> None:
    memory = CacheMarks()
    thought = {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}]}
    empty = {"role": "assistant", "content": ""}

    for _ in range(2):
        for answer in (thought, empty):
            body = chat({"role": "user", "content": RULES}, answer, NEXT)
            assert not list(marks(memory.marked(claude(), Operation.MESSAGES, body)))


def test_what_is_remembered_is_bounded() -> None:
    memory = CacheMarks()

    for number in range(REMEMBERED + 1):
        memory.marked(claude(), Operation.CHAT, chat(system(f"{number} {RULES}"), ASKED))

    assert not list(marks(memory.marked(claude(), Operation.CHAT, chat(system(f"0 {RULES}"), ASKED))))
    assert list(marks(memory.marked(claude(), Operation.CHAT, chat(system(f"{REMEMBERED} {RULES}"), ASKED))))


def test_the_dearest_that_a_write_can_cost_is_reserved() -> None:
    price = claude().price

    assert price.bound(1_000_000, 0) >= RATES["cache_write"]
