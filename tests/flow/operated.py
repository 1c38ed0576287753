"""All services in one process, with everything that operators may turn on and that is off elsewhere."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from services.chassis import redis
from services.gateway import postgres
from services.gateway.keys.database import KeyDatabase
from services.gateway.prompts import content
from services.gateway.prompts.content import Kind
from services.gateway.prompts.store import PromptStore
from services.local.valkey import Valkey
from tests import portkey, webhook
from tests.flow import stack as stacks
from tests.flow.stack import Stack
from tests.otlp import Collector
from tests.portkey import Portkey
from tests.simulator import Simulator
from tests.webhook import Webhook

KEY = "pk-recording"
# Breakers close soon after what opened them is mended.
FLEET = stacks.FLEET.replace("num_retries: 0", "num_retries: 0\n  cooldown_time: 1")
# Of a key of the one plan nothing is kept, and of the other one what it asked may be evaluated.
PRIVATE = """plans:
  private: {access_groups: [all], store_prompts: false}
  shared: {access_groups: [all], evaluate_prompts: true}"""
PLANS = f"""{stacks.PLANS.replace("plans:", PRIVATE)}
system_prompts:
  base: Answer briefly.
  plans: {{searching: Name your sources.}}
  categories: {{code: Show whole files.}}
  models: {{small: {{prompt: tables, variables: {{how: no tables}}}}, large: Use one table.}}
alerts:
  every_s: 1
  window_s: 10
  least_requests: 4
  error_rate: 0.1
  fallback_rate: 1
  answer_s: 2
  deployment_down_s: 0
  ledger_behind_s: 1
  budget_usd: 1
  spending_every_s: 1
"""


@dataclass(frozen=True)
class Operated:
    """The running whole, and what an operator has connected to it."""

    stack: Stack
    # With the app's key.
    client: httpx.AsyncClient
    # Of request logs.
    folder: Path
    # Where attempts go.
    portkey: Portkey
    # Where alerts go.
    webhook: Webhook


@asynccontextmanager
async def running(
    folder: Path, *, database: str, valkey: Valkey, simulator: Simulator, collector: Collector
) -> AsyncIterator[Operated]:
    """Run it until the block ends."""
    logs = folder / "llm"
    await _store_prompt(database, valkey)
    with portkey.serving(KEY) as fake:
        async with webhook.listening() as alerts:
            extra = {
                "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address,
                "PORTKEY_API_KEY": KEY,
                "LUMNI_PORTKEY_FORMAT": "logs",
                "LUMNI_PORTKEY_LOGS": f"{fake.address}/v1/logs",
                "LUMNI_PORTKEY_FEEDBACK": f"{fake.address}/v1/feedback",
                "LUMNI_REQUEST_LOG_DIR": str(logs),
                "LUMNI_TRACE_CONTENT": "redacted",
                "LUMNI_PROMPTS_KEY": "a-key-of-the-tests-for-prompts-and-answers",
                "LUMNI_ALERTS_WEBHOOK": alerts.address,
                "LUMNI_ALERTS_FORMAT": "json",
            }
            async with (
                stacks.running(
                    folder,
                    database=database,
                    valkey=valkey,
                    simulator=simulator.url,
                    extra=extra,
                    fleet=FLEET,
                    plans=PLANS,
                    arrangement="together",
                ) as stack,
                httpx.AsyncClient(
                    base_url=stack.rest, headers=stack.headers, timeout=60, trust_env=False
                ) as client,
            ):
                stack.database, stack.valkey = database, valkey.url
                yield Operated(stack, client, logs, fake, alerts)


async def _store_prompt(database: str, valkey: Valkey) -> None:
    """Keep the prompt that a system prompt of the operator names: no gateway starts without it."""
    async with postgres.pool(database) as pool:
        variables = {"how": {"type": "string"}}
        said = {"messages": [{"role": "system", "content": "Use {{how}}."}], "variables": variables}
        checked = content.parse(said, Kind.PROMPT)
        client = redis.connect(valkey.url)
        store = PromptStore(KeyDatabase(pool, client))
        await store.create("operator", name="tables", kind=Kind.PROMPT, content=checked)
        await client.aclose()
