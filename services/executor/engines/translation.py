"""What every translation of a chat has in common: the request it makes, and LiteLLM's own steps on the way there."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, TypeAlias

import httpx
import litellm
import orjson
from litellm.types.utils import LlmProviders, ModelResponse
from litellm.utils import ProviderConfigManager, get_optional_params

from services.chassis.deployments import Deployment
from services.executor.engines import provider_errors
from services.executor.engines.base import File, Piece
from services.executor.engines.litellm_answers import plain
from services.executor.engines.prepare import Prepared

# Translated parameters that are kept, and how long their JSON may be, in bytes: those of an app seldom change.
REMEMBERED, LONGEST_REMEMBERED = 1024, 2048


@dataclass(slots=True)
class Upstream:
    """A request for a provider, and how to read its answer.

    Args:
        url: Where it goes.
        headers: Its headers, the key among them.
        body: Its body.
        whole: Reads the body and headers of an answer.
        event: Reads the data of one event of a stream, which may hold no chunk, or several.
        file: What is uploaded with the body, which is a form then.

    """

    url: str
    headers: dict[str, str]
    body: dict[str, Any]
    whole: Callable[[bytes, Mapping[str, str]], Piece]
    event: Callable[[bytes], Iterable[Piece]]
    file: File | None = None


# Translates a prepared call; None when only LiteLLM's entry point knows how.
Translate: TypeAlias = Callable[[Prepared], Upstream | None]


class SilentLogging:
    """In the place of LiteLLM's logging, to which its translations report everything; it keeps nothing."""

    def __init__(self, optional_params: Mapping[str, Any]) -> None:
        self.optional_params = optional_params
        self.model_call_details: dict[str, Any] = {}
        self.litellm_params: dict[str, Any] = {}

    def pre_call(self, *_: Any, **__: Any) -> None:
        """Nothing is logged."""

    def post_call(self, *_: Any, **__: Any) -> None:
        """Nothing is logged."""


def config_of(deployment: Deployment) -> Any:
    """LiteLLM's translation for a deployment."""
    return ProviderConfigManager.get_provider_chat_config(
        model=deployment.litellm_model, provider=LlmProviders(deployment.provider)
    )


@cache
def known_address(provider: str, model: str) -> str:
    """The one address that LiteLLM knows for a provider; empty where its translation adds it."""
    _, _, _, base = litellm.get_llm_provider(f"{provider}/{model}")
    return base or ""


def _copied(value: Any) -> Any:
    """JSON with dicts and lists of its own and the same texts, in half of deepcopy's time: a picture is not copied."""
    if isinstance(value, dict):
        return {name: _copied(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_copied(one) for one in value]
    return value


def options(prepared: Prepared, config: Any) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Messages, LiteLLM's optional parameters and the rest of the body."""
    call = prepared.call
    # The translations edit in place, and the body serves the next candidate too.
    messages = _copied(prepared.arguments.get("messages", []))
    messages = config.translate_developer_role_to_system_role(messages=messages)
    given = {name: value for name, value in prepared.arguments.items() if name != "messages"}
    if call.stream:
        given["stream"] = True
        given["stream_options"] = {"include_usage": True}
    if prepared.rest:
        given["extra_body"] = dict(prepared.rest)
    deployment = call.deployment
    found = _optional(deployment.litellm_model, deployment.provider, prepared.drops_unsupported, given)
    found.pop("max_retries", None)
    if not call.stream:
        found.pop("stream", None)
    return messages, found, found.pop("extra_body", None) or {}


def _optional(model: str, provider: str, drops: bool, given: dict[str, Any]) -> dict[str, Any]:
    """LiteLLM's translation of parameters; of short ones it is made once, for it costs more than all else here."""
    # In the caller's order: providers write an answer in the order of its schema.
    text = orjson.dumps(given)
    if len(text) > LONGEST_REMEMBERED:
        return _translated(model, provider, drops, given)
    return copy.deepcopy(_remembered(model, provider, drops, text))


@lru_cache(REMEMBERED)
def _remembered(model: str, provider: str, drops: bool, given: bytes) -> dict[str, Any]:
    return _translated(model, provider, drops, orjson.loads(given))


def _translated(model: str, provider: str, drops: bool, given: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = get_optional_params(
        model=model, custom_llm_provider=provider, drop_params=drops, max_retries=0, **given
    )
    return found


def translated_whole(
    config: Any,
    logging: SilentLogging,
    model: str,
    body: dict[str, Any],
    messages: list[Any],
    optional: dict[str, Any],
    parameters: dict[str, Any],
    **more: Any,
) -> Callable[[bytes, Mapping[str, str]], Piece]:
    """Read a provider's answer with LiteLLM's translation, as a chat completion."""

    def read(answer: bytes, headers: Mapping[str, str]) -> Piece:
        # The answer is decoded by now, so these two would be wrong for it.
        decoded = {
            name: value
            for name, value in headers.items()
            if name not in ("content-encoding", "content-length")
        }
        response = config.transform_response(
            model=model,
            raw_response=httpx.Response(200, headers=decoded, content=answer),
            model_response=ModelResponse(),
            logging_obj=logging,
            api_key="",
            request_data=body,
            messages=messages,
            optional_params=optional,
            litellm_params=parameters,
            encoding=None,
            **more,
        )
        return Piece(plain(response))

    return read


def translated_events(parse: Callable[[Any], Any]) -> Callable[[bytes], Iterator[Piece]]:
    """Read a provider's events with LiteLLM's parser, as chunks of chat completions."""
    head: dict[str, Any] = {}

    def read(event: bytes) -> Iterator[Piece]:
        data = orjson.loads(event)
        if isinstance(data, list):
            data = data[0] if data else {}
        check(data)
        parsed = parse(data)
        if parsed is None:
            return
        chunk = plain(parsed)
        first = not head
        if first:
            head.update(id=chunk.get("id"), created=chunk.get("created"), object="chat.completion.chunk")
        chunk.update(head)
        choices = chunk.get("choices") or []
        for choice in choices:
            delta = choice.setdefault("delta", {})
            delta.pop("role", None)
            if first:
                delta["role"] = "assistant"
        if first or chunk.get("usage") or any(_has_content(choice) for choice in choices):
            yield Piece(chunk)

    return read


def _has_content(choice: Mapping[str, Any]) -> bool:
    return bool(choice.get("finish_reason")) or any(value for value in choice["delta"].values())


def check(data: Mapping[str, Any]) -> None:
    """Fail on an error that came instead of a chunk.

    Raises:
        Failed: there is one.
    """
    if data.get("error"):
        raise provider_errors.from_object(data["error"])
