"""What Anthropic is asked for beyond its stable API, by the body and by the deployment."""

from typing import Any

import pytest

from services.chassis.operations import Operation
from services.executor.engines import native
from services.executor.engines.base import Call
from services.executor.engines.prepare import Preparer
from tests.executor.fleet import deployment


@pytest.mark.parametrize(
    ("configured", "expected"),
    [
        ({}, "context-management-2025-06-27"),
        (
            {"params": {"extra_headers": {"anthropic-beta": "context-1m"}}},
            "context-1m,context-management-2025-06-27",
        ),
    ],
)
async def test_a_body_is_asked_with_what_it_needs_beside_what_is_configured(
    configured: dict[str, Any], expected: str
) -> None:
    call = Call(
        operation=Operation.MESSAGES,
        deployment=deployment("http://127.0.0.1:1", "anthropic", "claude-sonnet-4-5", **configured),
        body={
            "max_tokens": 5,
            "messages": [{"role": "user", "content": "hi"}],
            "context_management": {"edits": []},
        },
        key="sk-x",
        stream=False,
        timeout_s=5,
    )

    async with Preparer({}).prepared(call) as prepared:
        upstream = native.translate(prepared)

    assert upstream is not None
    assert expected == upstream.headers["anthropic-beta"]
