"""Which requests are mirrored, and the bounded queue in which they wait; no caller waits for any of it."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import prometheus_client
from lumni.classifier.v1 import classifier_pb2
from lumni.executor.v1 import executor_pb2

from services.chassis import measuring
from services.chassis.operations import Operation
from services.gateway import postgres
from services.gateway.config.live import Live
from services.gateway.experiments import assignment
from services.gateway.keys.permissions import Caller
from services.gateway.mirroring import answers, target
from services.gateway.mirroring.comparison import Compared, Side, Wanted, compare
from services.gateway.mirroring.definition import Mirror
from services.gateway.mirroring.grading import Grades, Grading
from services.gateway.mirroring.pieces import too_long
from services.gateway.mirroring.store import MirrorStore, Pair
from services.gateway.mirroring.target import Answered, NotAdmittedError, Target
from services.gateway.requests import system_text
from services.gateway.requests.model_request import ModelRequest

log = logging.getLogger(__name__)

# Requests that wait, and those under way at the same time, of one process. One more is dropped and counted: what is
# mirrored late says nothing of the same moment.
MOST_WAITING = 64
AT_ONCE = 8
# The longest prompt, by the bound of its tokens. With the longest answer all that waits takes 40 MiB.
LONGEST_PROMPT = 131_072
# Reads and compares answers, which takes up to a tenth of a second: beside the event loop, and apart from the worker of
# the texts that callers wait for.
_WORKER = ThreadPoolExecutor(1, thread_name_prefix="mirrored-answers")

MIRRORED = prometheus_client.Counter(
    "lumni_gateway_mirrored_requests",
    "Requests that were drawn for a mirror, by what became of them: compared; dropped, as too many wait; long, which "
    "would take too much memory; refused, as the mirror's budget is spent or limits cannot be counted; failed, as the "
    "comparison could not be made or kept.",
    ["mirror", "outcome"],
)
WAITING = prometheus_client.Gauge(
    "lumni_gateway_waiting_mirrored_requests",
    "Mirrored requests that wait to be asked of their target.",
    multiprocess_mode="livesum",
)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request to mirror, with what its caller got."""

    mirror: Mirror
    caller: Caller
    request: ModelRequest
    own: Answered


