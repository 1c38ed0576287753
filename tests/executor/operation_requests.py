"""Request shapes of every operation but chat that both engines must treat alike, as clients send them and as they should not.

Each as it leaves the gateway: the model's name is not yet the provider's.
"""

from collections.abc import Mapping
from typing import Any

from services.chassis.operations import Operation
from tests.executor.requests import PIXEL, SCHEMA, TIME, WEATHER

QUESTION = "What is the weather in Paris and in Rome today?"
_SWITCHES: dict[str, Any] = {
    "api_base": "http://127.0.0.1:1/stolen",
    "base_url": "http://127.0.0.1:1/stolen",
    "api_key": "sk-stolen",
    "timeout": 0.001,
    "extra_headers": {"x-evil": "1"},
    "mock_response": "mocked",
    "fallbacks": ["x"],
    "custom_llm_provider": "azure",
}
_SAMPLING: dict[str, dict[str, Any]] = {
    "temperature": {"temperature": 0.2},
    "temperature zero": {"temperature": 0},
    "top_p": {"top_p": 0.9},
    "null fields": {"temperature": None, "top_p": None},
    "switches": _SWITCHES,
    "unicode": {},
}


def _function(chat_tool: dict[str, Any]) -> dict[str, Any]:
    """A tool of chat completions as responses have it."""
    return {"type": "function", **chat_tool["function"]}


def _response(**fields: Any) -> dict[str, Any]:
    return {"input": QUESTION, "store": False, **fields}


def _said(role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "content": list(parts)}


_CALL = {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": '{"city":"Paris"}'}
_CALL_2 = {"type": "function_call", "call_id": "c2", "name": "get_time", "arguments": '{"city":"Rome"}'}
_OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "21 degrees"}
_OUTPUT_2 = {"type": "function_call_output", "call_id": "c2", "output": "noon"}
_ASKED = _said("user", {"type": "input_text", "text": QUESTION})
_ANSWERED = {
    "type": "message",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Sunny.", "annotations": []}],
}
_WANTED = SCHEMA["json_schema"]
_TEXT_SCHEMA = {"format": {"type": "json_schema", **_WANTED}}
RESPONSES: dict[str, dict[str, Any]] = {
    "plain": _response(),
    **{f"{name}": _response(**fields) for name, fields in _SAMPLING.items()},
    "unicode": _response(input="Привет, 世界! 🌍 \u0000 “quotes” \\ \n\t"),
    "instructions": _response(instructions="Be brief."),
    "items": _response(input=[_ASKED]),
    "conversation": _response(
        input=[_ASKED, _ANSWERED, _said("user", {"type": "input_text", "text": "Sure?"})]
    ),
    "system item": _response(input=[{"role": "system", "content": "Be brief."}, _ASKED]),
    "developer item": _response(input=[{"role": "developer", "content": "Be brief."}, _ASKED]),
    "long prompt": _response(input="word " * 3000),
    "limit": _response(max_output_tokens=5),
    "user": _response(user="ann-42"),
    "metadata": _response(metadata={"team": "a"}),
    "tools": _response(tools=[_function(WEATHER)]),
    "two tools": _response(tools=[_function(WEATHER), _function(TIME)]),
    "parallel tools off": _response(tools=[_function(WEATHER), _function(TIME)], parallel_tool_calls=False),
    "tool choice none": _response(tools=[_function(WEATHER)], tool_choice="none"),
    "tool choice required": _response(tools=[_function(WEATHER), _function(TIME)], tool_choice="required"),
    "tool choice named": _response(
        tools=[_function(WEATHER), _function(TIME)], tool_choice={"type": "function", "name": "get_time"}
    ),
    "tool result": _response(input=[_ASKED, _CALL, _OUTPUT], tools=[_function(WEATHER)]),
    "two tool results": _response(
        input=[_ASKED, _ANSWERED, _CALL, _CALL_2, _OUTPUT, _OUTPUT_2],
        tools=[_function(WEATHER), _function(TIME)],
    ),
    "free text tool": _response(tools=[{"type": "custom", "name": "shell", "description": "Run."}]),
    "data image": _response(
        input=[
            _said(
                "user",
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": PIXEL, "detail": "low"},
            )
        ]
    ),
    "json schema": _response(text=_TEXT_SCHEMA),
    "json object": _response(input="Answer in JSON.", text={"format": {"type": "json_object"}}),
    "text format": _response(text={"format": {"type": "text"}}),
    "reasoning": _response(reasoning={"effort": "low"}),
    "include": _response(include=["reasoning.encrypted_content"]),
    "service tier": _response(service_tier="auto"),
    "prompt cache key": _response(prompt_cache_key="k1"),
    "truncation": _response(truncation="disabled"),
    "unknown item": _response(input=[_ASKED, {"type": "mystery", "id": "m1"}]),
    "unknown field": _response(foo=1, bar={"deep": [1, 2]}),
    "wrong type": _response(temperature="hot"),
    "no input": _response(input=[]),
}


