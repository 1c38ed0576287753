"""The one price table: what an attempt may cost, and what it did cost.

Rates are integer nano-USD per million tokens, so that sums are exact; a cost is rounded once, when an attempt's
tokens are priced. The data comes from LiteLLM's map (`scripts/prices.py`), overridden by the configuration.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from services.chassis import costs, unit_prices
from services.chassis.costs import MTOK, Cost, Usage
from services.chassis.money import nano, nano_per_million
from services.chassis.unit_prices import NO_UNITS, UnitRates, Units

DATA = Path(__file__).parent / "data" / "prices.json"
# What the contract can say of a cost: far beyond any budget.
MOST_NANO_USD = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Rates:
    """What a million tokens of each kind cost, in nano-USD."""

    input: int
    output: int
    cached: int
    cache_write: int
    cache_write_1h: int
    reasoning: int
    audio_input: int
    audio_output: int
    image_output: int

    @property
    def dearest_input(self) -> int:
        """The most a million prompt tokens can cost, whatever becomes of them."""
        return max(self.input, self.cached, self.cache_write, self.cache_write_1h, self.audio_input)

    @property
    def dearest_output(self) -> int:
        """The most a million completion tokens can cost."""
        return max(self.output, self.reasoning, self.audio_output, self.image_output)


@dataclass(frozen=True, slots=True)
class Row:
    """Rates that hold for a service tier ("" is the standard one) from so many prompt tokens on."""

    service_tier: str
    from_tokens: int
    rates: Rates


@dataclass(frozen=True, slots=True)
class WebSearch:
    """What a search of the web costs that a provider makes while it answers.

    Args:
        nano_usd: The fee for one search.
        tokens: The most that its results add to the prompt.

    """

    nano_usd: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Price:
    """All rates of one deployment; the first row is the standard one from the first token.

    Args:
        rows: The rates.
        per_request: What a request costs beside its tokens, in nano-USD: the fee of models that search unasked.
        known: False where nobody knows what calls cost; then every rate is 0, and no sum says anything.
        web_search: What a search costs; None where that is not stated, and so none may be asked for.
        units: What pictures, characters and seconds cost where no tokens are reported for them; None where nobody
            knows.

    """

    rows: tuple[Row, ...]
    per_request: int = 0
    known: bool = True
    web_search: WebSearch | None = None
    units: UnitRates | None = None

    @property
    def rates(self) -> Rates:
        """The standard rates."""
        return self.rows[0].rates

    @property
    def ident(self) -> int:
        """A number of 64 bits that stands for the whole price: two prices share it only when they are equal."""
        return int.from_bytes(hashlib.blake2b(repr(self).encode(), digest_size=8).digest())

    @property
    def by_token(self) -> bool:
        """Whether any token is billed."""
        return any(row.rates.dearest_input or row.rates.dearest_output for row in self.rows)

    @property
    def free(self) -> bool:
        """Whether nothing is ever billed, as far as anybody can say so."""
        fees = self.per_request or (self.web_search and self.web_search.nano_usd)
        units = self.units is not None and not self.units.free
        return self.known and not (fees or units or self.by_token)

    def bound(
        self,
        prompt_tokens: int,
        output_tokens: int,
        choices: int = 1,
        searches: int = 0,
        units: Units = NO_UNITS,
    ) -> int:
        """The most that one attempt can cost, in nano-USD, rounded up; never more than fits into 64 bits.

        Args:
            prompt_tokens: An upper bound of the prompt.
            output_tokens: The cap of one answer.
            choices: The number of answers.
            searches: How often the web may be searched for each of them.
            units: What is billed where the provider reports no tokens.
        """
        fees = self.per_request
        if searches and self.web_search is not None:
            fees += choices * searches * self.web_search.nano_usd
            # After each search the model reads the prompt again, what it has written, and the results of all so far.
            again = searches * (prompt_tokens + output_tokens)
            results = self.web_search.tokens * searches * (searches + 1) // 2
            prompt_tokens = prompt_tokens + choices * (again + results)
        reachable = [row.rates for row in self.rows if row.from_tokens <= prompt_tokens]
        dearest = prompt_tokens * max(
            rates.dearest_input for rates in reachable
        ) + choices * output_tokens * max(rates.dearest_output for rates in reachable)
        by_unit = self.units.cost(units) if self.units else 0
        return min(MOST_NANO_USD, fees + max(-(-dearest // MTOK), by_unit))

    def cost(self, usage: Usage, service_tier: str = "", units: Units = NO_UNITS) -> Cost:
        """What an attempt cost, each token priced once, their sum rounded half up; without tokens, its units."""
        rates = self._row(usage.prompt_tokens, service_tier).rates
        plain_input = (
            usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens - usage.audio_prompt_tokens
        )
        plain_output = (
            usage.completion_tokens
            - usage.reasoning_tokens
            - usage.audio_completion_tokens
            - usage.image_completion_tokens
        )
        tokens = usage.prompt_tokens or usage.completion_tokens
        by_unit = self.units.cost(units) if self.units and not tokens else 0
        searched = usage.web_searches * self.web_search.nano_usd if self.web_search else 0
        return costs.rounded(
            input=max(0, plain_input) * rates.input
            + (usage.cache_write_tokens - usage.cache_write_1h_tokens) * rates.cache_write
            + usage.cache_write_1h_tokens * rates.cache_write_1h
            + usage.audio_prompt_tokens * rates.audio_input,
            cached=usage.cached_tokens * rates.cached,
            output=max(0, plain_output) * rates.output
            + usage.reasoning_tokens * rates.reasoning
            + usage.audio_completion_tokens * rates.audio_output
            + usage.image_completion_tokens * rates.image_output,
            fees=self.per_request + searched + by_unit,
        )

    def _row(self, prompt_tokens: int, service_tier: str) -> Row:
        fitting = [row for row in self.rows if row.from_tokens <= prompt_tokens]
        tiered = [row for row in fitting if row.service_tier == service_tier]
        return max(
            tiered or [row for row in fitting if not row.service_tier], key=lambda row: row.from_tokens
        )


@dataclass(frozen=True, slots=True)
class Listing:
    """What the table knows of a model: price, limits in tokens (0 when unknown), and abilities."""

    provider: str
    mode: str
    price: Price
    context_window: int
    max_output_tokens: int
    capabilities: frozenset[str]


# LiteLLM's names of the rates: the file's, and those an operator writes in the configuration.
FIELDS: Mapping[str, str] = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
    "cache_write_1h": "cache_creation_input_token_cost_above_1hr",
    "reasoning": "output_cost_per_reasoning_token",
    "audio_input": "input_cost_per_audio_token",
    "audio_output": "output_cost_per_audio_token",
    "image_output": "output_cost_per_image_token",
}
# LiteLLM's words for capabilities where ours are others.
_CAPABILITIES = {
    "function_calling": "tools",
    "parallel_function_calling": "parallel_tools",
    "response_schema": "json_schema",
    "audio_input": "audio",
    "pdf_input": "file",
}
# The same of the fee for a request.
PER_REQUEST = "input_cost_per_request"
OVERRIDES = frozenset((*FIELDS.values(), PER_REQUEST)) | unit_prices.OVERRIDES
# Ours, for a search of the web: its fee in USD, and the most tokens that its results add to the prompt.
WEB_SEARCH = ("web_search_cost_per_use", "web_search_tokens_per_use")
_FALL_BACK_ON = {
    "cached": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "reasoning": "output",
    "audio_input": "input",
    "audio_output": "output",
    "image_output": "output",
}


def capability(flag: str) -> str:
    """Our word for one of LiteLLM's flags, such as tools for supports_function_calling."""
    word = flag.removeprefix("supports_")
    return _CAPABILITIES.get(word, word)


