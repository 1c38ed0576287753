"""LlamaIndex: chat, and a question answered from an index of documents."""

import openai
import probe
from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

COMMON = {"api_base": f"{probe.URL}/v1", "api_key": probe.KEY}


class Weather(BaseModel):
    """The weather in a city."""

    city: str
    degrees: int


def get_weather(city: str) -> str:
    """The weather in a city."""
    return "18 degrees"


def get_time(city: str) -> str:
    """The time in a city."""
    return "noon"


TOOLS = [FunctionTool.from_defaults(get_weather), FunctionTool.from_defaults(get_time)]


def chat(model: str = probe.MODEL, **more):
    # The class for models whose names LlamaIndex does not know.
    return OpenAILike(
        model=model, is_chat_model=True, is_function_calling_model=True, context_window=8192, **COMMON, **more
    )


async def plain():
    answer = await chat().acomplete(probe.QUESTION)
    assert answer.text.startswith("Echo What is"), answer


async def stream():
    pieces = [piece.delta async for piece in await chat().astream_complete(probe.QUESTION)]
    assert "".join(pieces).startswith("Echo What is"), pieces
    assert len(pieces) > 2


async def tools():
    llm = chat()
    called = await llm.achat_with_tools(TOOLS, user_msg=probe.QUESTION, allow_parallel_tool_calls=True)
    calls = llm.get_tool_calls_from_response(called)
    assert [("get_weather", {"city": "text"}), ("get_time", {"city": "text"})] == [
        (call.tool_name, call.tool_kwargs) for call in calls
    ]
    results = [
        ChatMessage("18 degrees", role="tool", additional_kwargs={"tool_call_id": call.tool_id})
        for call in calls
    ]
    turns = [ChatMessage(probe.QUESTION, role="user"), called.message, *results]
    assert (await llm.achat_with_tools(TOOLS, chat_history=turns)).message.content


async def schema():
    found = await chat().as_structured_llm(Weather).acomplete(probe.QUESTION)
    assert found.raw == Weather(city="text", degrees=1)


async def image():
    message = ChatMessage(role="user", blocks=[TextBlock(text="What is it?"), ImageBlock(url=probe.PICTURE)])
    assert (await chat().achat([message])).message.content
    assert "image_url" in str(probe.requests(probe.MODEL)[-1]["body"])


async def errors():
    await probe.raises(openai.NotFoundError, chat("nothing").acomplete("hi"))
    stranger = OpenAILike(
        model=probe.MODEL, is_chat_model=True, api_base=COMMON["api_base"], api_key="sk-wrong"
    )
    await probe.raises(openai.AuthenticationError, stranger.acomplete("hi"))


async def retries():
    probe.fails_once(probe.MODEL, "503")
    assert (await chat().acomplete(probe.QUESTION)).text


async def index():
    Settings.llm = chat()
    Settings.embed_model = OpenAIEmbedding(model_name="vectors", **COMMON)
    made = VectorStoreIndex.from_documents(
        [Document(text="It is 18 degrees in Paris."), Document(text="Noon.")]
    )
    answer = await made.as_query_engine().aquery(probe.QUESTION)
    assert answer.response
    assert answer.source_nodes


probe.main(plain, stream, tools, schema, image, errors, retries, index)
