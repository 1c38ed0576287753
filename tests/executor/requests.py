"""Request shapes that both engines must treat alike: what real clients send, and what they should not."""

from typing import Any

PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
USER = {"role": "user", "content": "What is the weather in Paris and in Rome today?"}
SYSTEM = {"role": "system", "content": "You answer in one short sentence."}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["c", "f"]}},
            "required": ["city"],
        },
    },
}
TIME = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "The time in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
NO_ARGUMENTS = {
    "type": "function",
    "function": {
        "name": "ping",
        "description": "Nothing.",
        "parameters": {"type": "object", "properties": {}},
    },
}
STRICT = {
    "type": "function",
    "function": {
        "name": "add",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
            "required": ["a", "b"],
            "additionalProperties": False,
        },
    },
}
SCHEMA: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "city",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
            "required": ["name", "people"],
            "additionalProperties": False,
        },
    },
}
CALLED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'},
        }
    ],
}
CALLED_TWICE = {
    "role": "assistant",
    "content": "Let me look.",
    "tool_calls": [
        *CALLED["tool_calls"],  # type: ignore[misc]
        {
            "id": "call_2",
            "type": "function",
            "function": {"name": "get_time", "arguments": '{"city":"Rome"}'},
        },
    ],
}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": '{"temperature": 21}'}
RESULT_2 = {"role": "tool", "tool_call_id": "call_2", "content": "noon"}


def _image(url: str, **more: str) -> dict[str, Any]:
    return {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": url, **more}},
        ],
    }


def _shape(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"messages": list(messages) or [USER], **fields}


