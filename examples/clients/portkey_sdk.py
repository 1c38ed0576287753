"""Portkey's SDK: pip install portkey-ai. Its key travels in a header of its own, and its trace id is echoed."""

import os

from portkey_ai import Portkey

client = Portkey(
    base_url=f"{os.environ['LUMNI_URL']}/v1", api_key=os.environ["LUMNI_API_KEY"], trace_id="my-trace"
)
answer = client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "Name a prime."}])
print(answer.choices[0].message.content)
