"""LiteLLM's SDK, with Lumni as its OpenAI and as its LiteLLM proxy."""

import json
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
import probe

litellm.suppress_debug_info = True
FUNCTION = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
OTHER = {"type": "function", "function": {**FUNCTION["function"], "name": "get_time"}}
ASKED = [{"role": "user", "content": probe.QUESTION}]
DOORS = {
    "openai": {"api_base": f"{probe.URL}/v1", "api_key": probe.KEY},
    "litellm_proxy": {"api_base": probe.URL, "api_key": probe.KEY},
}


def ask(door: str = "openai", model: str = probe.MODEL, **more):
    return litellm.acompletion(f"{door}/{model}", **{"messages": ASKED, **DOORS[door], **more})


async def plain():
    for door in DOORS:
        answer = await ask(door)
        assert answer.choices[0].message.content.startswith("Echo What is"), door
        assert answer.usage.total_tokens > 0


async def stream():
    for door in DOORS:
        pieces = [p.choices[0].delta.content or "" async for p in await ask(door, stream=True) if p.choices]
        assert "".join(pieces).startswith("Echo What is"), door


async def tools():
    for door in DOORS:
        called = (await ask(door, tools=[FUNCTION, OTHER])).choices[0].message
        assert [("get_weather", {"city": "text"}), ("get_time", {"city": "text"})] == [
            (call.function.name, json.loads(call.function.arguments)) for call in called.tool_calls
        ], door
        results = [
            {"role": "tool", "tool_call_id": call.id, "content": "18 degrees"} for call in called.tool_calls
        ]
        answered = await ask(door, messages=[*ASKED, called.model_dump(), *results], tools=[FUNCTION, OTHER])
        assert answered.choices[0].message.content, door


async def schema():
    wanted = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    for door in DOORS:
        given = {"type": "json_schema", "json_schema": {"name": "weather", "schema": wanted}}
        answer = await ask(door, response_format=given)
        assert {"city": "text"} == json.loads(answer.choices[0].message.content), door


async def image():
    content = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": probe.PICTURE}},
    ]
    assert (await ask(messages=[{"role": "user", "content": content}])).choices[0].message.content
    assert "image_url" in str(probe.requests(probe.MODEL)[-1]["body"])


async def errors():
    for door in DOORS:
        await probe.raises(litellm.AuthenticationError, ask(door, api_key="sk-wrong"))
        await probe.raises(litellm.NotFoundError, ask(door, "nothing"))
        await probe.raises(litellm.BadRequestError, ask(door, temperature=9))


async def retries():
    probe.fails_once(probe.MODEL, "503")
    assert (await ask(num_retries=1)).choices[0].message.content


async def timeouts():
    await probe.raises(litellm.Timeout, ask(model="hangs", timeout=1, max_retries=0))


async def embeddings():
    for door, own in DOORS.items():
        found = await litellm.aembedding(f"{door}/vectors", input=["one", "two"], **own)
        assert 2 == len(found.data), door


async def responses():
    found = await litellm.aresponses(model=f"openai/{probe.MODEL}", input=probe.QUESTION, **DOORS["openai"])
    assert found.output[0].content[0].text.startswith("Echo What is"), found


async def messages():
    found = await litellm.anthropic.messages.acreate(
        model=f"anthropic/{probe.MODEL}",
        max_tokens=50,
        messages=ASKED,
        api_base=probe.URL,
        api_key=probe.KEY,
    )
    assert found["content"][0]["text"].startswith("Echo What is"), found


probe.main(plain, stream, tools, schema, image, errors, retries, timeouts, embeddings, responses, messages)
