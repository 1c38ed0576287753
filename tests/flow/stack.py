"""All services as processes, apart or together, over real sockets, in front of the provider simulator."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from services.chassis import redis_acl, rpc
from services.local.ports import free as free_port
from services.local.service import Service, grpc_health
from services.local.valkey import Valkey
from tests.deadlines import with_deadline
from tests.forked_service import ForkedService, kept

API_KEY = "sk-lumni-test-key"
ADMIN_KEY = "sk-lumni-admin-test-key"
VIEWER_KEY = "sk-lumni-viewer-test-key"
# The origin of a web page that may call.
PAGE = "https://app.example"
# How long the gateway waits for a decision, and every service for Redis, before it goes on without: longer than in
# production, so that a busy machine is not taken for an outage.
DECISION_TIMEOUT_S = 3.0
REDIS_TIMEOUT_S = 10.0
# Failures that open no breaker: many tests ask for models that fail, on one stack, within one window.
ALLOWED_FAILS = 30
# A start that takes longer than this has failed; a busy machine needs a fifth of it.
START_S = 120.0


@dataclass(frozen=True)
class Arrangement:
    """Which services run in the gateway's process, and how many of that there are."""

    inside: tuple[str, ...] = ()
    workers: int = 1


ARRANGEMENTS: Mapping[str, Arrangement] = {
    "apart": Arrangement(),
    "deciding": Arrangement(("classifier", "selector")),
    "together": Arrangement(("classifier", "selector", "executor")),
    "workers": Arrangement(("classifier", "selector", "executor"), workers=2),
}

