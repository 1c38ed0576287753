"""Tokens are counted with what is here."""

import litellm

from services.executor.engines.litellm_sdk import LiteLLMEngine


async def test_no_tokenizer_is_fetched_while_callers_wait(litellm_engine: LiteLLMEngine) -> None:
    assert litellm_engine.name
    # For models such as Llama's LiteLLM would ask a hub for one, five times over and with the event loop waiting.
    assert litellm.disable_hf_tokenizer_download is True
