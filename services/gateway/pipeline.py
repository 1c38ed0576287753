"""The one road: classify, select, admit, execute, settle, answer.

Data only flows forward. Whatever is slow or gone degrades the decision, visibly, or fails the request; nothing
hangs it.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from google.protobuf.any_pb2 import Any as AnyMessage
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.events.v1 import events_pb2
from lumni.executor.v1 import executor_pb2
from lumni.selector.v1 import selector_pb2
from opentelemetry import trace

from services.chassis import errors, money, telemetry
from services.gateway import render
from services.gateway.chat_request import Chat
from services.gateway.config.plans import AtLimit
from services.gateway.config.switches import Switches
from services.gateway.keys.authenticator import Caller
from services.gateway.limits.admission import Admission, Limits
from services.gateway.peers.clients import Classifier, Executor, Selector
from services.gateway.peers.decisions import Decisions
from services.gateway.peers.fallback_selection import FallbackSelection

log = logging.getLogger(__name__)

TIERS = {"fast": classifier_pb2.TIER_FAST, "powerful": classifier_pb2.TIER_POWERFUL}
# A chunk that ends a choice waits for the bill, which follows at once; all others are sent as they come.
FINISHED = '"finish_reason":"'
# What a question that calls no model takes of a plan's limits.
NO_CALL = selector_pb2.Candidate()
NO_REPORT = executor_pb2.Report()


@dataclass(slots=True)
class Decision:
    """What was decided about one request, and how long that took."""

    request_id: str
    began: float
    context: chat_pb2.RequestContext
    classification: classifier_pb2.Classification
    selection: selector_pb2.Selection
    degraded: list[str]
    classify_ms: float = 0.0
    select_ms: float = 0.0


@dataclass(slots=True)
class Answer:
    """A whole answer: its body, its headers, and the bill."""

    body: str
    headers: dict[str, str]
    decision: Decision
    report: executor_pb2.Report


@dataclass(slots=True)
class Stream:
    """An answer that has begun: headers, then chunks."""

    headers: dict[str, str]
    decision: Decision
    chunks: AsyncGenerator[str, None] = field(repr=False)


class Pipeline:
    """Conducts requests; every collaborator comes from outside."""

    def __init__(
        self,
        *,
        classifier: Classifier,
        selector: Selector,
        executor: Executor,
        limits: Limits,
        decisions: Decisions,
        fallback: FallbackSelection,
        switches: Switches,
        timeout_s: float,
    ) -> None:
        self._classifier = classifier
        self._selector = selector
        self._executor = executor
        self._limits = limits
        self._decisions = decisions
        self._fallback = fallback
        self._switches = switches
        self._timeout_s = timeout_s

    async def decide(self, caller: Caller, chat: Chat, *, what_if: bool = False) -> Decision:
        """Classify and select; a service that is down degrades the decision and is named in it.

        With `what_if` the caller's other weights and another time are heard too; nothing is executed on that.
        """
        began = time.perf_counter()
        context = self._context(caller)
        degraded: list[str] = []
        judged = await self._classify(chat, context, degraded)
        classified = time.perf_counter()
        request = selector_pb2.SelectRequest(
            context=context,
            classification=_without_features(judged),
            requirements=_requirements(caller, chat),
            policy=policy(caller, chat, what_if=what_if),
            model=chat.model,
        )
        selection = await self._select(request, degraded)
        selected = time.perf_counter()
        return Decision(
            request_id=context.request_id,
            began=began,
            context=context,
            classification=judged,
            selection=selection,
            degraded=degraded,
            classify_ms=(classified - began) * 1000,
            select_ms=(selected - classified) * 1000,
        )

    async def route(self, caller: Caller, chat: Chat, *, seen_as: Caller | None = None) -> Decision:
        """The decision without the call, perhaps as another caller would get it; counts as a request without tokens.

        Raises:
            Fault: as `complete`.
        """
        async with self.counted(caller):
            return await self.decide(seen_as or caller, chat, what_if=True)

    @asynccontextmanager
    async def counted(self, caller: Caller) -> AsyncIterator[None]:
        """Count what calls no model as a request without tokens, under way until the block ends.

        Raises:
            Fault: the caller has no requests left.
        """
        without_budgets = tuple(replace(subject, budget=None) for subject in caller.subjects)
        admission = await self._limits.admit(
            replace(caller, subjects=without_budgets),
            request_id=telemetry.request_id.get(),
            prompt_tokens=0,
            output_tokens=0,
            candidates=[NO_CALL],
        )
        try:
            yield
        finally:
            await self._limits.settle(admission, NO_REPORT)

    async def complete(self, caller: Caller, chat: Chat) -> Answer:
        """Answer at once.

        Raises:
            Fault: what the caller did wrong, or what is down; nothing was billed that is not in the books.
        """
        decision, admission = await self._admitted(caller, chat)
        try:
            response = await self._executor.execute(self._work(decision, admission, chat), self._timeout_s)
        except errors.Fault as fault:
            await self._settle_failed(admission, fault)
            raise _seen_from_outside(fault) from fault
        except asyncio.CancelledError:
            self._limits.abandon(admission)
            raise
        await self._limits.settle(admission, response.report)
        extra = extras(decision, response.report)
        return Answer(
            body=render.spliced(response.body_json, extra),
            headers=headers(decision, admission, response.report),
            decision=decision,
            report=response.report,
        )

    async def stream(self, caller: Caller, chat: Chat) -> Stream:
        """Answer in chunks; returns when the first has come, so that an early failure is an ordinary one.

        Raises:
            Fault: as `complete`; the iteration too.
        """
        decision, admission = await self._admitted(caller, chat)
        pieces = self._executor.stream(self._work(decision, admission, chat), self._timeout_s)
        try:
            first = await anext(pieces)
        except StopAsyncIteration as error:
            self._limits.abandon(admission)
            raise errors.Unavailable("the executor ended without an answer", retry_after_s=1) from error
        except errors.Fault as fault:
            await self._settle_failed(admission, fault)
            raise _seen_from_outside(fault) from fault
        except asyncio.CancelledError:
            self._limits.abandon(admission)
            raise
        return Stream(
            headers=headers(decision, admission, None),
            decision=decision,
            chunks=self._chunks(decision, admission, first, pieces),
        )

    async def _chunks(
        self,
        decision: Decision,
        admission: Admission,
        first: executor_pb2.StreamExecuteResponse,
        pieces: AsyncGenerator[executor_pb2.StreamExecuteResponse, None],
    ) -> AsyncGenerator[str, None]:
        held: str | None = None
        report: executor_pb2.Report | None = None
        async with aclosing(_chained(first, pieces)) as responses:
            try:
                async for response in responses:
                    if response.WhichOneof("piece") == "report":
                        report = response.report
                        continue
                    for chunk in response.chunks.chunk_json:
                        if held is not None:
                            yield held
                        held = chunk if FINISHED in chunk or held is not None else None
                        if held is None:
                            yield chunk
            except errors.Fault as fault:
                await self._settle_failed(admission, fault)
                if held is not None:
                    yield held
                raise _seen_from_outside(fault) from fault
            except (asyncio.CancelledError, GeneratorExit):
                self._limits.abandon(admission)
                raise
        if report is None:
            self._limits.abandon(admission)
            raise errors.Unavailable("the executor ended without a report")
        await self._limits.settle(admission, report)
        extra = extras(decision, report)
        yield render.spliced(held or _empty_chunk(decision), extra)

    async def _admitted(self, caller: Caller, chat: Chat) -> tuple[Decision, Admission]:
        try:
            decision = await self.decide(caller, chat)
        except errors.Fault as fault:
            self._refused(caller, chat, fault)
            raise
        try:
            admission = await self._limits.admit(
                caller,
                request_id=decision.request_id,
                prompt_tokens=chat.prompt_tokens,
                likely_prompt_tokens=chat.likely_prompt_tokens,
                output_tokens=chat.choices * _output_bound(caller, chat),
                candidates=decision.selection.candidates,
            )
        except errors.Fault as fault:
            self._decided(decision, chat, fault.reason)
            raise
        decision.context.admitted_unix_ms = admission.admitted_unix_ms
        self._decided(decision, chat, "")
        return decision, admission

    async def _classify(
        self, chat: Chat, context: chat_pb2.RequestContext, degraded: list[str]
    ) -> classifier_pb2.Classification:
        request = classifier_pb2.ClassifyRequest(
            context=context,
            messages=chat.messages,
            tools=chat.tools,
            output_format=chat.output_format,
            include_features=self._switches.keep_features,
        )
        if self._switches.classification:
            try:
                return await self._classifier.classify(request)
            except errors.Invalid:
                raise
            except errors.Fault as fault:
                _note_trouble("classifier", fault)
                degraded.append("classifier")
        # Without a version: nobody judged it.
        return classifier_pb2.Classification(strong_win_rate=0.5, prompt_tokens=chat.likely_prompt_tokens)

    async def _select(
        self, request: selector_pb2.SelectRequest, degraded: list[str]
    ) -> selector_pb2.Selection:
        if not self._switches.selection:
            return self._fallback.configured(request, "selection is switched off: the configured order")
        try:
            selection = await self._selector.select(request)
        except (errors.Unavailable, errors.Internal, errors.Unauthenticated) as fault:
            # Any other fault is an answer, and so is that nothing healthy is left.
            if isinstance(fault, errors.Unavailable) and fault.reason != errors.Unavailable.reason:
                raise
            _note_trouble("selector", fault)
            degraded.append("selector")
            return self._fallback.select(request)
        self._fallback.remember(request, selection)
        return selection

    def _context(self, caller: Caller) -> chat_pb2.RequestContext:
        return chat_pb2.RequestContext(
            request_id=telemetry.request_id.get(),
            tenant=caller.tenant,
            key_id=caller.key_id,
            user_id=caller.user_id,
            organization_id=caller.organization_id,
            plan=caller.plan.name,
            deadline_unix_ms=int((time.time() + self._timeout_s) * 1000),
            traceparent=telemetry.traceparent(),
        )

    def _work(self, decision: Decision, admission: Admission, chat: Chat) -> executor_pb2.ExecuteRequest:
        admitted = set(admission.deployments)
        return executor_pb2.ExecuteRequest(
            context=decision.context,
            operation=executor_pb2.OPERATION_CHAT,
            body_json=orjson.dumps(capped(chat, admission)).decode(),
            candidates=[
                executor_pb2.Candidate(
                    deployment=candidate.deployment,
                    only_on=candidate.only_on,
                    max_cost_nano_usd=candidate.max_cost_nano_usd,
                )
                for candidate in decision.selection.candidates
                if candidate.deployment in admitted
            ],
            category=decision.classification.category,
            tier=decision.selection.tier,
            max_billed_attempts=self._limits.billable_attempts,
        )

    def _decided(self, decision: Decision, chat: Chat, refusal: str) -> None:
        span = trace.get_current_span()
        span.set_attribute("lumni.tier", render.word(classifier_pb2.Tier, decision.selection.tier) or "none")
        span.set_attribute("gen_ai.request.model", chat.model)
        self._decisions.append(
            events_pb2.DecisionEvent(
                context=decision.context,
                classification=decision.classification,
                selection=decision.selection,
                refusal=refusal,
                decided_unix_ms=int(time.time() * 1000),
                requested_model=chat.model,
                degraded=decision.degraded,
            )
        )

    def _refused(self, caller: Caller, chat: Chat, fault: errors.Fault) -> None:
        self._decisions.append(
            events_pb2.DecisionEvent(
                context=self._context(caller),
                refusal=fault.reason,
                decided_unix_ms=int(time.time() * 1000),
                requested_model=chat.model,
            )
        )

    async def _settle_failed(self, admission: Admission, fault: errors.Fault) -> None:
        """A failed call may have been billed; without its report only the ledger can tell, from the events."""
        report = reported(fault)
        if report is None:
            self._limits.abandon(admission)
        else:
            await self._limits.settle(admission, report)


def reported(fault: errors.Fault) -> executor_pb2.Report | None:
    """The bill that a failed call carries."""
    report = executor_pb2.Report()
    for detail in fault.details:
        if isinstance(detail, AnyMessage) and detail.Unpack(report):
            return report
    return None


def policy(caller: Caller, chat: Chat, *, what_if: bool = False) -> selector_pb2.Policy:
    """What the plan and the key allow, and what the request wants within that."""
    plan, hints = caller.plan, chat.hints
    wanted = selector_pb2.Policy(
        strategy=hints.strategy or plan.strategy,
        allowed_models=caller.models,
        access_groups=plan.access_groups,
        max_cost_nano_usd=round(hints.max_cost_usd * money.NANO),
        provider=hints.provider,
        denied_providers=hints.denied_providers,
        denied_regions=hints.denied_regions,
        tier=TIERS.get(hints.task_type, classifier_pb2.TIER_UNSPECIFIED),
        weights=hints.weights if what_if else {},
        # A decision as of a named moment is a question, and nothing is learnt from it.
        now_unix_ms=int((hints.at or time.time()) * 1000) if what_if else 0,
        free_tail=plan.at_limit is AtLimit.FREE,
    )
    share = plan.powerful_share if caller.powerful_share is None else caller.powerful_share
    if hints.threshold is not None:
        wanted.threshold = hints.threshold
    elif share is not None:
        wanted.powerful_share = share
    return wanted


def capped(chat: Chat, admission: Admission) -> dict[str, Any]:
    """The body with an output limit that the reservation covers."""
    if chat.output_tokens:
        return chat.body
    return {**chat.body, "max_completion_tokens": admission.output_cap}


def extras(decision: Decision, report: executor_pb2.Report) -> dict[str, Any]:
    """The `lumni` object of an answer."""
    winner = report.attempts[-1] if report.attempts else executor_pb2.Attempt()
    chosen = next(
        (one for one in decision.selection.candidates if one.deployment == winner.deployment),
        selector_pb2.Candidate(),
    )
    total = (time.perf_counter() - decision.began) * 1000
    return {
        "request_id": decision.request_id,
        "trace_id": telemetry.trace_id() or None,
        "classification": render.classification(decision.classification),
        "selection": {
            "tier": render.word(classifier_pb2.Tier, decision.selection.tier),
            "reason": decision.selection.reason,
            "strategy": decision.selection.strategy or None,
            "candidates": [one.deployment for one in decision.selection.candidates],
        },
        "model": winner.model,
        "deployment": winner.deployment,
        "provider": winner.provider,
        "benchmark": render.benchmark(chosen.benchmarks[0]) if chosen.benchmarks else None,
        "cost": {
            "usd": money.usd(report.cost_nano_usd),
            "nano_usd": report.cost_nano_usd,
            "estimated": report.estimated,
        },
        "attempts": render.attempts(report),
        "latency_ms": {
            "total": round(total, 2),
            "classify": round(decision.classify_ms, 2),
            "select": round(decision.select_ms, 2),
            "provider": round(report.timing.provider_ms, 2),
            "overhead": round(total - report.timing.provider_ms, 2),
        },
        "degraded": decision.degraded,
    }


def headers(decision: Decision, admission: Admission, report: executor_pb2.Report | None) -> dict[str, str]:
    """The same in short, as headers; what is not known yet when a stream begins is left out."""
    tier = render.word(classifier_pb2.Tier, decision.selection.tier)
    category = render.word(classifier_pb2.Category, decision.classification.category)
    shown: dict[str, str | None] = {
        "x-lumni-trace-id": telemetry.trace_id(),
        "x-lumni-tier": tier,
        "x-lumni-category": category,
        "x-lumni-degraded": ",".join(decision.degraded),
        **admission.headers,
    }
    if report is not None and report.attempts:
        shown |= {
            "x-lumni-deployment": report.attempts[-1].deployment,
            "x-lumni-attempts": str(len(report.attempts)),
            "x-lumni-cost-usd": f"{money.usd(report.cost_nano_usd):.9f}",
        }
    return {name: value for name, value in shown.items() if value}


def _without_features(judged: classifier_pb2.Classification) -> classifier_pb2.Classification:
    """They are for the books; the selector has no use for them."""
    if not judged.features:
        return judged
    bare = classifier_pb2.Classification()
    bare.CopyFrom(judged)
    bare.ClearField("features")
    return bare


def _requirements(caller: Caller, chat: Chat) -> selector_pb2.Requirements:
    return selector_pb2.Requirements(
        operation="chat",
        prompt_tokens=chat.prompt_tokens,
        likely_prompt_tokens=chat.likely_prompt_tokens,
        output_tokens=_output_bound(caller, chat),
        choices=chat.choices,
        vision=chat.vision,
        audio=chat.audio,
        file=chat.file,
        tools=bool(chat.tools),
        json_schema=chat.output_format == classifier_pb2.OUTPUT_FORMAT_JSON_SCHEMA,
    )


def _output_bound(caller: Caller, chat: Chat) -> int:
    return (chat.output_tokens or caller.plan.max_output_tokens) + chat.predicted_tokens


def _note_trouble(service: str, fault: errors.Fault) -> None:
    """Log what a service is done without for; that it is gone, `peers` says once."""
    if not isinstance(fault, errors.Unavailable):
        log.error("the %s failed, and is done without: %s: %s", service, type(fault).__name__, fault.message)


def _seen_from_outside(fault: errors.Fault) -> errors.Fault:
    """A service's own trouble, such as a wrong service token, is not the caller's."""
    if isinstance(fault, errors.Unauthenticated):
        log.error("a service refuses the gateway: %s", fault.message)
        return errors.Unavailable("a service is misconfigured", retry_after_s=5)
    if isinstance(fault, errors.Unavailable) and fault.retry_after_s is None:
        fault.retry_after_s = 1
    return fault


async def _chained(
    first: executor_pb2.StreamExecuteResponse,
    rest: AsyncGenerator[executor_pb2.StreamExecuteResponse, None],
) -> AsyncGenerator[executor_pb2.StreamExecuteResponse, None]:
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


def _empty_chunk(decision: Decision) -> str:
    chunk: Mapping[str, Any] = {
        "id": f"chatcmpl-{decision.request_id}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": "",
        "choices": [],
    }
    return orjson.dumps(chunk).decode()
