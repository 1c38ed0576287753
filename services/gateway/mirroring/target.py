"""A request at a mirror's target: decided, admitted by the mirror's own budget, executed and settled as any other.

It takes no part in experiments, is not answered from the cache, and counts in no metric of callers' requests.
"""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from lumni.classifier.v1 import classifier_pb2
from lumni.executor.v1 import executor_pb2

from services.chassis import errors, telemetry
from services.chassis.enums import word
from services.gateway.config.budgets import Budget, Period
from services.gateway.config.live import Live
from services.gateway.config.plans import AtLimit, Rate, WithoutRedis
from services.gateway.experiments import assignment
from services.gateway.keys.permissions import MIRROR, UNLIMITED, Caller, Subject
from services.gateway.limits.admission import Limits
from services.gateway.mirroring.definition import Mirror
from services.gateway.mirroring.pieces import Pieces
from services.gateway.peers.clients import Executor
from services.gateway.peers.decisions import DecisionPublisher
from services.gateway.pipeline import execute_request, request_context
from services.gateway.pipeline.added_prompts import SystemPromptRules
from services.gateway.pipeline.decision import Decider
from services.gateway.pipeline.decision_events import DecisionEvents
from services.gateway.pipeline.reservation import Reservation, carried_report, reserved
from services.gateway.requests import request_ids
from services.gateway.requests.model_request import ModelRequest

# The name in the metadata of a mirrored request's rows that says which request it repeats.
MIRRORED = "mirrored"


class NotAdmittedError(Exception):
    """The mirror's budget is spent, or limits cannot be counted now."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of a request.

    Attributes:
        request_id: Its id.
        category: Of what it asks, as it was classified; empty where it was not.
        pieces: The JSON of the answer, or of each event of its stream; of one that is too long the beginning.
        report: Its attempts, as far as they are known.
        failure: Why there is no answer; empty where there is one.

    """

    request_id: str = ""
    category: str = ""
    pieces: Sequence[str] = ()
    report: executor_pb2.Report | None = None
    failure: str = ""


def caller_of(mirror: Mirror, caller: Caller) -> Caller:
    """Who asks the target: nobody but the mirror, by the plan of who asked, within the mirror's budget."""
    name = f"{MIRROR}{mirror.name}"
    plan = replace(
        caller.plan,
        rate=Rate(),
        model_rates={},
        max_request_tokens=0,
        budget=None,
        at_limit=AtLimit.REFUSE,
        # No user sees the answers, so nothing is learnt from what would be tried.
        exploration_share=0.0,
        # Uncounted, it could cost more than its budget.
        redis_down=WithoutRedis.DENY,
    )
    return Caller(
        key_id=name,
        plan=plan,
        tenant=name,
        # Its own limits are of those models that it may call itself.
        models=() if mirror.target.model else caller.models,
        subjects=(Subject(f"key:{name}", UNLIMITED, Budget(mirror.budget_nano_usd, Period.DAY)),),
        metadata=caller.metadata,
        powerful_share=caller.powerful_share,
        store_prompts=False,
    )


def request_of(mirror: Mirror, request: ModelRequest) -> ModelRequest:
    """The request as the target gets it; what its caller denies for privacy stays denied."""
    changed = assignment.changed(request, mirror.target, None)
    return replace(
        changed,
        # Nobody could ever ask for an answer that a provider keeps for a mirror.
        body={name: value for name, value in changed.body.items() if name != "store"},
        hints=replace(changed.hints, provider="", max_cost_usd=0),
        assignment=None,
    )


class Target:
    """Asks on behalf of mirrors.

    Args:
        decider: Classifies and selects.
        executor: Gets the answer.
        limits: Where the mirror's budget is counted.
        decisions: Takes what the ledger learns.
        rules: The operator's system prompts, which the target gets too.

    """

    def __init__(
        self,
        *,
        decider: Decider,
        executor: Executor,
        limits: Limits,
        decisions: DecisionPublisher,
        rules: Live[SystemPromptRules],
    ) -> None:
        self._decider = decider
        self._executor = executor
        self._limits = limits
        self._decisions = decisions
        self._rules = rules

    async def ask(self, caller: Caller, request: ModelRequest, deadline_s: float, of: str) -> Answered:
        """Ask, as a request of its own.

        Args:
            caller: The mirror.
            request: What is asked.
            deadline_s: For how long at most, in seconds.
            of: The id of the request that it repeats.

        Raises:
            NotAdmittedError: It was not asked.
        """
        ident = request_ids.request_id()
        telemetry.request_id.set(ident)
        rules = self._rules.current
        request = rules.counted(caller, request)
        context = request_context.made(caller, request, deadline_s)
        context.metadata[MIRRORED] = of
        events = DecisionEvents(self._decisions, deadline_s)
        try:
            decision = await self._decider.decide(caller, request, context)
        except errors.Fault as fault:
            events.publish(context, request, None, refusal=fault.reason)
            return Answered(ident, failure=fault.reason)
        category = word(classifier_pb2.Category, decision.classification.category) or ""
        decision.system_prompts = rules.chosen(caller, request, decision)
        try:
            admission = await reserved(self._limits, caller, request, decision)
        except errors.Fault as fault:
            events.publish(context, request, decision, refusal=fault.reason)
            raise NotAdmittedError(fault.reason) from fault
        events.publish(context, request, decision)
        wanted = await execute_request.made(decision, admission, request, self._limits, deadline_s)
        try:
            with events.executing(request, decision):
                async with Reservation(self._limits, admission) as reservation:
                    pieces, reservation.report = await self._executed(
                        wanted, deadline_s, stream=request.stream
                    )
        except errors.Fault as fault:
            return Answered(ident, category, (), carried_report(fault), fault.reason)
        return Answered(ident, category, pieces, reservation.report)

    async def _executed(
        self, wanted: executor_pb2.ExecuteRequest, deadline_s: float, *, stream: bool
    ) -> tuple[Sequence[str], executor_pb2.Report]:
        if not stream:
            response = await self._executor.execute(wanted, deadline_s)
            return [response.body_json], response.report
        pieces = Pieces()
        async with aclosing(self._executor.stream(wanted, deadline_s)) as responses:
            async for one in responses:
                for piece in one.chunks.chunk_json:
                    pieces.add(piece)
                if one.WhichOneof("piece") == "report":
                    return pieces.kept, one.report
        raise errors.Unavailable("the executor ended without a report")
