"""LiteLLM's SDK, with Lumni where its proxy was: pip install litellm."""

import os

import litellm

answer = litellm.completion(
    model="litellm_proxy/auto",
    messages=[{"role": "user", "content": "Name a prime."}],
    api_base=os.environ["LUMNI_URL"],
    api_key=os.environ["LUMNI_API_KEY"],
)
print(answer.choices[0].message.content)