def _message(*turns: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"messages": list(turns) or [{"role": "user", "content": QUESTION}], "max_tokens": 50, **fields}


def _text(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": text, **more}


def _tool(chat_tool: dict[str, Any]) -> dict[str, Any]:
    """A tool of chat completions as messages have it."""
    function = chat_tool["function"]
    return {
        "name": function["name"],
        "description": function["description"],
        "input_schema": function["parameters"],
    }


_USED = {"type": "tool_use", "id": "u1", "name": "get_weather", "input": {"city": "Paris"}}
_USED_2 = {"type": "tool_use", "id": "u2", "name": "get_time", "input": {"city": "Rome"}}
_RESULT = {"type": "tool_result", "tool_use_id": "u1", "content": "21 degrees"}
_RESULT_2 = {"type": "tool_result", "tool_use_id": "u2", "content": [_text("noon")]}
_ASK = _said("user", _text(QUESTION))
_CACHED = {"cache_control": {"type": "ephemeral"}}
_IMAGE = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": PIXEL.partition(",")[2]},
}
MESSAGES: dict[str, dict[str, Any]] = {
    "plain": _message(),
    **{f"{name}": _message(**fields) for name, fields in _SAMPLING.items()},
    "unicode": _message({"role": "user", "content": "Привет, 世界! 🌍 “quotes” \\ \n\t"}),
    "system": _message(system="Be brief."),
    "system blocks": _message(system=[_text("Be brief."), _text("Speak French.", **_CACHED)]),
    "blocks": _message(_said("user", _text("One"), _text("two"))),
    "conversation": _message(
        _ASK, {"role": "assistant", "content": "Sunny."}, {"role": "user", "content": "Sure?"}
    ),
    "long prompt": _message({"role": "user", "content": "word " * 3000}),
    "cache marks": _message(_said("user", _text(QUESTION, **_CACHED))),
    "limit": _message(max_tokens=5),
    "stop words": _message(stop_sequences=["in", "and"]),
    "top_k": _message(top_k=5),
    "metadata": _message(metadata={"user_id": "u1"}),
    "service tier": _message(service_tier="auto"),
    "tools": _message(tools=[_tool(WEATHER)]),
    "two tools": _message(tools=[_tool(WEATHER), _tool(TIME)]),
    "parallel tools off": _message(
        tools=[_tool(WEATHER), _tool(TIME)], tool_choice={"type": "auto", "disable_parallel_tool_use": True}
    ),
    "tool choice none": _message(tools=[_tool(WEATHER)], tool_choice={"type": "none"}),
    "tool choice any": _message(tools=[_tool(WEATHER), _tool(TIME)], tool_choice={"type": "any"}),
    "tool choice named": _message(
        tools=[_tool(WEATHER), _tool(TIME)], tool_choice={"type": "tool", "name": "get_time"}
    ),
    "tool result": _message(_ASK, _said("assistant", _USED), _said("user", _RESULT), tools=[_tool(WEATHER)]),
    "two tool results": _message(
        _ASK,
        _said("assistant", _text("Let me look."), _USED, _USED_2),
        _said("user", _RESULT, _RESULT_2),
        tools=[_tool(WEATHER), _tool(TIME)],
    ),
    "tool result and question": _message(
        _ASK, _said("assistant", _USED), _said("user", _RESULT, _text("And Rome?")), tools=[_tool(WEATHER)]
    ),
    "data image": _message(_said("user", _text("What is this?"), _IMAGE)),
    "thinking": _message(thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000),
    "thoughts in history": _message(
        _ASK,
        _said("assistant", {"type": "thinking", "thinking": "hm", "signature": "s"}, _USED),
        _said("user", _RESULT),
        tools=[_tool(WEATHER)],
    ),
    "json schema": _message(output_config={"format": {"type": "json_schema", "schema": _WANTED["schema"]}}),
    "unknown field": _message(foo=1, bar={"deep": [1, 2]}),
    "unknown block": _message(_said("user", {"type": "mystery"})),
    "wrong type": _message(temperature="hot"),
    "no messages": {"messages": [], "max_tokens": 50},
}


def _completion(**fields: Any) -> dict[str, Any]:
    return {"prompt": "The capital of France", **fields}


