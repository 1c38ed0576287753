"""LangChain's ChatOpenAI and OpenAIEmbeddings."""

import asyncio

import openai
import probe
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

COMMON = {"base_url": f"{probe.URL}/v1", "api_key": probe.KEY}


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"18 degrees in {city}"


@tool
def get_time(city: str) -> str:
    """The time in a city."""
    return f"noon in {city}"


def chat(model: str = probe.MODEL, **more):
    return ChatOpenAI(model=model, **COMMON, **more)


async def plain():
    answer = await chat().ainvoke(probe.QUESTION)
    assert answer.text.startswith("Echo What is"), answer
    assert answer.usage_metadata["total_tokens"] > 0


async def stream():
    pieces = [piece async for piece in chat(stream_usage=True).astream(probe.QUESTION)]
    assert "".join(piece.text for piece in pieces).startswith("Echo What is"), pieces
    assert sum(p.usage_metadata["output_tokens"] for p in pieces if p.usage_metadata) > 0


async def tools():
    bound = chat().bind_tools([get_weather, get_time])
    turns = [HumanMessage(probe.QUESTION)]
    called = await bound.ainvoke(turns)
    assert ["get_weather", "get_time"] == [call["name"] for call in called.tool_calls]
    results = [ToolMessage("18 degrees", tool_call_id=call["id"]) for call in called.tool_calls]
    answered = await bound.ainvoke([*turns, called, *results])
    assert answered.text


async def streamed_tools():
    whole = None
    async for piece in chat().bind_tools([get_weather, get_time]).astream(probe.QUESTION):
        whole = piece if whole is None else whole + piece
    assert [("get_weather", {"city": "text"}), ("get_time", {"city": "text"})] == [
        (call["name"], call["args"]) for call in whole.tool_calls
    ]


async def schema():
    found = await chat().with_structured_output(Weather).ainvoke(probe.QUESTION)
    assert found == Weather(city="text", degrees=1)


async def image():
    content = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": probe.PICTURE}},
    ]
    assert (await chat().ainvoke([HumanMessage(content)])).text
    assert "image_url" in str(probe.requests(probe.MODEL)[-1]["body"])


async def errors():
    stranger = ChatOpenAI(model=probe.MODEL, base_url=f"{probe.URL}/v1", api_key="sk-wrong")
    await probe.raises(openai.AuthenticationError, stranger.ainvoke("hi"))
    await probe.raises(openai.NotFoundError, chat("nothing").ainvoke("hi"))
    await probe.raises(openai.BadRequestError, chat(temperature=9).ainvoke("hi"))


async def retries():
    probe.fails_once(probe.MODEL, "503")
    assert (await chat().ainvoke(probe.QUESTION)).text


async def timeouts():
    await probe.raises(openai.APITimeoutError, chat("hangs", timeout=1, max_retries=0).ainvoke("hi"))


async def abort():
    async for piece in chat().astream(probe.QUESTION):
        if piece.text:
            break
    task = asyncio.ensure_future(chat("hangs").ainvoke("hi"))
    await asyncio.sleep(0.5)
    task.cancel()
    await probe.raises(asyncio.CancelledError, task)


async def responses():
    answer = await chat(use_responses_api=True).ainvoke(probe.QUESTION)
    assert answer.text.startswith("Echo What is"), answer


async def embeddings():
    # LangChain counts tokens itself by default, with a vocabulary that it downloads, and sends their numbers.
    embed = OpenAIEmbeddings(model="vectors", check_embedding_ctx_length=False, **COMMON)
    vectors = await embed.aembed_documents(["one", "two"])
    assert 2 == len(vectors)
    assert all(vectors)


probe.main(
    plain,
    stream,
    tools,
    streamed_tools,
    schema,
    image,
    errors,
    retries,
    timeouts,
    abort,
    responses,
    embeddings,
)