FLEET = """
model_list:
  - model_name: small
    litellm_params: {{model: openai/small, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info:
      {{input_cost_per_token: 0.0000001, output_cost_per_token: 0.0000004, max_input_tokens: 8192,
       supports_function_calling: true, supports_response_schema: true, access_groups: [all]}}
  - model_name: large
    litellm_params: {{model: openai/large, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info:
      {{input_cost_per_token: 0.0000025, output_cost_per_token: 0.00001, max_input_tokens: 128000,
       supports_function_calling: true, supports_response_schema: true, supports_vision: true, access_groups: [all]}}
  # Dear and unloved, so that nothing but their own name leads to them.
  - model_name: breaks
    litellm_params: {{model: openai/breaks-sim-500, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: &faulty
      {{input_cost_per_token: 0.0005, output_cost_per_token: 0.001, max_input_tokens: 8192, priority: 0,
       access_groups: [all]}}
  # Slow enough that equal requests meet.
  - model_name: meets
    litellm_params: {{model: openai/meets-sim-slow-500, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: *faulty
  # For the tests that open a breaker, so that others need not wait for it to close.
  - model_name: opens
    litellm_params: {{model: openai/opens-sim-500, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: *faulty
  - model_name: cuts
    litellm_params: {{model: openai/cuts-sim-cut-3, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: *faulty
  - model_name: hangs
    litellm_params: {{model: openai/hangs-sim-hang, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: *faulty
  # Its name is the provider's, so its chunks arrive as the text they came as.
  - model_name: sim-spaced
    litellm_params: {{model: openai/sim-spaced, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: *faulty
  - model_name: keyless
    litellm_params: {{model: openai/keyless, api_base: "{simulator}/v1", api_key: os.environ/NOBODYS_KEY}}
    model_info: *faulty
  # Anthropic's own format.
  - model_name: native
    litellm_params: {{model: anthropic/native, api_base: "{simulator}", api_key: os.environ/SIMULATOR_KEY}}
    model_info:
      {{input_cost_per_token: 0.0005, output_cost_per_token: 0.001, cache_read_input_token_cost: 0.00005,
       max_input_tokens: 200000, priority: 0, supports_function_calling: true, supports_response_schema: true,
       supports_vision: true, access_groups: [all]}}
  # OpenAI's own responses; all others chat.
  - model_name: responder
    litellm_params: {{model: openai/responder, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info:
      {{input_cost_per_token: 0.0005, output_cost_per_token: 0.001, max_input_tokens: 128000, priority: 0,
       supports_function_calling: true, supports_response_schema: true, supports_vision: true, access_groups: [all],
       supported_endpoints: [/v1/responses]}}
  # What only does one thing: vectors, and texts to go on with.
  - model_name: vectors
    litellm_params: {{model: openai/vectors, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: {{mode: embedding, input_cost_per_token: 0.00000002, max_input_tokens: 8192, access_groups: [all]}}
  - model_name: judge
    litellm_params: {{model: openai/judge, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: {{mode: moderation, input_cost_per_token: 0, max_input_tokens: 32768, access_groups: [all]}}
  # Pictures by the piece and by tokens, speech, and transcriptions by the second and by tokens.
  - model_name: dall-e
    litellm_params: {{model: openai/dall-e, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: {{mode: image_generation, output_cost_per_image: 0.04, access_groups: [all]}}
  - model_name: gpt-image-1
    litellm_params: {{model: openai/gpt-image-1, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: {{access_groups: [all]}}
  - model_name: tts-1
    litellm_params: {{model: openai/tts-1, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: {{access_groups: [all]}}
  - model_name: whisper-1
    litellm_params: {{model: openai/whisper-1, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: {{access_groups: [all]}}
  - model_name: gpt-4o-transcribe
    litellm_params: {{model: openai/gpt-4o-transcribe, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: {{access_groups: [all]}}
  # A name that breaks, and what stands in for it.
  - model_name: silent
    litellm_params: {{model: openai/silent-sim-500, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info: {{mode: audio_speech, input_cost_per_character: 0.00003, access_groups: [all]}}
  - model_name: legacy
    litellm_params: {{model: openai/legacy, api_base: "{simulator}/v1", api_key: os.environ/SIMULATOR_KEY}}
    model_info:
      {{mode: completion, input_cost_per_token: 0.0000015, output_cost_per_token: 0.000002, max_input_tokens: 4096,
       access_groups: [all]}}
  # Reached by the plan that allows searches alone.
  - model_name: searches
    litellm_params: {{model: anthropic/claude-sim-searches-3, api_base: "{simulator}", api_key: os.environ/SIMULATOR_KEY}}
    model_info:
      {{input_cost_per_token: 0.000001, output_cost_per_token: 0.000005, max_input_tokens: 200000,
       supports_function_calling: true, web_search_cost_per_use: 0.01, web_search_tokens_per_use: 10000,
       access_groups: [searching]}}
router_settings:
  num_retries: 0
  allowed_fails: {allowed_fails}
  fallbacks: [{{breaks: [small]}}, {{opens: [small]}}, {{silent: [tts-1]}}]
"""
PLANS = """
plans:
  open: {access_groups: [all], max_output_tokens: 256, semantic_cache: true}
  searching:
    access_groups: [searching, all]
    max_output_tokens: 256
    hosted_tools: {web_search: {max_uses: 1000}}
    store: true
default_plan: open
bootstrap_plan: open
switches: {keep_features: true}
"""


