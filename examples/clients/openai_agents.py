"""OpenAI's Agents SDK: pip install openai-agents. It speaks the Responses API."""

import os

from agents import Agent, Runner, function_tool, set_default_openai_client, set_tracing_disabled
from openai import AsyncOpenAI

set_default_openai_client(
    AsyncOpenAI(base_url=f"{os.environ['LUMNI_URL']}/v1", api_key=os.environ["LUMNI_API_KEY"])
)
# Its traces would go to OpenAI with a key of Lumni's; Lumni has traces of its own.
set_tracing_disabled(True)


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"18 degrees in {city}"


agent = Agent(name="Assistant", instructions="Be brief.", model="auto", tools=[get_weather])
print(Runner.run_sync(agent, "What is the weather in Paris?").final_output)
