"""Whoever calls the executor: no tool and no state of a provider's is asked for."""

from pathlib import Path
from typing import Any

import pytest

from services.chassis import errors
from tests.executor.service import deployments, executor
from tests.simulator import Simulator

MODELS = [("openai", "openai/gpt-sim-tokens-4"), ("anthropic", "anthropic/claude-sim-tokens-4")]
TURN = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("operation", "provider", "body", "field"),
    [
        ("responses", "openai", {"input": "hi", "tools": [{"type": "web_search"}]}, "tools[0].type"),
        ("responses", "openai", {"input": "hi", "previous_response_id": "resp_1"}, "previous_response_id"),
        ("responses", "openai", {"input": "hi", "store": True}, "store"),
        ("responses", "openai", {"input": [{"type": "item_reference", "id": "m"}]}, "input[0].type"),
        (
            "messages",
            "anthropic",
            {
                "messages": TURN,
                "max_tokens": 5,
                "tools": [{"type": "web_search_20250305", "name": "web_search"}],
            },
            "tools[0].type",
        ),
        ("messages", "anthropic", {"messages": TURN, "max_tokens": 5, "mcp_servers": [{}]}, "mcp_servers"),
        ("messages", "anthropic", {"messages": TURN, "max_tokens": 5, "container": "c_1"}, "container"),
        ("chat", "anthropic", {"web_search_options": {}}, "web_search_options"),
        ("completions", "openai", {"prompt": "hi", "extra_body": {"store": True}}, "extra_body.store"),
        ("embeddings", "openai", {"input": "hi", "store": True}, "store"),
    ],
)
async def test_a_hosted_tool_is_refused_in_every_operation(
    operation: str, provider: str, body: dict[str, Any], field: str, simulator: Simulator, tmp_path: Path
) -> None:
    async with executor(tmp_path, deployments(simulator.url, MODELS)) as caller:
        outcome = await caller.ask(provider, operation=operation, **body)

    assert isinstance(outcome.fault, errors.Invalid)
    assert field == outcome.fault.param
    assert 0 == (await simulator.counts())["requests"]


async def test_what_no_provider_can_be_told_is_refused_by_its_field(
    simulator: Simulator, tmp_path: Path
) -> None:
    async with executor(tmp_path, deployments(simulator.url, MODELS)) as caller:
        outcome = await caller.ask("anthropic", logit_bias={"7": 1})

    assert isinstance(outcome.fault, errors.Invalid)
    assert "logit_bias" == outcome.fault.param


async def test_openai_is_told_to_keep_no_response(simulator: Simulator, tmp_path: Path) -> None:
    config = deployments(simulator.url, MODELS)
    for one in config["model_list"]:
        one["model_info"]["supported_endpoints"] = ["/v1/responses"]
    async with executor(tmp_path, config) as caller:
        outcome = await caller.ask("openai", operation="responses", input="hi")
    [sent] = await simulator.requests()

    assert outcome.fault is None
    assert sent["body"]["store"] is False
