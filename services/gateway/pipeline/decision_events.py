"""What the ledger and the trace learn of each request: what was decided, and why one was not executed.

A request that reaches no provider has no attempt in the ledger, so this is all that is known of it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lumni.chat.v1 import chat_pb2
from lumni.events.v1 import events_pb2

from services.chassis import errors
from services.gateway.keys.permissions import Caller
from services.gateway.peers.decisions import DecisionPublisher
from services.gateway.peers.shadows import Shadows
from services.gateway.pipeline import policy, request_context, tracing
from services.gateway.pipeline.decision import Decision
from services.gateway.pipeline.reservation import carried_report
from services.gateway.requests.assignment import Assignment
from services.gateway.requests.model_request import ModelRequest


class DecisionEvents:
    """Publishes decisions and refusals.

    Args:
        publisher: Takes the events.
        timeout_s: How long a request may take, which its context says.
        shadows: Takes those that the classifier's shadow is to judge as well; without it, it judges none.

    """

    def __init__(
        self, publisher: DecisionPublisher, timeout_s: float, shadows: Shadows | None = None
    ) -> None:
        self._publisher = publisher
        self._timeout_s = timeout_s
        self._shadows = shadows

    def publish(
        self,
        context: chat_pb2.RequestContext,
        request: ModelRequest,
        decision: Decision | None,
        *,
        refusal: str = "",
    ) -> None:
        """Hand over what was decided; without a decision the request was refused before."""
        event = events_pb2.DecisionEvent(
            context=context, refusal=refusal, decided_unix_ms=_now_ms(), requested_model=request.model
        )
        if decision is not None:
            event.decided_unix_ms = decision.decided_unix_ms
            event.classification.CopyFrom(decision.classification)
            event.selection.CopyFrom(decision.selection)
            event.configuration = decision.configuration
            event.degraded.extend(decision.degraded)
            if decision.asked is not None:
                event.asked.CopyFrom(decision.asked)
        tracing.decided(context, request, decision, refusal)
        if self._shadows is not None and decision is not None and decision.shadowed and not refusal:
            self._shadows.publish(event, policy.classify_request(request, context))
        else:
            self._publisher.publish(event)

    @contextmanager
    def executing(self, request: ModelRequest, decision: Decision) -> Iterator[None]:
        """Publish the decision again with why it was not executed, where the block fails without an attempt."""
        try:
            yield
        except errors.Fault as fault:
            report = carried_report(fault)
            if report is not None and not report.attempts:
                self.publish(decision.context, request, decision, refusal=fault.reason)
            raise

    def unfit_version(self, caller: Caller, prompt: str, assignment: Assignment, fault: errors.Fault) -> None:
        """Hand over that no request could be made of the version of a prompt that a variant has.

        Args:
            caller: Who asked.
            prompt: The version, such as greeting@3.
            assignment: The variant.
            fault: Why not.
        """
        context = request_context.of(caller, prompt, assignment, self._timeout_s)
        self._publisher.publish(
            events_pb2.DecisionEvent(context=context, refusal=fault.reason, decided_unix_ms=_now_ms())
        )


def _now_ms() -> int:
    return int(time.time() * 1000)
