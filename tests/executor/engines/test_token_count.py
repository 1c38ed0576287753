"""Tokens are counted with what is here."""

import litellm

from services.chassis.operations import Operation
from services.executor.engines import token_count
from services.executor.engines.base import Call
from services.executor.engines.litellm_sdk import LiteLLMEngine
from tests.executor.fleet import deployment


async def test_no_tokenizer_is_fetched_while_callers_wait(litellm_engine: LiteLLMEngine) -> None:
    assert litellm_engine.name
    # For models such as Llama's LiteLLM would ask a hub for one, five times over and with the event loop waiting.
    assert litellm.disable_hf_tokenizer_download is True


def test_a_property_named_type_is_counted_as_any_other() -> None:
    named = {"type": "object", "properties": {"type": {"type": "string", "description": "Kind of ticket"}}}
    tool = {"type": "function", "function": {"name": "file_ticket", "parameters": named}}
    body = {"messages": [{"role": "user", "content": "File it."}]}
    without, with_tool = (
        token_count.estimate(
            Call(deployment(""), None, Operation.CHAT, one, stream=False, timeout_s=1), "Done."
        )
        for one in (body, {**body, "tools": [tool]})
    )

    assert without.prompt_tokens < with_tool.prompt_tokens
    assert without.completion_tokens == with_tool.completion_tokens > 0