class Mirrors:
    """Draws requests, asks their targets in the background, and keeps the comparisons.

    Args:
        configured: The mirrors, by name.
        target: Asks.
        store: Keeps what was compared.
        draw: Says which requests are drawn.

    """

    def __init__(
        self,
        configured: Live[Mapping[str, Mirror]],
        target: Target,
        store: MirrorStore,
        *,
        draw: random.Random | None = None,
    ) -> None:
        self._configured = configured
        self._target = target
        self._grading = Grading(target)
        self._store = store
        self._random = draw or random.Random()
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(MOST_WAITING)
        measuring.follow(WAITING, self._queue.qsize)

    def drawn(self, caller: Caller, request: ModelRequest) -> Sequence[Mirror]:
        """The mirrors that get a request; of most requests there are none."""
        if not self._configured.current or caller.is_evaluation or not _can_be_mirrored(request):
            return ()
        return [
            one
            for one in self._configured.current.values()
            if (not one.plans or caller.plan.name in one.plans)
            and (not one.keys or caller.key_id in one.keys)
            and assignment.leaves_open(request, one.target.parameters)
            and self._random.random() < one.share
        ]

    def add(self, drawn: Sequence[Mirror], caller: Caller, request: ModelRequest, own: Answered) -> None:
        """Take a request that was answered, or failed at its providers; returns at once."""
        long = request.prompt_tokens > LONGEST_PROMPT or too_long(own.pieces)
        for mirror in drawn:
            if long:
                MIRRORED.labels(mirror.name, "long").inc()
                continue
            try:
                self._queue.put_nowait(_Waiting(mirror, caller, request, own))
            except asyncio.QueueFull:
                MIRRORED.labels(mirror.name, "dropped").inc()

    @asynccontextmanager
    async def mirroring(self) -> AsyncIterator[None]:
        """Ask the targets until the block ends; what waits then is dropped."""
        tasks = [asyncio.create_task(self._work()) for _ in range(AT_ONCE)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            while not self._queue.empty():
                MIRRORED.labels(self._queue.get_nowait().mirror.name, "dropped").inc()

    async def _work(self) -> None:
        while True:
            one = await self._queue.get()
            try:
                await self._mirror(one)
                outcome = "compared"
            except NotAdmittedError:
                outcome = "refused"
            except (*postgres.ERRORS, asyncpg.PostgresError) as error:
                log.warning("a mirrored request is not kept: %s", type(error).__name__)
                outcome = "failed"
            except Exception:
                # Unforeseen: the others are mirrored all the same.
                log.exception("a request could not be mirrored")
                outcome = "failed"
            MIRRORED.labels(one.mirror.name, outcome).inc()
            log.info("request %s was mirrored to %s: %s", one.own.request_id, one.mirror.name, outcome)

    async def _mirror(self, one: _Waiting) -> None:
        mirror, request = one.mirror, one.request
        caller = target.caller_of(mirror, one.caller)
        changed = target.request_of(mirror, request)
        found = await self._target.ask(caller, changed, mirror.deadline_s, one.own.request_id)
        own, theirs, compared = await asyncio.get_running_loop().run_in_executor(
            _WORKER, _compared, request, one.own, found
        )
        grades = await self._grades(one, caller, own, theirs)
        await self._store.add(
            Pair(
                request_id=found.request_id,
                mirror=mirror.name,
                of_request_id=one.own.request_id,
                plan=caller.plan.name,
                operation=request.operation.value,
                category=one.own.category or found.category,
                own=own,
                target=theirs,
                compared=compared,
                grades=grades,
            )
        )

    async def _grades(self, one: _Waiting, caller: Caller, own: Side, theirs: Side) -> Grades:
        judge = one.mirror.judge
        if judge is None or own.said is None or theirs.said is None or own.said.calls or theirs.said.calls:
            return Grades()
        if self._random.random() >= judge.share:
            return Grades()
        return await self._grading.grades(
            caller,
            judge.model,
            one.request,
            (own.said, theirs.said),
            one.mirror.deadline_s,
            one.own.request_id,
        )


def wanted(request: ModelRequest) -> Wanted:
    """The form that a request asks for."""
    json = request.output_format in (
        classifier_pb2.OUTPUT_FORMAT_JSON_OBJECT,
        classifier_pb2.OUTPUT_FORMAT_JSON_SCHEMA,
    )
    schema = None
    if request.output_format == classifier_pb2.OUTPUT_FORMAT_JSON_SCHEMA:
        # Where a chat completion and a response say it.
        asked = request.body.get("response_format") or (request.body.get("text") or {}).get("format") or {}
        schema = (asked.get("json_schema") or asked).get("schema") or {}
    return Wanted(bool(request.tools), json, schema)


def _can_be_mirrored(request: ModelRequest) -> bool:
    """Whether it is a conversation of texts that a second answer to changes nothing in the world."""
    return (
        request.operation in system_text.CONVERSATIONS
        and not (request.vision or request.audio or request.file or request.searches)
        and request.upload is None
    )


def _compared(request: ModelRequest, own: Answered, found: Answered) -> tuple[Side, Side, Compared]:
    mine, theirs = _side(request, own), _side(request, found)
    return mine, theirs, compare(mine, theirs, wanted(request))


def _side(request: ModelRequest, found: Answered) -> Side:
    report = found.report or executor_pb2.Report()
    last = report.attempts[-1] if report.attempts else executor_pb2.Attempt()
    unpriced = any(one.unpriced for one in report.attempts)
    said = None
    if not found.failure and not too_long(found.pieces):
        # Message by message as Anthropic has it; all else is read by its own API.
        said = answers.read(Operation(request.operation), found.pieces, stream=request.stream)
    return Side(
        model=last.model,
        failure=found.failure,
        latency_ms=report.timing.provider_ms,
        first_ms=(report.timing.first_chunk_ms or None) if request.stream else None,
        cost_nano_usd=None if unpriced else report.cost_nano_usd,
        said=said,
    )