def rates_of(known: Mapping[str, int]) -> Rates:
    """Fill the rates that are not published with those they fall back on."""
    filled = {"input": 0, "output": 0, **known}
    for name, other in _FALL_BACK_ON.items():
        filled.setdefault(name, filled[other])
    return Rates(**filled)


# The price of a deployment that nobody knows one of.
UNPRICED = Price((Row("", 0, rates_of({})),), known=False)
# The price of a deployment that costs nothing.
FREE = Price((Row("", 0, rates_of({})),))


def overridden(listed: Price | None, info: Mapping[str, Any]) -> Price | None:
    """The price after an operator's own rates, in LiteLLM's words and USD per token; None when none is known.

    Raises:
        ValueError: a rate that is not a number from 0 to 0.1 USD a token, or a fee or the price of another unit that is
            not one from 0 to 100 USD.
    """
    units = unit_prices.stated(info) or (listed.units if listed else None)
    fee = listed.per_request if listed else 0
    if info.get(PER_REQUEST) is not None:
        fee = _fee(PER_REQUEST, info[PER_REQUEST])
    given: dict[str, int] = {}
    for name, word in FIELDS.items():
        if info.get(word) is not None:
            given[name] = _rate(word, info[word])
    if not given and (listed is not None or units is not None):
        return replace(listed or FREE, per_request=fee, units=units)
    if not given:
        return None
    if listed is None:
        if "input" not in given:
            raise ValueError(f"{FIELDS['input']}: is needed beside {', '.join(FIELDS[n] for n in given)}")
        return Price((Row("", 0, rates_of(given)),), fee, units=units)
    base = {item.name: getattr(listed.rates, item.name) for item in fields(Rates)}
    # A rate for input or output holds for their parts too, unless those are given.
    for name, other in _FALL_BACK_ON.items():
        if other in given:
            given.setdefault(name, given[other])
    return Price((Row("", 0, Rates(**{**base, **given})),), fee, units=units)


