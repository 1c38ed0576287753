"""The end of what admission reserved for a request: settled when its cost is known, else abandoned, once."""

from types import TracebackType

from google.protobuf.any_pb2 import Any as AnyMessage
from lumni.executor.v1 import executor_pb2

from services.chassis import errors
from services.gateway.keys.permissions import Caller
from services.gateway.limits.admission import Admission, Limits
from services.gateway.pipeline.decision import Decision
from services.gateway.requests.model_request import ModelRequest


async def reserved(limits: Limits, caller: Caller, request: ModelRequest, decision: Decision) -> Admission:
    """Admit a request that was decided, and note in its context when that was.

    Raises:
        Fault: as `Limits.admit`.
    """
    admission = await limits.admit(
        caller,
        request_id=decision.request_id,
        prompt_tokens=request.prompt_tokens,
        likely_prompt_tokens=request.likely_prompt_tokens,
        output_tokens=request.choices * request.output_bound(caller.plan.max_output_tokens),
        candidates=decision.selection.candidates,
    )
    decision.context.admitted_unix_ms = admission.admitted_unix_ms
    return admission


class Reservation:
    """Holds what was reserved while its block runs, and ends it when the block ends, however it does.

    With a report, which the block sets or the fault that ends it carries, the reservation is settled. Without one the
    caller left or the executor vanished, and only the ledger can learn the cost, from the executor's events: it is
    abandoned.
    """

    def __init__(self, limits: Limits, admission: Admission) -> None:
        self._limits = limits
        self._admission = admission
        self.report: executor_pb2.Report | None = None

    async def __aenter__(self) -> "Reservation":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.report is None and isinstance(error, errors.Fault):
            self.report = carried_report(error)
        if self.report is None:
            self._limits.abandon(self._admission)
        else:
            self._limits.settle(self._admission, self.report)


def carried_report(fault: errors.Fault) -> executor_pb2.Report | None:
    """The report that a failed call of the executor carries in its details; None without one."""
    report = executor_pb2.Report()
    for detail in fault.details:
        if isinstance(detail, AnyMessage) and detail.Unpack(report):
            return report
    return None
