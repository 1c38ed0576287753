"""The decision about one request: what is asked, and which deployments may answer.

The classifier and the selector decide. What is down or switched off is replaced by something simpler, and the
decision names what was down; it never fails a request that could be answered.
"""

import logging
import time
from dataclasses import dataclass, field

from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import errors, stages, telemetry
from services.gateway.config.live import Live
from services.gateway.config.switches import Switches
from services.gateway.keys.permissions import Caller
from services.gateway.peers.clients import Classifier, Selector
from services.gateway.peers.fallback_selection import FallbackSelection
from services.gateway.pipeline import policy
from services.gateway.prompts.system_prompts import Rule
from services.gateway.requests.assignment import Assignment
from services.gateway.requests.model_request import ModelRequest

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Decision:
    """What was decided about one request, and how long that took."""

    # When the request began, by time.perf_counter().
    began: float
    context: chat_pb2.RequestContext
    classification: classifier_pb2.Classification
    selection: selector_pb2.Selection
    # The services that were down, and are missing from the decision.
    degraded: list[str]
    # What the ledger keeps for a replay; None for an answer from the cache, about which no selector was asked.
    asked: selector_pb2.Asked | None = None
    # Whether the classifier has a version that is not served, and is to judge the request as well.
    shadowed: bool = False
    # The version of a stored prompt that the request was made of, if there is one.
    prompt: str = ""
    # The variant of an experiment that the request has, if it takes part in one.
    assignment: Assignment | None = None
    # What the operator adds to what the system says, in its order.
    system_prompts: tuple[Rule, ...] = ()
    # The version of the configuration files that it was made by.
    configuration: str = ""
    # When it was made.
    decided_unix_ms: int = field(default_factory=lambda: int(time.time() * 1000))
    classify_ms: float = 0.0
    select_ms: float = 0.0

    @property
    def request_id(self) -> str:
        """The request's id."""
        return self.context.request_id


class Decider:
    """Asks the classifier and the selector, and goes on without the one that is down."""

    def __init__(
        self,
        *,
        classifier: Classifier,
        selector: Selector,
        fallback: FallbackSelection,
        switches: Live[Switches],
        version: Live[str],
    ) -> None:
        self._classifier = classifier
        self._selector = selector
        self._fallback = fallback
        self._switches = switches
        # The version of the configuration files that is in force.
        self.version = version

    async def decide(
        self,
        caller: Caller,
        request: ModelRequest,
        context: chat_pb2.RequestContext,
        *,
        what_if: bool = False,
    ) -> Decision:
        """Classify and select.

        Args:
            caller: Whose plan and key set the policy.
            request: The request.
            context: Travels with both calls.
            what_if: Whether the request may bring weights and a time of its own; nothing is executed on that.

        Raises:
            Fault: what is wrong with the request, or nothing that the caller may use can answer it.
        """
        began = time.perf_counter()
        degraded: list[str] = []
        # What changes meanwhile is the next decision's.
        version = self.version.current
        with stages.stage("classify"):
            classification = await self._classify(request, context, degraded)
        shadowed = bool(classification.shadow)
        # Nobody else's concern.
        classification.ClearField("shadow")
        classified = time.perf_counter()
        wanted = policy.select_request(caller, request, context, classification, what_if=what_if)
        with stages.stage("select"):
            selection = await self._select(wanted, degraded)
        selected = time.perf_counter()
        return Decision(
            began=began,
            context=context,
            classification=classification,
            selection=selection,
            degraded=degraded,
            asked=policy.asked(request, caller, wanted, selection),
            shadowed=shadowed,
            prompt=request.prompt,
            assignment=request.assignment,
            configuration=version,
            classify_ms=(classified - began) * 1000,
            select_ms=(selected - classified) * 1000,
        )

    async def _classify(
        self, request: ModelRequest, context: chat_pb2.RequestContext, degraded: list[str]
    ) -> classifier_pb2.Classification:
        # Without a version: nothing judged it.
        classification = classifier_pb2.Classification(strong_win_rate=0.5)
        if self._switches.current.classification and request.messages:
            asked = policy.classify_request(request, context)
            asked.include_features = self._switches.current.keep_features
            _trace_below_stage(asked.context)
            try:
                classification = await self._classifier.classify(asked)
            except errors.Invalid:
                raise
            except errors.Fault as fault:
                _log_failure("classifier", fault)
                degraded.append("classifier")
        # The one estimate that selection and admission count with, so that every answer and table shows it.
        classification.prompt_tokens = request.likely_prompt_tokens
        return classification

    async def _select(
        self, request: selector_pb2.SelectRequest, degraded: list[str]
    ) -> selector_pb2.Selection:
        if not self._switches.current.selection:
            return self._fallback.configured(request, "selection is switched off: the configured order")
        _trace_below_stage(request.context)
        try:
            selection = await self._selector.select(request)
        except (errors.Unavailable, errors.Internal, errors.Unauthenticated) as fault:
            # Any other fault is an answer, and so is that nothing healthy is left.
            if isinstance(fault, errors.Unavailable) and fault.answered:
                raise
            _log_failure("selector", fault)
            degraded.append("selector")
            return self._fallback.select(request)
        self._fallback.remember(request, selection)
        return selection


def _trace_below_stage(context: chat_pb2.RequestContext) -> None:
    """Have the service that is asked continue the trace below the current stage."""
    if telemetry.recording():
        context.traceparent = telemetry.traceparent()


def _log_failure(service: str, fault: errors.Fault) -> None:
    """Log a failure that is not an outage; `peers` logs outages, once each."""
    if not isinstance(fault, errors.Unavailable):
        log.error(
            "the %s failed, and the request goes on without: %s: %s",
            service,
            type(fault).__name__,
            fault.message,
        )
