"""The gateway as its callers see it: models with their prices, and answers with what they cost."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import httpx

from services.chassis.money import nano
from services.gateway.evaluation.spending import Prices

# Of one call, in seconds: a long answer of a slow model.
TIMEOUT_S = 600.0
# For how long a question waits for limits and breakers, in all, before it counts as failed.
PATIENCE_S = 300.0
# What is waited where nobody says how long, doubled each time, in seconds.
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
# A limit, an overload, or a model without a healthy deployment: it passes.
PASSING = (429, 502, 503, 504)
# The request itself is refused: it is malformed, too long, or its content is against a provider's policy.
OF_REQUEST = (400, 413, 422)


class CallError(Exception):
    """Why there is no answer, in one line."""


class SpentError(CallError):
    """The key's own budget is spent: nothing more will be answered."""


class RequestRefusedError(CallError):
    """One request is refused; another one may be answered."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that may be asked; 0 is not known. Its standing is the mean of what is known of it, in percent."""

    name: str
    prices: Prices
    most_output_tokens: int = 0
    context_window: int = 0
    standing: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said.

    Attributes:
        text: Its words.
        nano_usd: What the call cost, by the answer itself.
        model: The model group that answered.
        deployment: And its deployment.
        finish: Why it ended, in OpenAI's words.
        latency_ms: As the caller saw it.

    """

    text: str
    nano_usd: int
    model: str
    deployment: str
    finish: str
    latency_ms: float

    def is_by(self, name: str) -> bool:
        """Whether the model that was meant answered, and no fallback."""
        return name in (self.model, self.deployment)


class NotFoundError(CallError):
    """What is asked for is not there, or not for this key."""


class Caller:
    """Calls one gateway with one key."""

    def __init__(self, base_url: str, key: str) -> None:
        self._http = httpx.AsyncClient(
            base_url=base_url, headers={"authorization": f"Bearer {key}"}, timeout=TIMEOUT_S, trust_env=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def models(self) -> list[str]:
        """The names of the models that the key may use, that answer now and that someone knows the price of.

        Raises:
            CallError: there is no gateway, or it refuses the key.
        """
        rows = (await self._send("GET", "/v1/models")).json()["data"]
        # `auto` is no model, and without the selector nothing but names is known.
        known = [(row["id"], row["lumni"]) for row in rows if "lumni" in row]
        return [name for name, own in known if own["available"] and own["input_usd_per_mtok"] is not None]

    async def model(self, name: str) -> Model:
        """One model by its name.

        Raises:
            CallError: there is none, it is not one model, or nobody knows its price.
        """
        row = (await self._send("GET", f"/v1/models/{name}")).json()
        own = row.get("lumni")
        if own is None:
            raise CallError(f"{name}: this is not one model, or the selector does not answer")
        if own["input_usd_per_mtok"] is None:
            raise CallError(
                f"{name}: nobody knows its price, so no budget can hold; set one in litellm_config.yaml"
            )
        prices = Prices(nano(own["input_usd_per_mtok"]), nano(own["output_usd_per_mtok"]))
        scores = [one["score"] for one in own.get("benchmarks", [])]
        standing = sum(scores) / len(scores) if scores else 0.0
        return Model(name, prices, own["max_output_tokens"] or 0, own["context_window"] or 0, standing)

    async def read(self, path: str, params: Mapping[str, Any]) -> Any:
        """What an admin may read, as JSON.

        Raises:
            NotFoundError: it is not there.
            CallError: the gateway refuses, or there is none.
        """
        return (await self._send("GET", path, params=params)).json()

    async def ask(self, model: str, messages: Sequence[dict[str, str]], answer_tokens: int) -> Answer:
        """Ask one model, waiting for its limits.

        Raises:
            SpentError: the key has nothing left.
            RequestRefusedError: this will not be answered, and something else may be.
            CallError: there is no answer, whatever is waited.
        """
        body = {
            "model": model,
            "messages": messages,
            "max_completion_tokens": answer_tokens,
            # The model is measured, not the cache; the operator's texts would cost more than was set aside.
            "cache": {"use-cache": False},
            "lumni": {"system_prompts": False},
        }
        began = time.perf_counter()
        answered = await self._send("POST", "/v1/chat/completions", json=body)
        took_ms = (time.perf_counter() - began) * 1000
        try:
            found = answered.json()
            choice, own = found["choices"][0], found["lumni"]
            return Answer(
                choice["message"].get("content") or "",
                own["cost"]["nano_usd"] or 0,
                own["model"],
                own["deployment"],
                choice.get("finish_reason") or "",
                round(took_ms, 1),
            )
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise CallError(f"the answer is none of Lumni's: {error!r}") from error

    async def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        give_up_at, wait_s = time.monotonic() + PATIENCE_S, FIRST_WAIT_S
        while True:
            try:
                answer = await self._http.request(method, path, **more)
            except httpx.HTTPError as error:
                raise CallError(f"no answer from {self._http.base_url}: {error!r}") from error
            if answer.is_success:
                return answer
            message, code = _error(answer)
            if code == "insufficient_quota":
                raise SpentError(message)
            if answer.status_code == httpx.codes.NOT_FOUND:
                raise NotFoundError(message)
            if answer.status_code in OF_REQUEST:
                raise RequestRefusedError(message)
            asked_s = _seconds(answer.headers.get("retry-after"))
            # Callers who were refused together do not return together.
            pause_s = (wait_s if asked_s is None else asked_s) + random.random()
            if answer.status_code not in PASSING or time.monotonic() + pause_s > give_up_at:
                raise CallError(message)
            await asyncio.sleep(pause_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)


def _error(answer: httpx.Response) -> tuple[str, str]:
    """The message of an error and its code."""
    try:
        error = answer.json()["error"]
        return str(error["message"]), str(error.get("code") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"the gateway answered {answer.status_code}", ""


def _seconds(header: str | None) -> float | None:
    try:
        return max(0.0, float(header or ""))
    except ValueError:
        return None
