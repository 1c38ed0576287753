"""OpenAI's SDK: pip install openai."""

import os

from openai import OpenAI

client = OpenAI(base_url=f"{os.environ['LUMNI_URL']}/v1", api_key=os.environ["LUMNI_API_KEY"])

answer = client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "Name a prime."}])
print(answer.choices[0].message.content)
print(answer.model, "cost", answer.lumni["cost"]["usd"], "USD")

for event in client.responses.create(model="auto", input="Count to five.", stream=True):
    if event.type == "response.output_text.delta":
        print(event.delta, end="", flush=True)
print()

embedding_model = os.environ.get("EMBEDDING_MODEL", "text-embedding-3-small")
print(len(client.embeddings.create(model=embedding_model, input="a text").data[0].embedding), "numbers")
