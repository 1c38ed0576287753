"""Background probes of idle deployments: is each model still there? Off unless an interval is set.

A probe is a real, tiny call, so it is billed and recorded as one; it passes the same gate, so it closes or opens the
same breaker. What probes may cost at most in a day is bounded.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import prometheus_client
from lumni.chat.v1 import chat_pb2
from lumni.executor.v1 import executor_pb2 as pb

from services.chassis import errors
from services.chassis.deployments import Deployment
from services.chassis.operations import Operation
from services.executor.attempts import messages
from services.executor.attempts.model import Candidate, Work
from services.executor.attempts.run import FallbackRun
from services.executor.capacity.daily_budget import DailyBudget
from services.executor.capacity.gate import CapacityGate
from services.executor.engines.directory import Directory

log = logging.getLogger(__name__)

TIMEOUT_S = 20.0
TENANT = "lumni-probe"
# At most so many tokens of a prompt, and of an answer.
PROMPT_TOKENS = 16
OUTPUT_TOKENS = 1
# What a model is asked for, by its mode. The others have no call so small, or none that ends at once.
CHAT = (
    Operation.CHAT,
    pb.OPERATION_CHAT,
    {"messages": [{"role": "user", "content": "ping"}], "max_tokens": OUTPUT_TOKENS},
)
CALLS: Mapping[str, tuple[Operation, pb.Operation.ValueType, Mapping[str, Any]]] = {
    "chat": CHAT,
    "responses": CHAT,
    "completion": (
        Operation.COMPLETIONS,
        pb.OPERATION_COMPLETIONS,
        {"prompt": "ping", "max_tokens": OUTPUT_TOKENS},
    ),
    "embedding": (Operation.EMBEDDINGS, pb.OPERATION_EMBEDDINGS, {"input": "ping"}),
}

PROBES = prometheus_client.Counter(
    "lumni_probes",
    "Probes of idle deployments: answered, failed, or unaffordable by the day's budget.",
    ["deployment", "outcome"],
)


class Prober:
    """Probes the deployments that were not called for a while, one after the other."""

    def __init__(
        self,
        directory: Directory,
        gate: CapacityGate,
        start: Callable[[Work], FallbackRun],
        every_s: float,
        budget: DailyBudget,
    ) -> None:
        """Probe.

        Args:
            directory: The deployments.
            gate: Says when they were last called.
            start: Begins a call.
            every_s: Idle seconds after which a deployment is probed.
            budget: What probes may cost.
        """
        self._directory = directory
        self._gate = gate
        self._start = start
        self._every_s = every_s
        self._budget = budget

    async def run(self) -> None:
        """Probe until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            for deployment in self._directory.fleet.deployments:
                idle_s = time.monotonic() - self._gate.state(deployment).used_at
                if (
                    idle_s >= self._every_s
                    and deployment.mode in CALLS
                    and self._directory.is_callable(deployment)
                ):
                    await self.probe(deployment)

    async def probe(self, deployment: Deployment) -> None:
        """Call a deployment for one token, if the budget covers that; its health shows the result."""
        bound = deployment.price.bound(PROMPT_TOKENS, OUTPUT_TOKENS)
        # What nobody knows the price of, no budget covers.
        if not (deployment.price.known and self._budget.take(bound)):
            PROBES.labels(deployment.id, "unaffordable").inc()
            return
        operation, named, body = CALLS[deployment.mode]
        request_id = str(uuid4())
        context = chat_pb2.RequestContext(request_id=request_id, tenant=TENANT)
        work = Work(
            request_id=request_id,
            operation=operation,
            body=dict(body),
            stream=False,
            candidates=[Candidate(deployment.id, max_cost_nano_usd=bound)],
            deadline=time.monotonic() + TIMEOUT_S,
            likely_prompt_tokens=PROMPT_TOKENS,
            origin=messages.Origin(pb.ExecuteRequest(context=context, operation=named)),
        )
        try:
            async for _ in self._start(work).chunks():
                pass
        except errors.Fault as fault:
            PROBES.labels(deployment.id, "failed").inc()
            log.info("probe: %s is not available: %s", deployment.id, fault.reason)
        else:
            PROBES.labels(deployment.id, "answered").inc()
