"""Anthropic's SDK, with any model behind it: pip install anthropic."""

import os

from anthropic import Anthropic

client = Anthropic(base_url=os.environ["LUMNI_URL"], api_key=os.environ["LUMNI_API_KEY"])
question = [{"role": "user", "content": "Name a prime."}]

message = client.messages.create(model="auto", max_tokens=200, messages=question)
print(message.content[0].text)
print(message.model, "cost", message.lumni["cost"]["usd"], "USD")

with client.messages.stream(model="auto", max_tokens=200, messages=question) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
print()