# Understood by every provider.
COMMON: dict[str, dict[str, Any]] = {
    "plain": _shape(),
    "system": _shape(SYSTEM, USER),
    "developer": _shape({"role": "developer", "content": "Be brief."}, USER),
    "two systems": _shape(SYSTEM, {"role": "system", "content": "Speak French."}, USER),
    "late system": _shape(USER, {"role": "assistant", "content": "Sunny."}, SYSTEM, USER),
    "conversation": _shape(
        USER, {"role": "assistant", "content": "Sunny."}, {"role": "user", "content": "Sure?"}
    ),
    "prefill": _shape(USER, {"role": "assistant", "content": "It is"}),
    "two users": _shape(USER, {"role": "user", "content": "And in Oslo?"}),
    "content parts": _shape(
        {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}]}
    ),
    "system parts": _shape({"role": "system", "content": [{"type": "text", "text": "Be brief."}]}, USER),
    "empty content": _shape({"role": "user", "content": ""}),
    "unicode": _shape({"role": "user", "content": "Привет, 世界! 🌍 \u0000 “quotes” \\ \n\t"}),
    "name": _shape({**USER, "name": "ann"}),
    "temperature": _shape(temperature=0.2),
    "temperature zero": _shape(temperature=0),
    "top_p": _shape(top_p=0.9),
    "max_tokens": _shape(max_tokens=5),
    "max_completion_tokens": _shape(max_completion_tokens=5),
    "both caps": _shape(max_tokens=7, max_completion_tokens=5),
    "stop word": _shape(stop="in"),
    "stop words": _shape(stop=["in", "and"]),
    "user": _shape(user="ann-42"),
    "tools": _shape(tools=[WEATHER]),
    "two tools": _shape(tools=[WEATHER, TIME]),
    "no-argument tool": _shape(tools=[NO_ARGUMENTS]),
    "tool choice auto": _shape(tools=[WEATHER, TIME], tool_choice="auto"),
    "tool choice none": _shape(tools=[WEATHER, TIME], tool_choice="none"),
    "tool choice required": _shape(tools=[WEATHER, TIME], tool_choice="required"),
    "tool choice named": _shape(
        tools=[WEATHER, TIME], tool_choice={"type": "function", "function": {"name": "get_time"}}
    ),
    "tool result": _shape(USER, CALLED, RESULT, tools=[WEATHER]),
    "two tool results": _shape(USER, CALLED_TWICE, RESULT, RESULT_2, tools=[WEATHER, TIME]),
    "tool result and question": _shape(
        USER, CALLED, RESULT, {"role": "user", "content": "Thanks. And Rome?"}, tools=[WEATHER]
    ),
    "data image": _shape(_image(PIXEL)),
    "data image detail": _shape(_image(PIXEL, detail="low")),
    "two images": _shape(_image(PIXEL), {"role": "assistant", "content": "A dot."}, _image(PIXEL)),
    "image with system": _shape(SYSTEM, _image(PIXEL)),
    "null fields": _shape(temperature=None, tools=None, stop=None),
    "n one": _shape(n=1),
    "long prompt": _shape({"role": "user", "content": "word " * 3000}),
    "many messages": _shape(
        *[
            m
            for i in range(30)
            for m in ({"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": f"a{i}"})
        ],
        USER,
    ),
    "json object": _shape(
        SYSTEM,
        {"role": "user", "content": "Answer in JSON: the capital of France."},
        response_format={"type": "json_object"},
    ),
    "text format": _shape(response_format={"type": "text"}),
}
# More of OpenAI's, which other formats cannot say; there both engines must refuse alike.
OPENAI: dict[str, dict[str, Any]] = {
    "parallel tools off": _shape(tools=[WEATHER, TIME], parallel_tool_calls=False),
    "parallel tools on": _shape(tools=[WEATHER, TIME], parallel_tool_calls=True),
    "strict tool": _shape(tools=[STRICT]),
    "json schema": _shape(response_format=SCHEMA),
    "json schema and tools": _shape(response_format=SCHEMA, tools=[WEATHER]),
    "n two": _shape(n=2),
    "n three with tools": _shape(n=3, tools=[WEATHER, TIME]),
    "logprobs": _shape(logprobs=True, top_logprobs=2),
    "logit bias": _shape(logit_bias={"50256": -100}),
    "seed": _shape(seed=7),
    "frequency penalty": _shape(frequency_penalty=0.5),
    "presence penalty": _shape(presence_penalty=-0.5),
    "reasoning effort": _shape(reasoning_effort="low"),
    "verbosity": _shape(verbosity="low"),
    "metadata": _shape(metadata={"team": "a"}, store=False),
    "service tier": _shape(service_tier="auto"),
    "safety identifier": _shape(safety_identifier="u1"),
    "prompt cache key": _shape(prompt_cache_key="k1"),
    "prediction": _shape(prediction={"type": "content", "content": "Sunny."}),
    "modalities": _shape(modalities=["text"]),
    "functions": _shape(functions=[WEATHER["function"]], function_call="auto"),
    "remote image": _shape(_image("https://images.example.com/cat.png")),
    "audio": _shape(
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Listen."},
                {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            ],
        }
    ),
    "custom tool": _shape(tools=[{"type": "custom", "custom": {"name": "shell", "description": "Run."}}]),
    "refusal in history": _shape(USER, {"role": "assistant", "content": None, "refusal": "No."}, USER),
    "unknown field": _shape(foo=1, bar={"deep": [1, 2, {"x": None}]}),
    "unknown message field": _shape({**USER, "weight": 1}),
    "top_k": _shape(top_k=5),
    "thinking": _shape(thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=2000),
    "cache control": _shape(
        {
            "role": "system",
            "content": [{"type": "text", "text": "Long rules.", "cache_control": {"type": "ephemeral"}}],
        },
        USER,
    ),
    "asks for usage": _shape(stream_options={"include_usage": True}),
    "wrong type": _shape(temperature="hot"),
    "wrong role": _shape({"role": "wizard", "content": "Abracadabra"}),
    "no messages": {"messages": []},
    "switches": _shape(
        api_base="http://127.0.0.1:1/stolen",
        base_url="http://127.0.0.1:1/stolen",
        api_key="sk-stolen",
        timeout=0.001,
        extra_headers={"x-evil": "1"},
        mock_response="mocked",
        fallbacks=["x"],
        custom_llm_provider="azure",
    ),
}
ALL = {**COMMON, **OPENAI}
