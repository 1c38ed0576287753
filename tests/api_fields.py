"""What becomes of each request field at each kind of provider, found out by asking: the tables of docs/api.md.

python -m tests.api_fields writes them; a test compares.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from services.chassis.errors import Invalid
from services.chassis.operations import Operation
from services.executor.bridges import calling
from services.executor.engines.base import Call, Engine, File
from services.executor.engines.direct import DirectEngine
from services.executor.engines.litellm_sdk import LiteLLMEngine
from services.executor.engines.outcomes import ErrorClass, Failed
from services.executor.engines.prepare import Preparer
from services.executor.engines.proxies import Proxies
from services.gateway.requests import (
    chat_request,
    completions_request,
    embeddings_request,
    images_request,
    messages_request,
    moderations_request,
    responses_request,
    speech_request,
    transcription_request,
)
from services.gateway.requests.model_request import ModelRequest
from services.gateway.requests.upload import Upload
from tests.executor.fleet import deployment
from tests.simulator import Simulator, running
from tests.simulator.media import silence

DOCUMENT = Path(__file__).parents[1] / "docs" / "api.md"
BEGIN, END = "<!-- field tables: tests/api_fields.py -->\n", "<!-- end of the field tables -->\n"
ABLE = frozenset("vision audio file tools json_schema reasoning".split())
OPENAI = {"endpoints": ("/v1/responses",)}
# A provider, a model by whose name LiteLLM knows what it takes, and what else its deployment says.
Provider: TypeAlias = tuple[str, str, dict[str, Any]]
PROVIDERS: Mapping[str, Provider] = {
    "OpenAI gpt-4o": ("openai", "gpt-4o", {**OPENAI, "capabilities": ABLE - {"reasoning"}}),
    "OpenAI gpt-5": ("openai", "gpt-5", OPENAI),
    "vLLM": ("hosted_vllm", "m", {}),
    "Anthropic": ("anthropic", "claude-sonnet-4-5", {}),
    "Gemini": ("gemini", "gemini-2.5-flash", {}),
}
AZURE: dict[str, Any] = {"params": {"api_version": "2025-04-01-preview"}}
# What chats are not is done by other models, and not by all of these providers.
OTHERS: Mapping[Operation, Mapping[str, Provider]] = {
    Operation.MODERATIONS: {
        "OpenAI": ("openai", "omni-moderation-latest", {}),
        "vLLM": ("hosted_vllm", "m", {}),
        "Mistral": ("mistral", "mistral-moderation-latest", {}),
    },
    Operation.IMAGE_GENERATION: {
        "OpenAI": ("openai", "gpt-image-1", {}),
        "Azure": ("azure", "gpt-image-1", AZURE),
        "vLLM": ("hosted_vllm", "m", {}),
        "Gemini": ("gemini", "gemini-2.5-flash-image", {}),
        "xAI": ("xai", "grok-imagine-image", {}),
    },
    Operation.AUDIO_SPEECH: {
        "OpenAI": ("openai", "gpt-4o-mini-tts", {}),
        "Azure": ("azure", "gpt-4o-mini-tts", AZURE),
        "vLLM": ("hosted_vllm", "m", {}),
        "Groq": ("groq", "playai-tts", {}),
        "Mistral": ("mistral", "voxtral-mini-tts", {}),
    },
    Operation.AUDIO_TRANSCRIPTION: {
        "OpenAI": ("openai", "gpt-4o-transcribe", {}),
        "Azure": ("azure", "gpt-4o-transcribe", AZURE),
        "vLLM": ("hosted_vllm", "whisper", {}),
        "Groq": ("groq", "whisper-large-v3", {}),
        "Mistral": ("mistral", "voxtral-mini-latest", {}),
    },
}
FUNCTION = {"name": "look", "description": "Looks.", "parameters": {"type": "object", "properties": {}}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
TURN = [{"role": "user", "content": "hello"}]


SOUND = Upload("sound.wav", "audio/wav", silence("wav", 1000))


def _responses(text: bytes) -> ModelRequest:
    return responses_request.parse(responses_request.read(text))


def _transcription(text: bytes) -> ModelRequest:
    return transcription_request.parse(orjson.loads(text), {"file": SOUND})


PARSERS: Mapping[Operation, Callable[[bytes], ModelRequest]] = {
    Operation.CHAT: chat_request.parse,
    Operation.COMPLETIONS: completions_request.parse,
    Operation.EMBEDDINGS: embeddings_request.parse,
    Operation.MODERATIONS: moderations_request.parse,
    Operation.MESSAGES: messages_request.parse,
    Operation.RESPONSES: _responses,
    Operation.IMAGE_GENERATION: images_request.parse,
    Operation.AUDIO_SPEECH: speech_request.parse,
    Operation.AUDIO_TRANSCRIPTION: _transcription,
}
# What every request of an operation holds.
BASES: Mapping[Operation, dict[str, Any]] = {
    Operation.CHAT: {"model": "m", "messages": TURN, "tools": [{"type": "function", "function": FUNCTION}]},
    Operation.COMPLETIONS: {"model": "m", "prompt": "hello"},
    Operation.EMBEDDINGS: {"model": "m", "input": "hello"},
    Operation.MESSAGES: {
        "model": "m",
        "max_tokens": 2000,
        "messages": TURN,
        "tools": [{"name": "look", "input_schema": SCHEMA}],
    },
    Operation.RESPONSES: {"model": "m", "input": "hello", "tools": [{"type": "function", **FUNCTION}]},
    Operation.MODERATIONS: {"model": "m", "input": "hello"},
    Operation.IMAGE_GENERATION: {"model": "m", "prompt": "hello"},
    Operation.AUDIO_SPEECH: {"model": "m", "input": "hello", "voice": "alloy"},
    Operation.AUDIO_TRANSCRIPTION: {"model": "m"},
}
# Fields with a value to try; those of the bases are replaced.
FIELDS: Mapping[Operation, dict[str, Any]] = {
    Operation.CHAT: {
        "audio": {"voice": "alloy", "format": "wav"},
        "frequency_penalty": 0.5,
        "function_call": "auto",
        "functions": [FUNCTION],
        "logit_bias": {"1": 5},
        "logprobs": True,
        "max_completion_tokens": 77,
        "max_tokens": 77,
        "messages": [{"role": "user", "content": "canary"}],
        "metadata": {"a": "b"},
        "modalities": ["text"],
        "moderation": {"model": "omni-moderation-latest"},
        "n": 2,
        "parallel_tool_calls": False,
        "prediction": {"type": "content", "content": "a"},
        "presence_penalty": 0.5,
        "prompt_cache_key": "k",
        "prompt_cache_options": {"mode": "implicit"},
        "prompt_cache_retention": "24h",
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}},
        "safety_identifier": "s",
        "seed": 7,
        "service_tier": "flex",
        "stop": ["x"],
        "store": True,
        "temperature": 1,
        "tool_choice": "required",
        "tools": [{"type": "function", "function": {**FUNCTION, "name": "hear"}}],
        "top_logprobs": 2,
        "top_p": 0.5,
        "user": "u",
        "verbosity": "low",
        "web_search_options": {},
        "any other": 5,
    },
    Operation.COMPLETIONS: {
        "best_of": 2,
        "echo": True,
        "frequency_penalty": 0.5,
        "logit_bias": {"1": 5},
        "logprobs": 2,
        "max_tokens": 77,
        "n": 2,
        "presence_penalty": 0.5,
        "prompt": "canary",
        "seed": 7,
        "stop": ["x"],
        "suffix": "end",
        "temperature": 1,
        "top_p": 0.5,
        "user": "u",
    },
    Operation.EMBEDDINGS: {"dimensions": 8, "encoding_format": "base64", "input": ["canary"], "user": "u"},
    Operation.MESSAGES: {
        "cache_control": {"type": "ephemeral"},
        "container": "c",
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "diagnostics": {"previous_message_id": "msg_1"},
        "inference_geo": "eu",
        "max_tokens": 77,
        "mcp_servers": [{"type": "url", "url": "https://a.example", "name": "a"}],
        "messages": [{"role": "user", "content": "canary"}],
        "metadata": {"user_id": "u"},
        "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
        "service_tier": "standard_only",
        "speed": "fast",
        "stop_sequences": ["x"],
        "system": [{"type": "text", "text": "canary", "cache_control": {"type": "ephemeral"}}],
        "temperature": 1,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "tool_choice": {"type": "any"},
        "tools": [{"name": "hear", "input_schema": SCHEMA}],
        "top_k": 5,
        "top_p": 0.5,
        "user_profile_id": "u",
        "workspace_id": "w",
    },
    Operation.RESPONSES: {
        "background": True,
        "context_management": [{"type": "compaction"}],
        "conversation": "c",
        "include": ["reasoning.encrypted_content"],
        "input": [{"role": "user", "content": "canary"}],
        "instructions": "Be brief.",
        "max_output_tokens": 77,
        "max_tool_calls": 3,
        "metadata": {"a": "b"},
        "moderation": {"model": "omni-moderation-latest"},
        "parallel_tool_calls": False,
        "prompt_cache_key": "k",
        "prompt_cache_options": {"mode": "implicit"},
        "prompt_cache_retention": "24h",
        "reasoning": {"effort": "low"},
        "safety_identifier": "s",
        "service_tier": "flex",
        "temperature": 1,
        "text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}},
        "tool_choice": "required",
        "tools": [{"type": "function", **FUNCTION, "name": "hear"}],
        "top_logprobs": 2,
        "top_p": 0.5,
        "truncation": "auto",
        "user": "u",
    },
    Operation.MODERATIONS: {"input": ["canary"]},
    Operation.IMAGE_GENERATION: {
        "background": "opaque",
        "moderation": "low",
        "n": 2,
        "output_compression": 50,
        "output_format": "webp",
        "partial_images": 1,
        "prompt": "canary",
        "quality": "low",
        "response_format": "b64_json",
        "size": "1536x1024",
        "style": "vivid",
        "user": "u",
    },
    Operation.AUDIO_SPEECH: {
        "input": "canary",
        "instructions": "Speak slowly.",
        "response_format": "wav",
        "speed": 1.5,
        "stream_format": "sse",
        "voice": "echo",
    },
    # As a form spells them.
    Operation.AUDIO_TRANSCRIPTION: {
        "chunking_strategy": "auto",
        "include": ["logprobs"],
        "keywords": ["Lumni"],
        "known_speaker_names": ["Ann"],
        "known_speaker_references": ["data:audio/wav;base64,AAAA"],
        "language": "en",
        "languages": ["en"],
        "prompt": "Names: Ann.",
        "response_format": "verbose_json",
        "temperature": "0.2",
        "timestamp_granularities": ["word"],
    },
}
# Where a provider has no such operation, or refuses the field that another one needs.
NOT_THERE = "none"
# A field that needs another one.
TOGETHER: Mapping[tuple[Operation, str], dict[str, Any]] = {
    (Operation.CHAT, "top_logprobs"): {"logprobs": True},
    (Operation.CHAT, "audio"): {"modalities": ["text"]},
    (Operation.IMAGE_GENERATION, "partial_images"): {"stream": True},
}


@asynccontextmanager
async def engine() -> AsyncIterator[Engine]:
    """The engine `fast`, which hands on to `general` what it does not serve."""
    preparer = Preparer({})
    general = LiteLLMEngine(Proxies(), preparer)
    fast = DirectEngine(Proxies(), preparer, general)
    try:
        yield fast
    finally:
        await fast.aclose()
        await general.aclose()
        await preparer.aclose()


def columns(operation: Operation) -> Mapping[str, Provider]:
    """The kinds of providers that are asked for an operation."""
    return OTHERS.get(operation, PROVIDERS)


async def sent(engine: Engine, simulator: Simulator, request: ModelRequest, column: str) -> Any:
    """The body that reached the provider, without its name of the model; what the engine said where none did."""
    provider, model, more = columns(request.operation)[column]
    found = deployment(simulator.url, provider, model, **{"capabilities": ABLE, **more})
    upload = request.upload
    call = Call(
        found,
        "sk-provider-key",
        request.operation,
        request.body,
        stream=request.stream,
        timeout_s=20,
        file=File(upload.name, upload.content_type, upload.content) if upload else None,
    )
    before = (await simulator.counts())["requests"]
    try:
        async with aclosing(calling.pieces(engine, call)) as pieces:
            async for _ in pieces:
                pass
    except Failed as failed:
        if failed.error is ErrorClass.UNSUPPORTED:
            return failed.error
    after = (await simulator.counts())["requests"]
    return (await simulator.requests(1))[0]["body"] if after > before else ErrorClass.UNSUPPORTED


async def outcome(
    engine: Engine,
    simulator: Simulator,
    operation: Operation,
    field: str,
    column: str,
    without: dict[tuple[str, bytes], Any],
) -> str:
    """What becomes of one field at one kind of provider; what is sent `without` it is remembered for the next field."""
    value = FIELDS[operation][field]
    base = {**BASES[operation], **TOGETHER.get((operation, field), {})}
    parse = PARSERS[operation]
    try:
        request = parse(orjson.dumps({**base, field: value}))
    except Invalid:
        return "refused"
    plain = None
    if field not in base:
        key = column, orjson.dumps(base)
        if key not in without:
            without[key] = await sent(engine, simulator, parse(key[1]), column)
        plain = without[key]
    if plain is ErrorClass.UNSUPPORTED:
        return NOT_THERE
    shown = await sent(engine, simulator, request, column)
    if shown is ErrorClass.UNSUPPORTED:
        return NOT_THERE if field in base and operation is not Operation.CHAT else "restricts"
    if field not in base and shown == plain:
        return "dropped"
    return "carried" if shown.get(field) == value else "translated"


async def tables() -> str:
    """A table for each operation."""
    lines: list[str] = []
    async with running() as simulator, engine() as one:
        for operation, fields in FIELDS.items():
            asked = columns(operation)
            lines += [f"### {operation}", "", f"| field | {' | '.join(asked)} |"]
            lines += ["| --- |" + " --- |" * len(asked)]
            without: dict[tuple[str, bytes], Any] = {}
            for field in fields:
                found = [await outcome(one, simulator, operation, field, column, without) for column in asked]
                name = field if " " in field else f"`{field}`"
                lines.append(f"| {name} | {' | '.join(found)} |")
            lines.append("")
    return "\n".join(lines)


def written(document: str, made: str, begin: str = BEGIN, end: str = END) -> str:
    """The document with its tables made anew, between the lines that begin and end them."""
    head, _, rest = document.partition(begin)
    return head + begin + "\n" + made + "\n" + end + rest.partition(end)[2]


if __name__ == "__main__":
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    DOCUMENT.write_text(written(DOCUMENT.read_text(), asyncio.run(tables())))
