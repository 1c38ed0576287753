"""GatewayService: the same pipeline over gRPC, with the key in the call's metadata."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import orjson
from lumni.gateway.v1 import gateway_pb2, gateway_pb2_grpc

from services.chassis import errors, offload, rpc, stages, telemetry
from services.gateway.keys.permissions import Caller
from services.gateway.limits.concurrency import ConcurrencyLimiter
from services.gateway.limits.mistakes import MistakeLimit
from services.gateway.pipeline import simple_answer
from services.gateway.pipeline.pipeline import Pipeline
from services.gateway.prompts.expander import RequestExpander
from services.gateway.requests import decision_text, simple_request
from services.gateway.requests.model_request import ModelRequest
from services.gateway.requests.request_ids import request_id
from services.gateway.rpc import admission

NAMES = {role: name for name, role in decision_text.ROLES.items() if name != "function"}


class GatewayServicer(gateway_pb2_grpc.GatewayServiceServicer):
    """Unpacks a call, runs the pipeline, packs the answer."""

    def __init__(
        self,
        limiter: ConcurrencyLimiter,
        pipeline: Pipeline,
        prompts: RequestExpander,
        mistakes: MistakeLimit,
    ) -> None:
        self._limiter = limiter
        self._pipeline = pipeline
        self._prompts = prompts
        self._mistakes = mistakes

    async def Complete(
        self, request: gateway_pb2.CompleteRequest, context: object
    ) -> gateway_pb2.CompleteResponse:
        """POST /v1/chat/completions."""
        async with self._admitted() as caller:
            chat = await self._chat(caller, request, self._prompts)
            answer = await self._pipeline.complete(caller, chat)
        return gateway_pb2.CompleteResponse(body_json=answer.body)

    async def StreamComplete(
        self, request: gateway_pb2.StreamCompleteRequest, context: object
    ) -> AsyncGenerator[gateway_pb2.StreamCompleteResponse, None]:
        """The same, streamed."""
        async with self._admitted() as caller:
            chat = await self._chat(caller, request, self._prompts, stream=True)
            stream = await self._pipeline.stream(caller, chat)
            async with aclosing(stream.chunks) as chunks:
                async for chunk in chunks:
                    yield gateway_pb2.StreamCompleteResponse(chunk_json=[chunk])

    async def Ask(self, request: gateway_pb2.AskRequest, context: object) -> gateway_pb2.AskResponse:
        """A question in typed fields."""
        async with self._admitted() as caller:
            size = rpc.message_bytes.get()
            chat = (await offload.run(size, lambda: _asked(request))).with_size(size)
            answer = await self._pipeline.complete(caller, chat)
        short = simple_answer.of(answer)
        return gateway_pb2.AskResponse(
            text=short.text,
            model=short.model,
            classification=answer.decision.classification,
            reason=answer.decision.selection.reason,
            usage=answer.report.usage,
            cost_nano_usd=answer.report.cost_nano_usd,
            request_id=answer.decision.request_id,
            unpriced=short.lumni["cost"]["usd"] is None,
        )

    async def Route(self, request: gateway_pb2.RouteRequest, context: object) -> gateway_pb2.RouteResponse:
        """The decision without the call."""
        async with self._admitted() as caller:
            chat = await self._chat(caller, request, self._prompts.unmeasured())
            decision = await self._pipeline.route(caller, chat)
        return gateway_pb2.RouteResponse(classification=decision.classification, selection=decision.selection)

    async def _chat(
        self,
        caller: Caller,
        request: gateway_pb2.CompleteRequest | gateway_pb2.StreamCompleteRequest | gateway_pb2.RouteRequest,
        prompts: RequestExpander,
        *,
        stream: bool = False,
    ) -> ModelRequest:
        """What a body asks for; a long one is read beside the event loop."""
        size = rpc.message_bytes.get()
        # Not the method of the field: reading that copies the text, too.
        text = await offload.run(size, lambda: request.body_json.encode())  # noqa: PLW0108
        chat = await prompts.chat(caller, text, stream=stream)
        return chat.with_size(size)

    @asynccontextmanager
    async def _admitted(self) -> AsyncIterator[Caller]:
        """Who calls, with a slot among the requests that run at once until the block ends."""
        # The id is ours, as on REST: attempts are recorded by it.
        telemetry.request_id.set(request_id())
        caller = admission.caller.get()
        stages.add_past("authenticate", *admission.checked.get())
        async with self._limiter.slot(caller):
            with self._mistakes.guarding(caller.key_id) as attempt:
                attempt.size = rpc.message_bytes.get()
                yield caller


def _asked(request: gateway_pb2.AskRequest) -> ModelRequest:
    if bool(request.prompt) == bool(request.messages):
        raise errors.Invalid("prompt: set either prompt or messages", param="prompt")
    if request.messages and request.system:
        raise errors.Invalid("system: only beside prompt; make it the first of the messages", param="system")
    body: dict[str, object] = {}
    if request.model:
        body["model"] = request.model
    if request.max_tokens:
        body["max_tokens"] = request.max_tokens
    if request.HasField("temperature"):
        body["temperature"] = request.temperature
    if request.prompt:
        return simple_request.of_prompt(
            orjson.dumps({**body, "prompt": request.prompt, "system": request.system})
        )
    messages = [{"role": NAMES.get(m.role, "user"), "content": m.text} for m in request.messages]
    return simple_request.of_messages(orjson.dumps({**body, "messages": messages}))