def _fee(word: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise ValueError(f"{word}: expected US dollars, from 0 to 100")
    return nano(str(round(value, 9)))


def web_search(info: Mapping[str, Any]) -> WebSearch | None:
    """What an operator states of searches of the web; None where nothing is.

    Raises:
        ValueError: one of the two is missing, or no number that makes sense.
    """
    fee, tokens = (info.get(word) for word in WEB_SEARCH)
    if fee is None and tokens is None:
        return None
    # Without either of them what a search costs could not be bounded.
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 0 <= tokens <= MTOK:
        raise ValueError(f"{WEB_SEARCH[1]}: expected the most tokens that a search adds, from 0 to {MTOK}")
    return WebSearch(_fee(WEB_SEARCH[0], fee), tokens)


def _rate(word: str, value: Any) -> int:
    # A tenth of a dollar a token is beyond every price: this is the price of a million tokens.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 0.1:
        raise ValueError(f"{word}: expected US dollars per token, from 0 to 0.1")
    return nano_per_million(value)


@cache
def _table() -> tuple[str, Mapping[str, str]]:
    """LiteLLM's version, and what is known of each model as JSON: as objects all 4,000 would take 5 MiB."""
    table = orjson.loads(DATA.read_bytes())
    return table["litellm"], {name: orjson.dumps(entry).decode() for name, entry in table["models"].items()}


def version() -> str:
    """The version of LiteLLM whose map this is."""
    return _table()[0]


# Names of the table's providers whose prices are those of another one, which a configuration names.
_FAMILIES: Mapping[str, str] = {
    "azure_text": "azure",
    "bedrock_converse": "bedrock",
    "cohere_chat": "cohere",
    "fireworks_ai-embedding-models": "fireworks_ai",
    "ollama_chat": "ollama",
    "text-completion-openai": "openai",
    "vertex_ai_beta": "vertex_ai",
}
# What stands between provider and model and says how it is called, not which one it is.
_BEFORE_MODEL: Mapping[str, re.Pattern[str]] = {
    "azure": re.compile(r"^responses/"),
    "bedrock": re.compile(
        r"^(?:converse|converse_like|invoke)/|^[a-z]{2}(?:-[a-z]+)+-\d/|^[a-z-]{2,6}\.(?=[a-z0-9]+\.)"
    ),
    "openai": re.compile(r"^(?:responses|chat/completions)/"),
}
# A model that was tuned by its owner costs what the table says of all that were tuned from its base.
_TUNED = re.compile(r"^(ft:[^:]+):.*")


def family(provider: str) -> str:
    """The provider under whose name a configuration calls another name of the table."""
    if provider.startswith("vertex_ai-"):
        return "vertex_ai"
    return _FAMILIES.get(provider, provider)


def listing(provider: str, model: str) -> Listing | None:
    """What the table knows of `provider/model`, in LiteLLM's spelling; None when it does not know it."""
    _, models = _table()
    wanted = family(provider)
    for name in filter(models.__contains__, _spellings(wanted, provider, model)):
        entry = orjson.loads(models[name])
        if family(entry["provider"]) == wanted or "/" in name:
            rows = tuple(
                Row(row.get("tier", ""), row.get("from", 0), rates_of(row["rates"])) for row in entry["rows"]
            )
            return Listing(
                provider,
                entry["mode"],
                Price(rows, entry.get("request", 0), units=unit_prices.listed(entry)),
                entry["context"],
                entry["output"],
                frozenset(entry["can"]),
            )
    return None


def listed_models(provider: str) -> list[str]:
    """Every model of a provider that the table prices, without the provider and without regional spellings."""
    wanted = family(provider)
    return sorted(
        {
            model
            for name, entry in _table()[1].items()
            if family(orjson.loads(entry)["provider"]) == wanted
            and not (model := name.removeprefix(f"{wanted}/")).startswith("ft:")
            and not (wanted in _BEFORE_MODEL and "/" in model)
        }
    )


def _spellings(wanted: str, provider: str, model: str) -> Iterator[str]:
    """What the table may call a model, the most exact first."""
    before = _BEFORE_MODEL.get(wanted)
    while True:
        tuned = _TUNED.match(model)
        for name in (model, tuned[1]) if tuned else (model,):
            yield from dict.fromkeys((f"{provider}/{name}", f"{wanted}/{name}", name))
        shorter = before.sub("", model) if before else model
        if shorter == model:
            return
        model = shorter
