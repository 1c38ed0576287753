"""Random bodies of chat completions: valid ones, and valid ones with something odd in any place."""

from typing import Any

from hypothesis import strategies as st

# Valid ones that reach far.
PLAIN: tuple[dict[str, Any], ...] = (
    {"messages": [{"role": "user", "content": "What is 17 times 23?"}]},
    {"model": "small", "max_tokens": 5, "messages": [{"role": "user", "content": "Say hello."}]},
    {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "こんにちは"}],
        "n": 2,
    },
)
_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(
        [
            0,
            -1,
            2**31,
            2**63,
            2**64 - 1,
            1e308,
            -1e308,
            "",
            "\x00",
            "\ufeff",
            "auto",
            [],
            {},
            [[]],
            [{}],
            [None],
        ]
    ),
    st.text(max_size=20),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
JSON: st.SearchStrategy[Any] = st.recursive(
    _ODD,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=12), inner, max_size=4)
    ),
    max_leaves=12,
)
_TEXT = st.one_of(st.text(max_size=30), st.sampled_from(["data:image/png;base64,AAAA", "a" * 3000, "\x00"]))
_PART = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, _TEXT),
    st.builds(lambda url: {"type": "image_url", "image_url": {"url": url}}, _TEXT),
    st.builds(lambda url: {"type": "image_url", "image_url": url}, JSON),
    st.builds(lambda data: {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}, _TEXT),
    st.builds(lambda inner: {"type": "file", "file": inner}, JSON),
    JSON,
)
_ROLES = st.sampled_from(["system", "developer", "user", "assistant", "tool", "function", "nobody"])
_MESSAGE = st.one_of(
    st.fixed_dictionaries(
        {"role": _ROLES, "content": st.one_of(_TEXT, st.lists(_PART, max_size=3), JSON)},
        optional={"tool_calls": JSON, "tool_call_id": JSON, "name": JSON, "refusal": JSON},
    ),
    JSON,
)
_FIELDS: dict[str, st.SearchStrategy[Any]] = dict.fromkeys(
    "model stream stream_options temperature top_p n stop max_tokens max_completion_tokens presence_penalty frequency_penalty logit_bias user tools tool_choice response_format lumni prediction seed logprobs top_logprobs metadata parallel_tool_calls modalities audio reasoning_effort service_tier".split(),
    JSON,
)


def chats() -> st.SearchStrategy[Any]:
    """Bodies: a list of messages of which any may be odd, beside any of OpenAI's fields with any value."""
    odd = st.fixed_dictionaries(
        {"messages": st.one_of(st.lists(_MESSAGE, max_size=3), JSON)}, optional={**_FIELDS, "unknown": JSON}
    )
    # One odd field in an otherwise good body reaches further than many.
    nearly = st.builds(
        lambda name, value: {**PLAIN[1], name: value}, st.sampled_from([*_FIELDS, "messages"]), JSON
    )
    return st.one_of(odd, nearly, JSON)
