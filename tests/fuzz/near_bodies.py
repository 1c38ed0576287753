"""Good bodies of every operation with something odd in one place, however deep."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import strategies as st

from services.chassis.operations import Operation
from tests.fuzz.bodies import JSON

PICTURE = "data:image/png;base64,aGk="
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
# Of each operation one that reaches far.
GOOD: Mapping[Operation, dict[str, Any]] = {
    Operation.COMPLETIONS: {"model": "small", "prompt": ["Go on:"], "max_tokens": 5, "n": 1, "stop": ["."]},
    Operation.EMBEDDINGS: {"model": "vectors", "input": ["a", [1, 2]], "dimensions": 8, "user": "u"},
    Operation.MODERATIONS: {
        "model": "judge",
        "input": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": PICTURE}}],
    },
    Operation.MESSAGES: {
        "model": "small",
        "max_tokens": 50,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "look"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "aGk="},
                    },
                    {"type": "document", "title": "t", "source": {"type": "text", "data": "d"}},
                    {"type": "search_result", "title": "t", "content": [{"type": "text", "text": "s"}]},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "tool_use", "id": "u1", "name": "look", "input": {"a": 1}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "u1", "content": [{"type": "text", "text": "r"}]}
                ],
            },
        ],
        "tools": [{"name": "look", "description": "Looks.", "input_schema": SCHEMA}],
        "tool_choice": {"type": "tool", "name": "look"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
        "stop_sequences": ["."],
        "metadata": {"user_id": "u"},
    },
    Operation.RESPONSES: {
        "model": "small",
        "instructions": "Be brief.",
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "look"},
                    {"type": "input_image", "image_url": PICTURE, "detail": "low"},
                    {"type": "input_file", "file_data": PICTURE, "filename": "a.png"},
                ],
            },
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "run", "input": "1"},
            {"type": "function_call_output", "call_id": "c1", "output": "r"},
            {
                "type": "custom_tool_call_output",
                "call_id": "c2",
                "output": [{"type": "input_text", "text": "1"}],
            },
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "so"}]},
        ],
        "tools": [
            {"type": "function", "name": "look", "parameters": SCHEMA},
            {"type": "custom", "name": "run"},
        ],
        "tool_choice": {
            "type": "allowed_tools",
            "mode": "auto",
            "tools": [{"type": "function", "name": "look"}],
        },
        "text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}},
        "reasoning": {"effort": "low"},
        "metadata": {"a": "b"},
        "max_output_tokens": 50,
        "store": False,
    },
    Operation.IMAGE_GENERATION: {
        "model": "dall-e",
        "prompt": "A small boat",
        "n": 1,
        "size": "1024x1024",
        "quality": "standard",
        "background": "opaque",
        "moderation": "low",
        "output_format": "png",
        "output_compression": 50,
        "partial_images": 0,
        "response_format": "b64_json",
        "stream": False,
        "style": "vivid",
        "user": "u",
    },
    Operation.AUDIO_SPEECH: {
        "model": "tts-1",
        "input": "Hi.",
        "voice": {"id": "v"},
        "instructions": "Slowly.",
        "response_format": "mp3",
        "speed": 1.5,
        "stream_format": "audio",
    },
    # The fields of a form.
    Operation.AUDIO_TRANSCRIPTION: {
        "model": "whisper-1",
        "chunking_strategy": "auto",
        "include": ["logprobs"],
        "language": "en",
        "prompt": "Names: Ann.",
        "response_format": "verbose_json",
        "stream": "false",
        "temperature": "0.2",
        "timestamp_granularities": ["word", "segment"],
        "lumni": '{"task_type": "fast"}',
    },
}


def places(body: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value of a body."""
    keys = body if isinstance(body, dict) else range(len(body)) if isinstance(body, list) else ()
    for key in keys:
        yield (*path, key)
        yield from places(body[key], (*path, key))


def changed(operation: Operation, path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The good body of an operation with another value in one place."""
    body = copy.deepcopy(GOOD[operation])
    at: Any = body
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return body


def near(operation: Operation) -> st.SearchStrategy[dict[str, Any]]:
    """Bodies with one odd value."""
    return st.builds(
        lambda path, value: changed(operation, path, value),
        st.sampled_from(list(places(GOOD[operation]))),
        JSON,
    )