COMPLETIONS: dict[str, dict[str, Any]] = {
    "plain": _completion(),
    **{f"{name}": _completion(**fields) for name, fields in _SAMPLING.items()},
    "unicode": _completion(prompt="Привет, 世界! 🌍 \u0000 “quotes” \\ \n\t"),
    "one prompt in a list": _completion(prompt=["The capital of France"]),
    "two prompts": _completion(prompt=["The capital of France", "and of Spain"]),
    "tokens": _completion(prompt=[1, 2, 3]),
    "token lists": _completion(prompt=[[1, 2], [3]]),
    "empty prompt": _completion(prompt=""),
    "long prompt": _completion(prompt="word " * 3000),
    "limit": _completion(max_tokens=5),
    "stop word": _completion(stop="of"),
    "stop words": _completion(stop=["of", "and"]),
    "n two": _completion(n=2),
    "best of": _completion(best_of=2),
    "echo": _completion(echo=True),
    "suffix": _completion(suffix="."),
    "logprobs": _completion(logprobs=2),
    "logit bias": _completion(logit_bias={"50256": -100}),
    "seed": _completion(seed=7),
    "frequency penalty": _completion(frequency_penalty=0.5),
    "presence penalty": _completion(presence_penalty=-0.5),
    "user": _completion(user="ann-42"),
    "asks for usage": _completion(stream_options={"include_usage": True}),
    "unknown field": _completion(foo=1, bar={"deep": [1, 2]}),
    "wrong type": _completion(temperature="hot"),
}


def _embedding(**fields: Any) -> dict[str, Any]:
    return {"input": "The capital of France", **fields}


EMBEDDINGS: dict[str, dict[str, Any]] = {
    "plain": _embedding(),
    "unicode": _embedding(input="Привет, 世界! 🌍 \u0000 “quotes” \\ \n\t"),
    "list": _embedding(input=["one text", "and another one"]),
    "many": _embedding(input=[f"text {number}" for number in range(100)]),
    "long": _embedding(input="word " * 3000),
    "tokens": _embedding(input=[1, 2, 3]),
    "token lists": _embedding(input=[[1, 2], [3]]),
    "dimensions": _embedding(dimensions=8),
    "numbers": _embedding(encoding_format="float"),
    "base64": _embedding(encoding_format="base64"),
    "user": _embedding(user="ann-42"),
    "null fields": _embedding(dimensions=None, user=None),
    "unknown field": _embedding(foo=1, bar={"deep": [1, 2]}),
    "switches": _embedding(**_SWITCHES),
    "no input": _embedding(input=[]),
    "wrong type": _embedding(dimensions="many"),
}


def _picture(**fields: Any) -> dict[str, Any]:
    return {"prompt": "A small boat at sea", **fields}


IMAGES: dict[str, dict[str, Any]] = {
    "plain": _picture(),
    "unicode": _picture(prompt="Привет, 世界! 🌍 “quotes” \\ \n\t"),
    "several": _picture(n=3),
    "size": _picture(size="1024x1536"),
    "quality": _picture(quality="low"),
    "address": _picture(response_format="url"),
    "background": _picture(background="transparent", output_format="webp", output_compression=50),
    "moderation": _picture(moderation="low"),
    "user": _picture(user="ann-42"),
    "null fields": _picture(size=None, n=None),
    "switches": _picture(**_SWITCHES),
    "wrong type": _picture(n="many"),
}


def _spoken(**fields: Any) -> dict[str, Any]:
    return {"input": "Good morning.", "voice": "alloy", **fields}


SPEECH: dict[str, dict[str, Any]] = {
    "plain": _spoken(),
    "unicode": _spoken(input="Привет, 世界! 🌍"),
    "wav": _spoken(response_format="wav"),
    "samples": _spoken(response_format="pcm"),
    "speed": _spoken(speed=1.5),
    "instructions": _spoken(instructions="Speak slowly."),
    "null fields": _spoken(speed=None),
    "switches": _spoken(**_SWITCHES),
    "no voice": _spoken(voice=""),
}
TRANSCRIPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "language": {"language": "en"},
    "prompt": {"prompt": "Names: Ann, Bob."},
    "temperature": {"temperature": 0.2},
    "json": {"response_format": "json"},
    "verbose": {"response_format": "verbose_json", "timestamp_granularities": ["word", "segment"]},
    "text": {"response_format": "text"},
    "srt": {"response_format": "srt"},
    "vtt": {"response_format": "vtt"},
    "null fields": {"language": None},
    "switches": _SWITCHES,
}
SHAPES: Mapping[Operation, dict[str, dict[str, Any]]] = {
    Operation.RESPONSES: RESPONSES,
    Operation.MESSAGES: MESSAGES,
    Operation.COMPLETIONS: COMPLETIONS,
    Operation.EMBEDDINGS: EMBEDDINGS,
    Operation.IMAGE_GENERATION: IMAGES,
    Operation.AUDIO_SPEECH: SPEECH,
    Operation.AUDIO_TRANSCRIPTION: TRANSCRIPTIONS,
}