@dataclass
class Stack:
    """The running whole."""

    rest: str
    grpc: str
    database: str = ""
    # The address of Valkey for somebody who may do everything there.
    valkey: str = ""
    # The process of each service; those that are together have the same.
    services: dict[str, Service] = field(default_factory=dict)
    # The gRPC address of each service.
    listen: dict[str, str] = field(default_factory=dict)
    # Where Prometheus would read the metrics of each process.
    metrics: dict[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        """What an app sends."""
        return {"authorization": f"Bearer {API_KEY}"}


@asynccontextmanager
async def running(
    folder: Path,
    *,
    database: str,
    valkey: Valkey,
    simulator: str,
    extra: Mapping[str, str] | None = None,
    fleet: str = FLEET,
    plans: str = PLANS,
    arrangement: str = "apart",
) -> AsyncIterator[Stack]:
    """Run classifier, selector, executor, ledger and gateway on free ports until the block ends."""
    inside = ARRANGEMENTS[arrangement].inside
    config = folder / "config"
    config.mkdir(parents=True)
    (config / "litellm_config.yaml").write_text(
        fleet.format(simulator=simulator, allowed_fails=ALLOWED_FAILS)
    )
    (config / "lumni.yaml").write_text(plans)
    ports = {
        name: f"127.0.0.1:{free_port()}" for name in ("classifier", "selector", "executor", "gateway", "rest")
    }
    shared = {
        "LUMNI_CONFIG_DIR": str(config),
        "LUMNI_STATE_DIR": str(folder / "state"),
        "LUMNI_LOG_LEVEL": "INFO",
        "LUMNI_REQUEST_TIMEOUT_S": "60",
        **(extra or {}),
    }
    front = {
        "DATABASE_URL": database,
        "LUMNI_CLASSIFY_TIMEOUT_S": str(DECISION_TIMEOUT_S),
        "LUMNI_SELECT_TIMEOUT_S": str(DECISION_TIMEOUT_S),
        "LUMNI_REST_LISTEN": ports["rest"],
        "LUMNI_API_KEY": API_KEY,
        "LUMNI_ADMIN_KEY": ADMIN_KEY,
        "LUMNI_VIEWER_KEY": VIEWER_KEY,
        "LUMNI_RESPONSES_KEY": "a-key-of-the-tests-for-what-is-kept",
        "LUMNI_CORS_ORIGINS": PAGE,
        "LUMNI_WORKERS": str(ARRANGEMENTS[arrangement].workers),
    }
    own: dict[str, dict[str, str]] = {
        "executor": {"SIMULATOR_KEY": "sk-sim-canary"},
        "gateway": front,
        "ledger": {"DATABASE_URL": database},
    }
    for name in ("classifier", "selector", "executor"):
        word = name.upper()
        front[f"LUMNI_{word}"] = rpc.INPROC if name in inside else ports[name]
        if name in inside:
            front |= own.get(name, {})
            front[f"LUMNI_{word}_LISTEN"] = ports[name]
            if name in redis_acl.USERS:
                front[f"LUMNI_{word}_REDIS_URL"] = with_deadline(valkey.url_of(name), REDIS_TIMEOUT_S)
    modules = {"ledger": "gateway.ledger", "gateway": "together" if inside else "gateway"}
    # Workers are started by the command line of the process that they are workers of.
    kind = Service if ARRANGEMENTS[arrangement].workers > 1 else ForkedService
    stack = Stack(f"http://{ports['rest']}", ports["gateway"], listen=ports)
    for name in ("classifier", "selector", "executor", "ledger", "gateway"):
        if name in inside:
            continue
        listen = ports.get(name, "")
        measured = f"127.0.0.1:{free_port()}"
        stack.metrics[name] = f"http://{measured}/metrics"
        environ = {**shared, **own.get(name, {}), "LUMNI_METRICS_LISTEN": measured}
        if name in redis_acl.USERS:
            environ["REDIS_URL"] = with_deadline(valkey.url_of(name), REDIS_TIMEOUT_S)
        if listen:
            environ["LUMNI_LISTEN"] = listen
        stack.services[name] = kind(
            name,
            f"services.{modules.get(name, name)}",
            environ=kept() | environ,
            log=folder / f"{name}.log",
            is_ready=grpc_health(listen, rpc.Settings()) if listen else None,
        )
    processes = list(stack.services.values())
    stack.services |= dict.fromkeys(inside, stack.services["gateway"])
    async with AsyncExitStack() as ends:
        for service in processes:
            service.spawn()
            ends.push_async_callback(service.stop)
        for service in processes:
            await service.ready(START_S)
        await _until_ready(stack.rest)
        yield stack


async def _until_ready(rest: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(START_S):
        while (await http.get(f"{rest}/health/ready")).status_code != 200:
            await asyncio.sleep(0.05)
