"""Usage as providers report it, and what it costs: exact, each token priced once."""

from typing import Any

import pytest

from services.chassis.prices import Price, Row, rates_of
from services.executor.engines.usage import Usage, from_chat, from_messages, from_responses

# Nano-USD for a million tokens; every rate a different prime, so that no wrong sum looks right.
RATES = {
    "input": 2_000_000_000,
    "output": 11_000_000_000,
    "cached": 300_000_000,
    "cache_write": 5_000_000_000,
    "cache_write_1h": 7_000_000_000,
    "reasoning": 13_000_000_000,
    "audio_input": 17_000_000_000,
    "audio_output": 19_000_000_000,
}
PRICE = Price(
    (
        Row("", 0, rates_of(RATES)),
        Row("", 200_000, rates_of({**RATES, "input": 4_000_000_000})),
        Row("flex", 0, rates_of({"input": 1_000_000_000, "output": 3_000_000_000})),
    )
)

# (what was reported, the tokens, the cost in nano-USD)
CHAT: dict[str, tuple[dict[str, Any], Usage, int]] = {
    "openai plain": (
        {"prompt_tokens": 100, "completion_tokens": 10},
        Usage(100, 10),
        100 * 2000 + 10 * 11000,
    ),
    "openai cached within the prompt": (
        {"prompt_tokens": 1000, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 900}},
        Usage(1000, 10, cached_tokens=900),
        100 * 2000 + 900 * 300 + 10 * 11000,
    ),
    "openai reasoning within the completion": (
        {
            "prompt_tokens": 10,
            "completion_tokens": 500,
            "completion_tokens_details": {"reasoning_tokens": 480},
        },
        Usage(10, 500, reasoning_tokens=480),
        10 * 2000 + 20 * 11000 + 480 * 13000,
    ),
    "openai audio": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "prompt_tokens_details": {"audio_tokens": 40, "cached_tokens": 20, "text_tokens": 60},
            "completion_tokens_details": {"audio_tokens": 30},
        },
        Usage(100, 50, cached_tokens=20, audio_prompt_tokens=40, audio_completion_tokens=30),
        40 * 2000 + 20 * 300 + 40 * 17000 + 20 * 11000 + 30 * 19000,
    ),
    "openai cached and image overlap": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 0,
            "prompt_tokens_details": {"cached_tokens": 150, "image_tokens": 90},
        },
        Usage(100, 0, cached_tokens=100),
        100 * 300,
    ),
    "anthropic by way of LiteLLM": (
        {
            "prompt_tokens": 1000,
            "completion_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 600, "cache_creation_tokens": 300},
            "cache_creation_input_tokens": 300,
            "cache_read_input_tokens": 600,
        },
        Usage(1000, 10, cached_tokens=600, cache_write_tokens=300),
        100 * 2000 + 600 * 300 + 300 * 5000 + 10 * 11000,
    ),
    "anthropic with an hour's cache": (
        {
            "prompt_tokens": 1000,
            "completion_tokens": 10,
            "prompt_tokens_details": {
                "cached_tokens": 0,
                "cache_creation_tokens": 900,
                "cache_creation_token_details": {
                    "ephemeral_5m_input_tokens": 500,
                    "ephemeral_1h_input_tokens": 400,
                },
            },
        },
        Usage(1000, 10, cache_write_tokens=900, cache_write_1h_tokens=400),
        100 * 2000 + 500 * 5000 + 400 * 7000 + 10 * 11000,
    ),
    "gemini by way of LiteLLM": (
        {
            "prompt_tokens": 300,
            "completion_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 100, "text_tokens": 200},
            "completion_tokens_details": {"reasoning_tokens": 100, "text_tokens": 20},
        },
        Usage(300, 120, cached_tokens=100, reasoning_tokens=100),
        200 * 2000 + 100 * 300 + 20 * 11000 + 100 * 13000,
    ),
    "deepseek": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "prompt_cache_hit_tokens": 64,
            "prompt_cache_miss_tokens": 36,
        },
        Usage(100, 10, cached_tokens=64),
        36 * 2000 + 64 * 300 + 10 * 11000,
    ),
    "deepseek in both words": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "prompt_cache_hit_tokens": 64,
            "prompt_tokens_details": {"cached_tokens": 64},
            "completion_tokens_details": {"reasoning_tokens": 4},
        },
        Usage(100, 10, cached_tokens=64, reasoning_tokens=4),
        36 * 2000 + 64 * 300 + 6 * 11000 + 4 * 13000,
    ),
    "nonsense": (
        {"prompt_tokens": "many", "completion_tokens": -5, "prompt_tokens_details": None},
        Usage(),
        0,
    ),
    "a long prompt": (
        {"prompt_tokens": 200_000, "completion_tokens": 1},
        Usage(200_000, 1),
        200_000 * 4000 + 11000,
    ),
}


@pytest.mark.parametrize("case", CHAT)
def test_chat_usage_is_priced_exactly(case: str) -> None:
    reported, usage, cost = CHAT[case]

    assert from_chat(reported) == usage
    assert PRICE.cost(usage).total == cost


def test_anthropics_own_counts_are_disjoint_and_added_up() -> None:
    reported = {
        "input_tokens": 100,
        "cache_read_input_tokens": 600,
        "cache_creation_input_tokens": 300,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200},
        "output_tokens": 10,
    }
    usage = from_messages(reported)

    assert usage == Usage(1000, 10, cached_tokens=600, cache_write_tokens=300, cache_write_1h_tokens=200)
    assert PRICE.cost(usage).total == 100 * 2000 + 600 * 300 + 100 * 5000 + 200 * 7000 + 10 * 11000


def test_responses_usage_is_openais() -> None:
    reported = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 40},
        "output_tokens": 60,
        "output_tokens_details": {"reasoning_tokens": 50},
    }
    usage = from_responses(reported)

    assert usage == Usage(100, 60, cached_tokens=40, reasoning_tokens=50)
    assert PRICE.cost(usage).total == 60 * 2000 + 40 * 300 + 10 * 11000 + 50 * 13000


def test_another_service_tier_has_rates_of_its_own() -> None:
    assert PRICE.cost(Usage(100, 10), "flex").total == 100 * 1000 + 10 * 3000
    assert PRICE.cost(Usage(100, 10), "unheard of").total == PRICE.cost(Usage(100, 10)).total


def test_a_cost_is_rounded_once_and_half_up() -> None:
    third = Price((Row("", 0, rates_of({"input": 333_333, "output": 0})),))

    assert third.cost(Usage(1)).total == 0
    assert third.cost(Usage(3)).total == 1
    assert third.cost(Usage(1500)).total == 500


def test_no_cost_passes_the_bound_of_its_tokens() -> None:
    for reported, usage, _ in CHAT.values():
        assert PRICE.cost(usage).total <= PRICE.bound(usage.prompt_tokens, usage.completion_tokens), reported
