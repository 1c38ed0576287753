"""What travels with a request through all services: who asks, until when, and what the ledger records of it."""

import time

from lumni.chat.v1 import chat_pb2

from services.chassis import telemetry
from services.gateway.keys.permissions import Caller
from services.gateway.requests import request_metadata
from services.gateway.requests.assignment import Assignment
from services.gateway.requests.model_request import ModelRequest


def made(caller: Caller, request: ModelRequest, timeout_s: float) -> chat_pb2.RequestContext:
    """The context of the request that is being answered, which has `timeout_s` from now on."""
    return of(caller, request.prompt, request.assignment, timeout_s)


def of(
    caller: Caller, prompt: str, assignment: Assignment | None, timeout_s: float
) -> chat_pb2.RequestContext:
    """The same of a request that there is no more of than who asks, the prompt that it names, and its variant."""
    return chat_pb2.RequestContext(
        request_id=telemetry.request_id.get(),
        tenant=caller.tenant,
        key_id=caller.key_id,
        user_id=caller.user_id,
        organization_id=caller.organization_id,
        plan=caller.plan.name,
        deadline_unix_ms=int((time.time() + timeout_s) * 1000),
        traceparent=telemetry.traceparent(),
        metadata=request_metadata.with_prompt(prompt),
        assignment=_recorded(assignment),
    )


def _recorded(assignment: Assignment | None) -> chat_pb2.Assignment | None:
    """What the ledger learns of a variant; nothing where it is not measured."""
    if assignment is None or assignment.unit is None:
        return None
    return chat_pb2.Assignment(
        experiment_id=assignment.experiment_id, variant=assignment.variant, unit=assignment.unit
    )
