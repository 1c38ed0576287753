"""The path of every request: decide, admit, execute, settle, answer.

Data only flows forward. A service that is slow or gone degrades the decision, visibly, or fails the request; it never
hangs one.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace

from lumni.executor.v1 import executor_pb2

from services.chassis import errors, stages, telemetry
from services.gateway.cache.response_cache import Found, Hit, ResponseCache, not_cached
from services.gateway.config.live import Live
from services.gateway.experiments.live import LiveExperiments
from services.gateway.keys.permissions import Caller
from services.gateway.limits.admission import Admission, Limits
from services.gateway.limits.admit_arguments import NO_CALL
from services.gateway.peers.clients import Executor
from services.gateway.peers.decisions import DecisionPublisher
from services.gateway.peers.shadows import Shadows
from services.gateway.pipeline import (
    cached_answer,
    execute_request,
    measures,
    metadata,
    policy,
    request_context,
    tracing,
)
from services.gateway.pipeline.added_prompts import SystemPromptRules
from services.gateway.pipeline.cached_answer import found_headers, found_summary
from services.gateway.pipeline.decision import Decider, Decision
from services.gateway.pipeline.decision_events import DecisionEvents
from services.gateway.pipeline.held_chunk import HeldChunk
from services.gateway.pipeline.reservation import Reservation, reserved
from services.gateway.prompts.system_prompts import SystemPrompts
from services.gateway.requests.model_request import ModelRequest

# What a request that calls no model cost.
NO_COST = executor_pb2.Report()
NO_RULES = SystemPromptRules(SystemPrompts())


@dataclass(slots=True)
class Answer:
    """A whole answer: its body, its headers, and what it cost; one that is no JSON has content in place of a body."""

    body: str
    headers: dict[str, str]
    decision: Decision
    report: executor_pb2.Report
    content: bytes = field(default=b"", repr=False)
    content_type: str = ""


@dataclass(slots=True)
class Stream:
    """An answer that has begun: headers, then chunks, which must be closed when they are not read to their end.

    The report, of what it cost, is empty until the chunks have been read to their end.
    """

    headers: dict[str, str]
    chunks: AsyncGenerator[str, None] = field(repr=False)
    report: executor_pb2.Report


class Pipeline:
    """Conducts requests; every collaborator comes from outside.

    Attributes:
        events: What the ledger learns of requests beside their attempts.

    """

    def __init__(
        self,
        *,
        decider: Decider,
        executor: Executor,
        limits: Limits,
        decisions: DecisionPublisher,
        timeout_s: float,
        cache: ResponseCache | None = None,
        system_prompts: Live[SystemPromptRules] | None = None,
        experiments: LiveExperiments | None = None,
        shadows: Shadows | None = None,
    ) -> None:
        self._decider = decider
        self._executor = executor
        self._limits = limits
        self._decisions = decisions
        self.events = DecisionEvents(decisions, timeout_s, shadows)
        self._timeout_s = timeout_s
        self._cache = cache
        self._rules = system_prompts
        self._experiments = experiments

    async def route(
        self, caller: Caller, request: ModelRequest, *, seen_as: Caller | None = None
    ) -> Decision:
        """The decision without the call, perhaps as another caller would get it; counts as a request without tokens.

        Raises:
            Fault: as `complete`.
        """
        request, _ = self._assigned(caller, request)
        async with self.without_model(caller):
            return await self._decider.decide(
                seen_as or caller,
                request,
                request_context.made(caller, request, self._timeout_s),
                what_if=True,
            )

    @asynccontextmanager
    async def without_model(self, caller: Caller, part: int = 0) -> AsyncIterator[Admission]:
        """Admit a request that calls no model, as one without tokens that is under way until the block ends.

        One that counts as several is admitted part by part, by their numbers.

        Raises:
            Fault: the caller has no requests left.
        """
        without_budgets = tuple(replace(subject, budget=None) for subject in caller.subjects)
        admission = await self._limits.admit(
            replace(caller, subjects=without_budgets),
            request_id=telemetry.request_id.get() + (f"/{part}" if part else ""),
            prompt_tokens=0,
            output_tokens=0,
            candidates=[NO_CALL],
        )
        async with Reservation(self._limits, admission) as reservation:
            reservation.report = NO_COST
            yield admission

    async def complete(self, caller: Caller, request: ModelRequest) -> Answer:
        """Answer at once.

        Raises:
            Fault: what is wrong with the request, or what is down; whatever was billed reaches the ledger.
        """
        request, rules = self._assigned(caller, request)
        found = await self._find(caller, request, rules)
        if (hit := found.hit) is not None:
            decision, admission = await self._hit(caller, request, rules, hit)
            return Answer(
                body=metadata.added(hit.answer.pieces[0], cached_answer.summary(decision, hit)),
                headers=cached_answer.headers(decision, admission, hit),
                decision=decision,
                report=cached_answer.report(hit),
            )
        with found.recording as recording:
            decision, admission = await self._admit(caller, request, rules)
            with (
                self.events.executing(request, decision),
                measures.execution(request.operation, decision) as measured,
            ):
                async with Reservation(self._limits, admission) as reservation:
                    response = await self._executor.execute(
                        await execute_request.made(
                            decision, admission, request, self._limits, self._timeout_s
                        ),
                        self._timeout_s,
                    )
                    reservation.report = measured.report = response.report
            recording.add(response.body_json)
            cached_answer.keep(recording, decision, admission, response.report)
        tracing.answered(response.report)
        lumni = metadata.summary(decision, response.report) | found_summary(found)
        return Answer(
            body=metadata.added(response.body_json, lumni) if response.body_json else "",
            headers=metadata.headers(decision, admission, response.report) | found_headers(found),
            decision=decision,
            report=response.report,
            content=response.content,
            content_type=response.content_type,
        )

    async def stream(self, caller: Caller, request: ModelRequest) -> Stream:
        """Answer in chunks; returns when the first piece has come, so that an early failure is an ordinary one.

        Raises:
            Fault: as `complete`; the iteration too.
        """
        request, rules = self._assigned(caller, request)
        found = await self._find(caller, request, rules)
        if (hit := found.hit) is not None:
            decision, admission = await self._hit(caller, request, rules, hit)
            return Stream(
                cached_answer.headers(decision, admission, hit),
                cached_answer.chunks(request, decision, hit),
                cached_answer.report(hit),
            )
        report = executor_pb2.Report()
        with ExitStack() as ends:
            ends.enter_context(found.recording)
            decision, admission = await self._admit(caller, request, rules)
            chunks = self._chunks(decision, admission, request, found, report)
            await anext(chunks)
            # From here on the stream ends the recording.
            ends.pop_all()
        return Stream(metadata.headers(decision, admission) | found_headers(found), chunks, report)

    async def _chunks(
        self,
        decision: Decision,
        admission: Admission,
        request: ModelRequest,
        found: Found,
        report: executor_pb2.Report,
    ) -> AsyncGenerator[str, None]:
        """The chunks of an answer, after an empty text that says that its first piece has come; fills the report."""
        begun = False
        last = HeldChunk()
        with found.recording as recording:
            try:
                with (
                    self.events.executing(request, decision),
                    measures.execution(request.operation, decision) as measured,
                ):
                    async with (
                        Reservation(self._limits, admission) as reservation,
                        aclosing(
                            self._executor.stream(
                                await execute_request.made(
                                    decision, admission, request, self._limits, self._timeout_s
                                ),
                                self._timeout_s,
                            )
                        ) as responses,
                    ):
                        async for response in responses:
                            if not begun:
                                begun = True
                                measured.first_chunk()
                                tracing.begun()
                                yield ""
                            if response.WhichOneof("piece") == "report":
                                reservation.report = measured.report = response.report
                            for chunk in last.passed_on(response.chunks):
                                recording.add(chunk)
                                yield chunk
                        if reservation.report is None:
                            raise errors.Unavailable("the executor ended without a report", retry_after_s=1)
            except errors.Fault:
                if last.held is not None:
                    yield last.held
                raise
            cached_answer.keep(recording, decision, admission, reservation.report, last.held)
        report.CopyFrom(reservation.report)
        tracing.answered(report)
        lumni = metadata.summary(decision, report) | found_summary(found)
        yield metadata.last_chunk(request.operation, last.held, decision, lumni)

    def _assigned(self, caller: Caller, request: ModelRequest) -> tuple[ModelRequest, SystemPromptRules]:
        """The request as its variant of an experiment has it, with what system prompts may add to it, and these."""
        if self._experiments is not None:
            request = self._experiments.of_request(caller, request)
        rules = NO_RULES if self._rules is None else self._rules.current
        return rules.counted(caller, request), rules

    async def _find(self, caller: Caller, request: ModelRequest, rules: SystemPromptRules) -> Found:
        """What the cache says of a request."""
        if self._cache is None or not (ttl_s := self._cache.kept_for(caller, request)):
            return not_cached()
        with measures.looking_up(), stages.stage("cache") as span:
            permitted = policy.policy(caller, request).SerializeToString(deterministic=True)
            permitted += rules.fingerprint(caller, request)
            only_equal = rules.vary_by_message(caller, request)
            ident = telemetry.request_id.get()
            count = self._limits.count(caller, ident)
            found = await self._cache.find(
                caller, request, permitted, ident, ttl_s, count, only_equal=only_equal
            )
            span.set_attribute("lumni.cache", found.result or "unavailable")
            return found

    async def _hit(
        self, caller: Caller, request: ModelRequest, rules: SystemPromptRules, hit: Hit
    ) -> tuple[Decision, Admission]:
        """Admit a request that gets an earlier answer, as one without tokens, and tell the ledger what that saved."""
        context = request_context.made(caller, request, self._timeout_s)
        decision = cached_answer.decision(hit, request, context, self._decider.version)
        decision.system_prompts = rules.chosen(caller, request, decision)
        try:
            admission = await self._limits.counted(caller, context.request_id, hit.counted)
            decision.context.admitted_unix_ms = admission.admitted_unix_ms
        except errors.Fault as fault:
            self.events.publish(decision.context, request, decision, refusal=fault.reason)
            measures.refused(request.operation, decision, fault)
            raise
        measures.cached(request.operation, decision)
        self.events.publish(decision.context, request, decision)
        self._decisions.publish(cached_answer.usage(decision, request, hit))
        tracing.answered(cached_answer.report(hit), cached_answer.winner(hit.answer.report))
        return decision, admission

    async def _admit(
        self, caller: Caller, request: ModelRequest, rules: SystemPromptRules
    ) -> tuple[Decision, Admission]:
        context = request_context.made(caller, request, self._timeout_s)
        decision: Decision | None = None
        try:
            decision = await self._decider.decide(caller, request, context)
            decision.system_prompts = rules.chosen(caller, request, decision)
            with stages.stage("admit") as span:
                admission = await reserved(self._limits, caller, request, decision)
                span.set_attribute("lumni.admitted", admission.deployments)
                span.set_attribute("lumni.reserved_nano_usd", admission.reserved_nano_usd)
        except errors.Fault as fault:
            self.events.publish(context, request, decision, refusal=fault.reason)
            measures.refused(request.operation, decision, fault)
            raise
        measures.admitted(decision)
        self.events.publish(context, request, decision)
        return decision, admission
