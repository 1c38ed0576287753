"""Bounds and costs in whole nano-dollars."""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis import money, prices
from services.chassis.costs import Cost
from services.chassis.prices import Price, Row, WebSearch, rates_of


@dataclass(frozen=True)
class Tokens:
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    audio_prompt_tokens: int = 0
    audio_completion_tokens: int = 0
    image_completion_tokens: int = 0
    web_searches: int = 0


def known(provider: str, model: str) -> Price:
    listing = prices.listing(provider, model)
    assert listing is not None
    return listing.price


def test_a_price_finer_than_a_nano_dollar_a_token_is_exact() -> None:
    assert money.nano_per_million(3.75e-08) == 37_500_000


def test_long_prompts_cost_what_long_prompts_cost() -> None:
    gemini = known("gemini", "gemini-2.5-pro")

    assert gemini.cost(Tokens(prompt_tokens=200_000)).total == 250_000_000
    assert gemini.cost(Tokens(prompt_tokens=200_001)).total == 500_002_500


def test_a_service_tier_costs_what_it_costs_and_an_unknown_one_the_standard() -> None:
    gpt = known("openai", "gpt-4o")

    assert [2_500_000, 4_250_000, 2_500_000] == [
        gpt.cost(Tokens(prompt_tokens=1000), tier).total for tier in ("", "priority", "default")
    ]


def test_a_cost_is_rounded_once_and_half_up() -> None:
    price = Price((Row("", 0, rates_of({"input": 250_000, "output": 250_000})),))

    assert [0, 1, 1] == [
        price.cost(Tokens(1)).total,
        price.cost(Tokens(1, 1)).total,
        price.cost(Tokens(3)).total,
    ]


def test_an_operator_may_name_only_what_differs() -> None:
    price = prices.overridden(known("openai", "gpt-4o"), {"input_cost_per_token": 1e-06})

    assert price is not None
    assert (1_000_000_000, 10_000_000_000) == (price.rates.input, price.rates.output)
    # Whoever says what input costs says it of cached input too, unless he names that.
    assert price.rates.cached == 1_000_000_000


@pytest.mark.parametrize("value", [-1e-6, 2.5, True, "free", float("nan")])
def test_an_impossible_price_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="input_cost_per_token"):
        prices.overridden(None, {"input_cost_per_token": value})


@pytest.mark.parametrize(
    ("provider", "model", "fee"),
    [
        ("openai", "gpt-4o-search-preview", 25_000_000),
        ("openai", "gpt-5-search-api", 10_000_000),
        ("perplexity", "sonar", 12_000_000),
        ("openai", "gpt-4o", 0),
        ("anthropic", "claude-sonnet-4-5", 0),
    ],
)
def test_a_model_that_searches_unasked_costs_its_fee_in_every_bound_and_cost(
    provider: str, model: str, fee: int
) -> None:
    price = known(provider, model)

    assert (fee, fee) == (price.bound(0, 0), price.cost(Tokens()).total)


def test_a_model_that_searches_as_often_as_it_likes_has_no_price() -> None:
    assert prices.listing("openai", "o3-deep-research") is None
    assert prices.listing("perplexity", "sonar-deep-research") is None


def test_an_operator_may_name_a_fee_of_his_own() -> None:
    sonar = known("perplexity", "sonar")

    own = prices.overridden(sonar, {"input_cost_per_request": 0.006})
    cheaper = prices.overridden(sonar, {"input_cost_per_token": 1e-7})
    free = prices.overridden(
        sonar, {"input_cost_per_token": 0, "output_cost_per_token": 0, "input_cost_per_request": 0}
    )

    assert own is not None
    assert (6_000_000, sonar.rows) == (own.per_request, own.rows)
    assert cheaper is not None
    assert 12_000_000 == cheaper.per_request
    assert not cheaper.free
    assert free is not None
    assert free.free


@pytest.mark.parametrize("value", [-1, 101, True, "free", float("nan")])
def test_an_impossible_fee_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="input_cost_per_request"):
        prices.overridden(None, {"input_cost_per_token": 0, "input_cost_per_request": value})


COUNTS = st.integers(0, 300_000)
MODELS = st.sampled_from(
    [
        ("openai", "gpt-4o"),
        ("openai", "gpt-5"),
        ("anthropic", "claude-sonnet-4-5"),
        ("gemini", "gemini-2.5-pro"),
        ("deepseek", "deepseek-chat"),
        ("perplexity", "sonar-pro"),
    ]
)


@given(MODELS, COUNTS, COUNTS, st.data())
def test_no_cost_exceeds_its_bound(model: tuple[str, str], prompt: int, output: int, data: Any) -> None:
    cached = data.draw(st.integers(0, prompt))
    written = data.draw(st.integers(0, prompt - cached))
    tokens = Tokens(
        prompt_tokens=prompt,
        completion_tokens=output,
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=data.draw(st.integers(0, written)),
        reasoning_tokens=data.draw(st.integers(0, output)),
    )
    price = known(*model)

    for tier in ("", "priority", "flex"):
        assert price.cost(tokens, tier).total <= price.bound(prompt, output)


def test_each_token_is_in_one_part_of_the_cost_and_the_parts_add_up() -> None:
    known = {"input": 2_500_000, "cached": 500_000, "cache_write": 3_000_000, "output": 10_000_000}
    price = Price((Row("", 0, rates_of(known)),), 7, web_search=WebSearch(100, 10))
    tokens = Tokens(
        prompt_tokens=10,
        cached_tokens=3,
        cache_write_tokens=2,
        completion_tokens=4,
        reasoning_tokens=1,
        web_searches=2,
    )

    # 5 x 2.5 + 2 x 3 = 18.5, and 3 x 0.5 = 1.5 that the rounding of the sum takes from.
    assert Cost(input=19, cached=1, output=40, fees=207) == price.cost(tokens)
    assert 267 == price.cost(tokens).total


@given(st.integers(0, 20_000), st.integers(0, 5000), st.lists(st.integers(0, 10_000), max_size=6), st.data())
def test_no_search_costs_more_than_its_bound(prompt: int, output: int, results: list[int], data: Any) -> None:
    """The provider reads everything so far anew after each search, and bills all of it."""
    price = replace(known("anthropic", "claude-sonnet-4-5"), web_search=WebSearch(10_000_000, 10_000))
    read = prompt
    billed, said = prompt, 0
    for tokens in results:
        written = data.draw(st.integers(0, output - said))
        said += written
        read += written + tokens
        billed += read
    cost = price.cost(
        Tokens(prompt_tokens=billed, completion_tokens=output, web_searches=len(results)),
    ).total

    assert cost <= price.bound(prompt, output, searches=len(results))


@pytest.mark.parametrize(
    ("info", "says"),
    [
        ({"web_search_cost_per_use": 0.01}, "web_search_tokens_per_use"),
        ({"web_search_tokens_per_use": 100}, "web_search_cost_per_use"),
        ({"web_search_cost_per_use": -1, "web_search_tokens_per_use": 100}, "web_search_cost_per_use"),
        ({"web_search_cost_per_use": 0.01, "web_search_tokens_per_use": 1.5}, "web_search_tokens_per_use"),
    ],
)
def test_a_search_needs_a_fee_and_its_tokens(info: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        prices.web_search(info)


def test_what_is_not_stated_of_searches_has_no_price() -> None:
    assert prices.web_search({}) is None
    assert WebSearch(10_000_000, 500) == prices.web_search(
        {"web_search_cost_per_use": 0.01, "web_search_tokens_per_use": 500}
    )
