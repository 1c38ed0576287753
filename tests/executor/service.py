"""A whole executor on a real socket, its callers, and what it published to Redis."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import redis.asyncio as redis
import yaml
from lumni.chat.v1 import chat_pb2
from lumni.events.v1 import events_pb2
from lumni.executor.v1 import executor_pb2 as pb
from lumni.executor.v1 import executor_pb2_grpc

from services.chassis import errors, redis_keys, rpc, status
from services.chassis.config import from_environ
from services.chassis.telemetry import Settings as TelemetrySettings
from services.executor.__main__ import serving
from services.executor.settings import Settings

KEY = "sk-provider-canary-0123456789"
PATHS = {"anthropic": "", "gemini": "/v1beta", "groq": "/openai/v1", "deepseek": "/beta"}
OPERATIONS = {
    "chat": pb.OPERATION_CHAT,
    "completions": pb.OPERATION_COMPLETIONS,
    "embeddings": pb.OPERATION_EMBEDDINGS,
    "moderations": pb.OPERATION_MODERATIONS,
    "responses": pb.OPERATION_RESPONSES,
    "messages": pb.OPERATION_MESSAGES,
    "image_generation": pb.OPERATION_IMAGE_GENERATION,
    "audio_speech": pb.OPERATION_AUDIO_SPEECH,
    "audio_transcription": pb.OPERATION_AUDIO_TRANSCRIPTION,
}


@dataclass
class Outcome:
    """What a caller got."""

    answer: Any = None
    chunks: list[dict[str, Any]] = field(default_factory=list)
    # The places in chunks of those that end a choice.
    finishing: list[int] = field(default_factory=list)
    messages: int = 0
    report: pb.Report = field(default_factory=pb.Report)
    fault: errors.Fault | None = None

    @property
    def text(self) -> str:
        """What the model wrote."""
        if self.answer is not None:
            return str(self.answer["choices"][0]["message"]["content"])
        deltas = [choice.get("delta", {}) for chunk in self.chunks for choice in chunk["choices"]]
        return "".join(delta.get("content") or "" for delta in deltas)


class Caller:
    """A client of the executor."""

    def __init__(self, stub: executor_pb2_grpc.ExecutorServiceStub, url: str, engine: str = "fast") -> None:
        self.stub = stub
        self.engine = engine
        self._url = url
        self._number = 0

    def request(
        self,
        *candidates: str | pb.Candidate,
        operation: str = "chat",
        ident: str = "",
        max_cost: int = 10**9,
        likely_prompt_tokens: int = 0,
        **body: Any,
    ) -> pb.ExecuteRequest:
        """A request for candidates, in order."""
        self._number += 1
        if operation == "chat":
            body = {"messages": [{"role": "user", "content": "Tell me something short."}], **body}
        return pb.ExecuteRequest(
            context=chat_pb2.RequestContext(request_id=ident or f"req-{self._number}", tenant="t"),
            operation=OPERATIONS[operation],
            body_json=json.dumps({"model": "auto", **body}),
            candidates=[
                one
                if isinstance(one, pb.Candidate)
                else pb.Candidate(deployment=one, max_cost_nano_usd=max_cost)
                for one in candidates
            ],
            likely_prompt_tokens=likely_prompt_tokens,
        )

    async def ask(
        self, *candidates: str | pb.Candidate, stream: bool = False, timeout_s: float = 60, **body: Any
    ) -> Outcome:
        """Call and wait for the end, good or bad."""
        request = self.request(*candidates, **body)
        outcome = Outcome()
        try:
            if not stream:
                response = await self.stub.Execute(request, timeout=timeout_s)
                outcome.answer, outcome.report = json.loads(response.body_json), response.report
                return outcome
            async for piece in self.stub.StreamExecute(
                pb.StreamExecuteRequest(execute=request), timeout=timeout_s
            ):
                if piece.HasField("report"):
                    outcome.report = piece.report
                else:
                    outcome.messages += 1
                    outcome.finishing += [len(outcome.chunks) + place for place in piece.chunks.finishing]
                    outcome.chunks += [json.loads(chunk) for chunk in piece.chunks.chunk_json]
        except grpc.aio.AioRpcError as error:
            outcome.fault = status.from_rpc(error)
            for detail in outcome.fault.details:
                if detail.Is(pb.Report.DESCRIPTOR):  # type: ignore[attr-defined]
                    detail.Unpack(outcome.report)  # type: ignore[attr-defined]
        return outcome

    async def events(
        self, wanted: Callable[[list[events_pb2.UsageEvent]], bool] = bool, timeout_s: float = 60
    ) -> list[events_pb2.UsageEvent]:
        """The usage events in the stream, as soon as they are as wanted."""
        async with redis.from_url(self._url) as client:
            deadline = asyncio.get_running_loop().time() + timeout_s
            while True:
                entries: Any = await client.xrange(redis_keys.USAGE_STREAM)
                found = [
                    events_pb2.UsageEvent.FromString(entry[redis_keys.EVENT_FIELD.encode()])
                    for _, entry in entries
                ]
                # An event may be published twice, as the ledger knows; what it holds is the same.
                found = list({(one.attempt.id, one.kind): one for one in found}.values())
                if wanted(found):
                    return found
                assert asyncio.get_running_loop().time() < deadline, (
                    f"never as wanted: {len(found)} events {found[-3:]}"
                )
                await asyncio.sleep(0.01)

    async def ended(self, count: int) -> list[events_pb2.UsageEvent]:
        """The events of `count` attempts' ends, in order."""

        def all_ended(events: list[events_pb2.UsageEvent]) -> bool:
            return sum(one.kind != events_pb2.USAGE_KIND_STARTED for one in events) >= count

        return [one for one in await self.events(all_ended) if one.kind != events_pb2.USAGE_KIND_STARTED]


def deployments(url: str, models: Sequence[tuple[str, str]], **params: Any) -> dict[str, Any]:
    """A configuration of (id, LiteLLM's name of a model) on the simulator."""
    return {
        "model_list": [
            {
                "model_name": f"public-{ident}",
                "litellm_params": {
                    "model": model,
                    "api_base": url + PATHS.get(model.partition("/")[0], "/v1"),
                    "api_key": "os.environ/SIM_KEY",
                    **params,
                },
                "model_info": {"id": ident, "input_cost_per_token": 1e-6, "output_cost_per_token": 4e-6},
            }
            for ident, model in models
        ],
        "router_settings": {"num_retries": 0, "timeout": 10, "allowed_fails": 10_000},
    }


@asynccontextmanager
async def executor(
    folder: Path,
    config: dict[str, Any],
    redis_url: str = "",
    environ: dict[str, str] | None = None,
    **more: Any,
) -> AsyncIterator[Caller]:
    """An executor with this configuration, and a client of it."""
    (folder / "litellm_config.yaml").write_text(yaml.safe_dump(config))
    settings = Settings(
        **{
            "listen": "127.0.0.1:0",
            "config_dir": folder,
            "state_dir": folder / "state",
            "redis_url": redis_url,
            "first_backoff_s": 0.01,
            "longest_backoff_s": 0.1,
            "reload_s": 0.05,
            # Longer than any call here takes on a busy machine.
            "server": rpc.Settings(timeout_s=120),
            "telemetry": from_environ(TelemetrySettings, {}),
            **more,
        }
    )
    async with (
        serving(settings, environ={"SIM_KEY": KEY} if environ is None else environ) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield Caller(executor_pb2_grpc.ExecutorServiceStub(channel), redis_url, settings.engine)
