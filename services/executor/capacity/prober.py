"""Background probes of idle deployments: is each model still there? Off unless an interval is set.

A probe is a real, tiny call, so it is billed and recorded as one; it passes the same gate, so it closes or opens the
same breaker.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from uuid import uuid4

from lumni.chat.v1 import chat_pb2
from lumni.executor.v1 import executor_pb2 as pb

from services.chassis import errors
from services.chassis.deployments import Deployment
from services.chassis.operations import Operation
from services.executor.attempts import messages
from services.executor.attempts.model import Candidate, Work
from services.executor.attempts.run import FallbackRun
from services.executor.capacity.gate import CapacityGate
from services.executor.engines.directory import Directory

log = logging.getLogger(__name__)

TIMEOUT_S = 20.0
TENANT = "lumni-probe"


class Prober:
    """Probes the deployments that were not called for a while, one after the other."""

    def __init__(
        self, directory: Directory, gate: CapacityGate, start: Callable[[Work], FallbackRun], every_s: float
    ) -> None:
        self._directory = directory
        self._gate = gate
        self._start = start
        self._every_s = every_s

    async def run(self) -> None:
        """Probe until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            for deployment in self._directory.fleet.deployments:
                idle_s = time.monotonic() - self._gate.state(deployment).used_at
                if idle_s >= self._every_s and self._directory.is_callable(deployment):
                    await self.probe(deployment)

    async def probe(self, deployment: Deployment) -> None:
        """Call a deployment for one token; its health shows the result."""
        embeds = deployment.mode == "embedding"
        chat = {"messages": [{"role": "user", "content": "ping"}], "max_tokens": 1}
        request_id = str(uuid4())
        operation = pb.OPERATION_EMBEDDINGS if embeds else pb.OPERATION_CHAT
        context = chat_pb2.RequestContext(request_id=request_id, tenant=TENANT)
        work = Work(
            request_id=request_id,
            operation=Operation.EMBEDDINGS if embeds else Operation.CHAT,
            body={"input": "ping"} if embeds else chat,
            stream=False,
            candidates=[Candidate(deployment.id, max_cost_nano_usd=deployment.price.bound(16, 1))],
            deadline=time.monotonic() + TIMEOUT_S,
            likely_prompt_tokens=16,
            origin=messages.Origin(pb.ExecuteRequest(context=context, operation=operation)),
        )
        try:
            async for _ in self._start(work).chunks():
                pass
        except errors.Fault as fault:
            log.info("probe: %s is not available: %s", deployment.id, fault.reason)
