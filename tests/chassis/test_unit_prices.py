"""What pictures, characters and seconds cost, and what is reserved for them."""

from typing import Any

import pytest

from services.chassis import prices, unit_prices
from services.chassis.prices import FREE, Price
from services.chassis.unit_prices import UnitRates, Units
from tests.chassis.test_prices import Tokens, known

DALL_E = (("standard/1024x1024", 40), ("standard/1024x1792", 80), ("hd/1024x1024", 80), ("hd/1024x1792", 120))


@pytest.mark.parametrize(
    ("image", "nano_usd"),
    [
        ("", 40),
        ("hd/", 80),
        ("/1024x1792", 80),
        ("hd/1024x1792", 120),
        ("auto/1024x1024", 80),
        ("auto/auto", 120),
        # Nobody knows what that costs: no less than all others.
        ("hd/4096x4096", 120),
    ],
)
def test_a_picture_costs_by_quality_and_size_and_the_dearest_where_the_model_chooses(
    image: str, nano_usd: int
) -> None:
    assert 3 * nano_usd == UnitRates(images=DALL_E).cost(Units(images=3, image=image))


def test_characters_and_seconds_are_rounded_up_once() -> None:
    rates = UnitRates(character=15_000, second=1_000_000)

    assert 1 == rates.cost(Units(characters=1))
    assert 15 == rates.cost(Units(characters=1000))
    assert 2 == rates.cost(Units(audio_ms=1001))


@pytest.mark.parametrize(
    ("provider", "model", "units", "nano_usd"),
    [
        ("openai", "tts-1", Units(characters=1000), 15_000_000),
        ("openai", "whisper-1", Units(audio_ms=60_000), 6_000_000),
        ("groq", "whisper-large-v3", Units(audio_ms=1000), 30_830),
        ("azure", "dall-e-3", Units(images=1, image="hd/1024x1792"), 132_000_000),
        ("gemini", "imagen-3.0-generate-001", Units(images=2), 80_000_000),
    ],
)
def test_the_table_knows_what_units_cost(provider: str, model: str, units: Units, nano_usd: int) -> None:
    price = known(provider, model)

    assert nano_usd == price.cost(Tokens(), units=units).total == price.bound(0, 0, units=units)
    assert not price.free


def test_tokens_that_are_reported_are_what_is_paid_and_the_dearer_bound_is_reserved() -> None:
    price = known("openai", "gpt-4o-transcribe")
    minute = Units(audio_ms=60_000)

    assert 6_000_000 == price.cost(Tokens(), units=minute).fees
    spent = price.cost(Tokens(600, 100, audio_prompt_tokens=600), units=minute)
    assert (1_500_000, 1_000_000, 0) == (spent.input, spent.output, spent.fees)
    assert 20_000_000 + 1_500_000 == price.bound(600, 2000, units=minute)
    assert 6_000_000 == price.bound(600, 10, units=minute)


def test_tokens_of_pictures_cost_more_than_those_of_text() -> None:
    price = known("openai", "gpt-image-1.5")

    assert 32_000 * 1000 + 10_000 * 50 == price.cost(Tokens(0, 1050, image_completion_tokens=1000)).output


def test_an_operator_states_what_units_cost() -> None:
    price = prices.overridden(None, {"input_cost_per_second": 0.0002})

    assert price is not None
    assert (200_000, False) == (price.cost(Tokens(), units=Units(audio_ms=1000)).total, price.free)
    assert known("openai", "tts-1") != prices.overridden(
        known("openai", "tts-1"), {"input_cost_per_character": 0}
    )


@pytest.mark.parametrize("wrong", [-1, 101, "much", True])
def test_a_price_that_is_none_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="output_cost_per_image: expected US dollars, from 0 to 100"):
        unit_prices.stated({"output_cost_per_image": wrong})


def test_what_costs_nothing_by_unit_is_free() -> None:
    assert Price(FREE.rows, units=UnitRates()).free
