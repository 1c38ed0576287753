"""Portkey's SDK, whose key travels in a header of its own."""

import json

import probe
from portkey_ai import AsyncPortkey

FUNCTION = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
OTHER = {"type": "function", "function": {**FUNCTION["function"], "name": "get_time"}}
ASKED = [{"role": "user", "content": probe.QUESTION}]


def client(key: str = probe.KEY, **more):
    return AsyncPortkey(api_key=key, base_url=f"{probe.URL}/v1", **more)


async def plain():
    noted = client(trace_id="trace-of-theirs", metadata={"_user": "ann"})
    answer = await noted.chat.completions.create(model=probe.MODEL, messages=ASKED)
    assert answer.choices[0].message.content.startswith("Echo What is")


async def stream():
    stream = await client().chat.completions.create(model=probe.MODEL, messages=ASKED, stream=True)
    pieces = [piece.choices[0].delta.content or "" async for piece in stream if piece.choices]
    assert "".join(pieces).startswith("Echo What is"), pieces


async def tools():
    answer = await client().chat.completions.create(
        model=probe.MODEL, messages=ASKED, tools=[FUNCTION, OTHER]
    )
    assert [("get_weather", {"city": "text"}), ("get_time", {"city": "text"})] == [
        (call.function.name, json.loads(call.function.arguments))
        for call in answer.choices[0].message.tool_calls
    ]


async def embeddings():
    found = await client().embeddings.create(model="vectors", input=["one", "two"])
    assert 2 == len(found.data)


async def responses():
    found = await client().responses.create(model=probe.MODEL, input=probe.QUESTION)
    assert found.output_text.startswith("Echo What is")


async def models():
    found = await client().models.list()
    assert probe.MODEL in [one.id for one in found.data]


async def errors():
    await probe.raises(
        Exception, client("sk-wrong").chat.completions.create(model=probe.MODEL, messages=ASKED)
    )
    error = await probe.raises(Exception, client().chat.completions.create(model="nothing", messages=ASKED))
    assert 404 == error.status_code


probe.main(plain, stream, tools, embeddings, responses, models, errors)
