"""What is billed by another measure than tokens: pictures by the piece, speech by the character, sound by the second.

A provider that reports tokens for such a call is paid by them, where the table prices them; the measures here are for
all others. Rates are integers, as those of tokens are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from services.chassis.money import nano, nano_per_million

# A million characters, or a million seconds in milliseconds.
_MILLION, _MILLION_S = 10**6, 10**9
# LiteLLM's names of the rates, those of the map and of an operator's configuration; the first that is there counts.
WORDS: Mapping[str, tuple[str, ...]] = {
    "image": ("output_cost_per_image", "input_cost_per_image"),
    "character": ("input_cost_per_character",),
    "second": ("input_cost_per_second", "output_cost_per_second"),
}
OVERRIDES = frozenset(word for words in WORDS.values() for word in words)
# What a caller gets who asks for no quality or size: OpenAI's, of the models that are priced by them.
_USUAL = ("standard", "1024x1024")
# The most that an operator may state for one picture, character or second, in US dollars.
_MOST_USD = 100


@dataclass(frozen=True, slots=True)
class Units:
    """What a call is measured by beside tokens.

    Args:
        images: How many pictures.
        image: Which ones, as quality/size; a part that is empty is the usual one, and auto the model's choice.
        characters: The length of the text that is to be spoken.
        audio_ms: The length of the sound that is heard or spoken, in milliseconds.

    """

    images: int = 0
    image: str = ""
    characters: int = 0
    audio_ms: int = 0


NO_UNITS = Units()


@dataclass(frozen=True, slots=True)
class UnitRates:
    """What units cost; 0 is not billed by that measure.

    Args:
        image: A picture in nano-USD.
        images: Pictures of a quality and size that cost something else, as (quality/size, nano-USD).
        character: A million characters in nano-USD.
        second: A million seconds in nano-USD.

    """

    image: int = 0
    images: tuple[tuple[str, int], ...] = ()
    character: int = 0
    second: int = 0

    @property
    def free(self) -> bool:
        """Whether nothing is billed by any of these measures."""
        return not any(getattr(self, item.name) for item in fields(self))

    def cost(self, units: Units) -> int:
        """What units cost, in nano-USD, rounded up; of pictures that are the model's choice the dearest counts."""
        by_character = -(-units.characters * self.character // _MILLION)
        by_second = -(-units.audio_ms * self.second // _MILLION_S)
        return units.images * self._image(units.image) + by_character + by_second

    def _image(self, image: str) -> int:
        quality, _, size = image.partition("/")
        wanted = [part or usual for part, usual in zip((quality, size), _USUAL, strict=True)]
        matching = [
            rate
            for name, rate in self.images
            if all(one in ("auto", other) for one, other in zip(wanted, name.split("/"), strict=True))
        ]
        return max(matching, default=max([self.image, *(rate for _, rate in self.images)]))


def stated(info: Mapping[str, Any]) -> UnitRates | None:
    """The rates that an operator states, in LiteLLM's words and US dollars; None where there are none.

    Raises:
        ValueError: a rate that is no number from 0 to 100.
    """
    given = {name: _rate(info, words) for name, words in WORDS.items()}
    if all(usd is None for usd in given.values()):
        return None
    return UnitRates(
        image=nano(given["image"] or "0"),
        character=nano_per_million(given["character"] or "0"),
        second=nano_per_million(given["second"] or "0"),
    )


def listed(entry: Mapping[str, Any]) -> UnitRates | None:
    """The rates of an entry of the price table's data; None where it has none."""
    if (rates := entry.get("units")) is None:
        return None
    return UnitRates(
        rates.get("image", 0),
        tuple(rates.get("images", {}).items()),
        rates.get("character", 0),
        rates.get("second", 0),
    )


def _rate(info: Mapping[str, Any], words: tuple[str, ...]) -> str | None:
    for word in words:
        value = info.get(word)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST_USD:
            raise ValueError(f"{word}: expected US dollars, from 0 to {_MOST_USD}")
        return str(value)
    return None
