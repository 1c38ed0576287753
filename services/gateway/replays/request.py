"""One request of the past: what the ledger has of it, what is selected for it now, and what follows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

from services.chassis.prices import Price
from services.chassis.unit_prices import NO_UNITS, Units
from services.gateway.ledger.rows import Kind
from services.gateway.replays.answer_lengths import AnswerLengths


class Excluded(StrEnum):
    """Why a request is in no sum."""

    NOT_RECORDED = "nothing was recorded for a replay: an older version, no selector, or its user was erased"
    TOO_MANY_STATES = "more deployments were out of the ordinary than are recorded"
    NOT_JUDGED = "this version of the classifier did not judge it"
    PLAN = "its plan is not in the other configuration"
    NO_ATTEMPT = "no attempt of it is in the ledger"
    NO_ANSWER = "nothing answered it then, and what would answer now is not known"
    UNPRICED_THEN = "nobody knows what it cost"
    UNPRICED_NOW = "nobody knows the price of the model that would answer"
    NO_END = "its price differs, and its tokens are not known"
    REFUSED = "the other configuration refuses it"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an attempt used, as far as the ledger keeps it; `costs.Usage`."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    audio_prompt_tokens: int = 0
    audio_completion_tokens: int = 0
    web_searches: int = 0
    cache_write_1h_tokens: int = 0
    image_completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt of then; its cost is None where nobody knows it.

    Where it is a bound, the tokens are only those that were seen.
    """

    deployment: str
    model: str
    kind: Kind
    cost_nano_usd: int | None
    tokens: Tokens
    bound: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A request of then; prices and qualities are by the candidates, in their order."""

    request_id: str
    day: date
    plan: str
    category: str
    powerful: bool
    attempts: tuple[Attempt, ...]
    candidates: tuple[str, ...] = ()
    price_ids: tuple[int, ...] = ()
    qualities: tuple[float, ...] = ()
    units: Units = NO_UNITS
    # The most tokens of all its answers; 0 where there is no cap.
    most_tokens: int = 0

    @property
    def last(self) -> Attempt:
        """The attempt that answered, or the last one that was made."""
        return self.attempts[-1]

    @property
    def cached(self) -> bool:
        """Whether the gateway's cache answered it."""
        return self.last.kind is Kind.CACHED

    @property
    def answered(self) -> bool:
        """Whether any of an answer came."""
        return self.last.kind is not Kind.FAILED

    def quality(self, deployment: str) -> float | None:
        """How good a deployment was taken to be at this task; None where that is not known."""
        known = dict(zip(self.candidates, self.qualities, strict=False))
        return known.get(deployment)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A candidate of now; `always` is whether it may be tried without a cause."""

    deployment: str
    model: str
    quality: float
    always: bool = True


@dataclass(frozen=True, slots=True)
class Choice:
    """What is selected now."""

    powerful: bool
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A request then and now, in nano-USD.

    Attributes:
        request: The request.
        model: Which model answers now.
        powerful: Whether it is a powerful request now.
        then: What it cost.
        now: What it costs now.
        quality: How good the answering models are taken to be, then and now; None where one is not known.
        estimated: What of `now` is the price of output tokens that are estimated.
        pair: The models and the category whose lengths of answers the estimate rests on.

    """

    request: Request
    model: str
    powerful: bool
    then: int
    now: int
    quality: tuple[float, float] | None
    estimated: int = 0
    pair: tuple[str, str, str] | None = None

    @property
    def moved(self) -> bool:
        """Whether another model answers."""
        return self.model != self.request.last.model


def of(
    request: Request, choice: Choice, prices: Mapping[str, Price], lengths: AnswerLengths
) -> Outcome | Excluded:
    """What becomes of a request.

    What failed then fails now, and what was passed over then is passed over now. An answer by the deployment of then
    has its real tokens; at another, output tokens are estimated from the lengths of the two models' answers.
    """
    if any(one.cost_nano_usd is None for one in request.attempts):
        return Excluded.UNPRICED_THEN
    then = sum(one.cost_nano_usd or 0 for one in request.attempts)
    chosen = _answering(request, choice.candidates)
    if chosen is None:
        return Excluded.NO_ANSWER
    last = request.last
    was = request.quality(last.deployment)
    if was is None:
        was = next((one.quality for one in choice.candidates if one.deployment == last.deployment), None)
    again = _made_again(request, choice.candidates, chosen)
    if chosen.deployment == last.deployment:
        total = 0
        for one in again:
            cost = _repriced(request, one, prices)
            if isinstance(cost, Excluded):
                return cost
            total += cost
        quality = None if was is None else (was, was)
        return Outcome(request, last.model, choice.powerful, then, total, quality)
    if not request.answered or last.bound:
        return Excluded.NO_ANSWER
    price = prices.get(chosen.deployment)
    if price is None or not price.known:
        return Excluded.UNPRICED_NOW
    pair = (chosen.model, last.model, request.category)
    tokens = _scaled(last.tokens, lengths.ratio(*pair), request.most_tokens)
    earlier = sum(one.cost_nano_usd or 0 for one in again)
    estimated = price.cost(tokens, units=request.units)
    return Outcome(
        request,
        chosen.model,
        choice.powerful,
        then,
        earlier + estimated.total,
        None if was is None else (was, chosen.quality),
        estimated.output,
        pair,
    )


def _answering(request: Request, candidates: Sequence[Candidate]) -> Candidate | None:
    """The first candidate that answers, after those that failed then or were passed over."""
    answered = request.last.deployment
    listed = request.candidates
    passed = {one.deployment for one in request.attempts}
    if answered in listed:
        passed.update(listed[: listed.index(answered)])
    passed.discard(answered)
    for one in candidates:
        if one.deployment == answered or (one.always and one.deployment not in passed):
            return one
    return None


def _made_again(request: Request, candidates: Sequence[Candidate], chosen: Candidate) -> list[Attempt]:
    """The attempts of then that are made now as well, all but those at candidates that come no more before the answer.

    A class of errors may have led to candidates further down, which is so now, too, where the same one answers.
    """
    now = {one.deployment for one in candidates[: candidates.index(chosen)]}
    if chosen.deployment == request.last.deployment:
        listed = request.candidates
        then = listed[: listed.index(chosen.deployment)] if chosen.deployment in listed else ()
        return [one for one in request.attempts if one.deployment in now or one.deployment not in then]
    return [one for one in request.attempts if one.deployment in now]


def _repriced(request: Request, attempt: Attempt, prices: Mapping[str, Price]) -> int | Excluded:
    """What an attempt of then costs at the prices of now, or why that is not known."""
    was = dict(zip(request.candidates, request.price_ids, strict=False)).get(attempt.deployment)
    price = prices.get(attempt.deployment)
    if attempt.kind is Kind.FAILED or price is None or was == price.ident:
        return attempt.cost_nano_usd or 0
    if not price.known:
        return Excluded.UNPRICED_NOW
    if attempt.bound:
        return Excluded.NO_END
    return price.cost(attempt.tokens, units=request.units).total


def _scaled(tokens: Tokens, ratio: float, most: int) -> Tokens:
    """Tokens with an answer so many times as long, and no longer than the request permits."""
    if most and tokens.completion_tokens:
        ratio = min(ratio, max(1.0, most / tokens.completion_tokens))
    return replace(
        tokens,
        completion_tokens=round(tokens.completion_tokens * ratio),
        reasoning_tokens=round(tokens.reasoning_tokens * ratio),
        audio_completion_tokens=round(tokens.audio_completion_tokens * ratio),
    )
