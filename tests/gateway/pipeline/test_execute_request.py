"""What the executor is asked for."""

import threading
import time
from dataclasses import replace

import orjson
import pytest
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.selector.v1 import selector_pb2

from services.chassis import offload
from services.gateway.limits.admission import Admission, Limits
from services.gateway.pipeline import execute_request
from services.gateway.pipeline.decision import Decision
from services.gateway.requests import chat_request

CHAT = chat_request.parse(b'{"messages": [{"role": "user", "content": "What is 17 times 23?"}]}')


class OneAttempt(Limits):
    """Limits that nothing is asked of but how many attempts they cover."""

    def __init__(self) -> None: ...

    billable_attempts = 1


@pytest.mark.parametrize(("age_s", "earliest", "latest"), [(5, 1, 25_000), (31, 1, 1)])
async def test_what_is_left_of_a_requests_time_travels_as_a_duration(
    age_s: float, earliest: int, latest: int
) -> None:
    decision = Decision(
        began=time.perf_counter() - age_s,
        context=chat_pb2.RequestContext(request_id="r"),
        classification=classifier_pb2.Classification(),
        selection=selector_pb2.Selection(candidates=[selector_pb2.Candidate(deployment="small@openai")]),
        degraded=[],
    )
    admission = Admission("r", ("small@openai",))

    wanted = await execute_request.made(decision, admission, CHAT, OneAttempt(), 30.0)

    assert earliest <= wanted.timeout_ms <= latest


async def test_a_long_body_is_written_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    decision = Decision(
        began=time.perf_counter(),
        context=chat_pb2.RequestContext(request_id="r"),
        classification=classifier_pb2.Classification(),
        selection=selector_pb2.Selection(),
        degraded=[],
    )
    threads: list[int] = []

    def dumps(body: object) -> bytes:
        threads.append(threading.get_ident())
        return written(body)

    written = orjson.dumps
    monkeypatch.setattr(orjson, "dumps", dumps)
    for size in (0, offload.LONG + 1):
        request = replace(CHAT, size=size)
        wanted = await execute_request.made(decision, Admission("r", ()), request, OneAttempt(), 30.0)
        assert request.body["messages"] == orjson.loads(wanted.body_json)["messages"]

    here, beside = threads
    assert threading.get_ident() == here
    assert threading.get_ident() != beside
