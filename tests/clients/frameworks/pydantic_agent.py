"""pydantic-ai: the names `openai-chat:`, `openai-responses:` and `openai:`, configured by the environment alone."""

import base64
import os

os.environ |= {
    "OPENAI_BASE_URL": f"{os.environ['LUMNI_URL']}/v1",
    "OPENAI_API_KEY": os.environ["LUMNI_API_KEY"],
}

import probe
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, NativeOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.settings import ModelSettings

DOORS = ("openai", "openai-chat", "openai-responses")


class Weather(BaseModel):
    city: str
    degrees: int


def agent(door: str = "openai", model: str = probe.MODEL, **more):
    return Agent(f"{door}:{model}", instructions="Be brief.", **more)


async def plain():
    for door in DOORS:
        result = await agent(door).run(probe.QUESTION)
        assert result.output.startswith("Echo What is"), (door, result)


async def stream():
    for door in DOORS:
        async with agent(door).run_stream(probe.QUESTION) as result:
            texts = [text async for text in result.stream_text(debounce_by=None)]
        assert texts[-1].startswith("Echo What is"), (door, texts)
        assert len(texts) > 1, (door, texts)


async def tools():
    called = []

    def get_weather(city: str) -> str:
        called.append(("weather", city))
        return "18 degrees"

    def get_time(city: str) -> str:
        called.append(("time", city))
        return "noon"

    for door in DOORS:
        called.clear()
        assert (await agent(door, tools=[get_weather, get_time]).run(probe.QUESTION)).output, door
        assert {("weather", "text"), ("time", "text")} == set(called), door


async def schema():
    for door in DOORS:
        by_tool = await agent(door, output_type=Weather).run(probe.QUESTION)
        by_format = await agent(door, output_type=NativeOutput(Weather)).run(probe.QUESTION)
        assert by_tool.output == by_format.output == Weather(city="text", degrees=1), door


async def image():
    picture = BinaryContent(base64.b64decode(probe.PIXEL), media_type="image/png")
    for door in DOORS:
        assert (await agent(door).run(["What is it?", picture])).output, door
        assert "image_url" in str(probe.requests(probe.MODEL)[-1]["body"]), door


async def errors():
    for door in DOORS:
        error = await probe.raises(ModelHTTPError, agent(door, "nothing").run("hi"))
        assert 404 == error.status_code, (door, error)
        error = await probe.raises(
            ModelHTTPError, agent(door, model_settings=ModelSettings(temperature=9)).run("hi")
        )
        assert 400 == error.status_code, (door, error)


async def retries():
    probe.fails_once(probe.MODEL, "503")
    assert (await agent().run(probe.QUESTION)).output


probe.main(plain, stream, tools, schema, image, errors, retries)
