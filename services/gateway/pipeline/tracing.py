"""What the span of a request says of it: who asked, what was decided, what it took; never any text of either side."""

from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.executor.v1 import executor_pb2
from opentelemetry import trace

from services.chassis import stages, telemetry
from services.chassis.enums import word
from services.gateway.pipeline.decision import Decision
from services.gateway.requests.model_request import ModelRequest


def decided(
    context: chat_pb2.RequestContext, request: ModelRequest, decision: Decision | None, refusal: str
) -> None:
    """Add who asked, and what was decided; without a decision the request was refused before."""
    if not telemetry.recording():
        return
    stages.describe(
        {
            "gen_ai.operation.name": request.operation.value,
            "gen_ai.request.model": request.model,
            "lumni.request_id": context.request_id,
            "lumni.tenant": context.tenant,
            "lumni.key_id": context.key_id,
            "lumni.organization_id": context.organization_id,
            "lumni.plan": context.plan,
            "lumni.refusal": refusal,
            "user.id": context.user_id,
        }
    )
    if decision is not None:
        assigned = decision.assignment
        stages.describe(
            {
                "lumni.tier": word(classifier_pb2.Tier, decision.selection.tier) or "none",
                "lumni.category": word(classifier_pb2.Category, decision.classification.category),
                "lumni.strategy": decision.selection.strategy,
                "lumni.candidates": [one.deployment for one in decision.selection.candidates],
                "lumni.degraded": decision.degraded or None,
                "lumni.prompt": decision.prompt or None,
                "lumni.experiment": None if assigned is None else assigned.experiment,
                "lumni.variant": None if assigned is None else assigned.variant,
                "lumni.system_prompts": [rule.shown for rule in decision.system_prompts] or None,
            }
        )


def begun() -> None:
    """Note that the first piece of an answer has come."""
    trace.get_current_span().add_event("gen_ai.first_chunk")


def answered(report: executor_pb2.Report, made_by: executor_pb2.Attempt | None = None) -> None:
    """Add what the answer took, with all its attempts; `made_by` is of an earlier request, whose answer this is."""
    if not telemetry.recording():
        return
    last = made_by or (report.attempts[-1] if report.attempts else executor_pb2.Attempt())
    stages.describe(
        {
            "gen_ai.response.model": last.model,
            "gen_ai.usage.input_tokens": report.usage.prompt_tokens,
            "gen_ai.usage.output_tokens": report.usage.completion_tokens,
            "lumni.attempts": len(report.attempts),
            "lumni.cost_nano_usd": report.cost_nano_usd,
            "lumni.deployment": last.deployment,
        }
    )
