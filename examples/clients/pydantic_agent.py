"""pydantic-ai: pip install 'pydantic-ai-slim[openai]'. `openai-chat:` and `openai-responses:` both work."""

import os

from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url=f"{os.environ['LUMNI_URL']}/v1", api_key=os.environ["LUMNI_API_KEY"])
agent = Agent(OpenAIResponsesModel("auto", provider=provider))


@agent.tool_plain
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"18 degrees in {city}"


print(agent.run_sync("What is the weather in Paris?").output)
