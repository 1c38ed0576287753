"""OpenAI's Agents SDK, which speaks the Responses API by default."""

import asyncio
import os

os.environ |= {
    "OPENAI_BASE_URL": f"{os.environ['LUMNI_URL']}/v1",
    "OPENAI_API_KEY": os.environ["LUMNI_API_KEY"],
}

import openai
import probe
from agents import Agent, Runner, function_tool, set_tracing_disabled
from pydantic import BaseModel

# Traces would go to OpenAI.
set_tracing_disabled(True)
called = []


class Weather(BaseModel):
    city: str
    degrees: int


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    called.append(("get_weather", city))
    return "18 degrees"


@function_tool
def get_time(city: str) -> str:
    """The time in a city."""
    called.append(("get_time", city))
    return "noon"


def agent(model: str = probe.MODEL, **more):
    return Agent(name="Assistant", instructions="Be brief.", model=model, **more)


async def plain():
    result = await Runner.run(agent(), probe.QUESTION)
    assert result.final_output.startswith("Echo What is"), result


async def stream():
    result = Runner.run_streamed(agent(), probe.QUESTION)
    kinds = [event.data.type async for event in result.stream_events() if event.type == "raw_response_event"]
    assert "response.output_text.delta" in kinds
    assert "response.completed" == kinds[-1]
    assert result.final_output.startswith("Echo What is")


async def tools():
    called.clear()
    result = await Runner.run(agent(tools=[get_weather, get_time]), probe.QUESTION)
    assert {("get_weather", "text"), ("get_time", "text")} == set(called)
    assert result.final_output


async def streamed_tools():
    called.clear()
    result = Runner.run_streamed(agent(tools=[get_weather, get_time]), probe.QUESTION)
    async for _ in result.stream_events():
        pass
    assert {("get_weather", "text"), ("get_time", "text")} == set(called)
    assert result.final_output


async def handoff():
    expert = agent()
    expert.name = "Expert"
    result = await Runner.run(agent(handoffs=[expert]), probe.QUESTION)
    assert "Expert" == result.last_agent.name
    assert result.final_output


async def schema():
    result = await Runner.run(agent(output_type=Weather), probe.QUESTION)
    assert result.final_output == Weather(city="text", degrees=1)


async def image():
    content = [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": probe.PICTURE, "detail": "auto"},
    ]
    assert (await Runner.run(agent(), [{"role": "user", "content": content}])).final_output
    assert "image_url" in str(probe.requests(probe.MODEL)[-1]["body"])


async def errors():
    await probe.raises(openai.NotFoundError, Runner.run(agent("nothing"), "hi"))


async def retries():
    probe.fails_once(probe.MODEL, "503")
    assert (await Runner.run(agent(), probe.QUESTION)).final_output


async def abort():
    task = asyncio.ensure_future(Runner.run(agent("hangs"), "hi"))
    await asyncio.sleep(0.5)
    task.cancel()
    await probe.raises(asyncio.CancelledError, task)


probe.main(plain, stream, tools, streamed_tools, handoff, schema, image, errors, retries, abort)
