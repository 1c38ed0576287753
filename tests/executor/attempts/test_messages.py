"""What travels of an attempt."""

from dataclasses import replace

from lumni.events.v1 import events_pb2
from lumni.executor.v1 import executor_pb2

from services.chassis.deployments import Deployment
from services.chassis.operations import Operation
from services.chassis.prices import Price, Row, rates_of
from services.executor.attempts import messages
from services.executor.attempts.model import Attempt, AttemptState, Work

QUOTED = "the value 'my secret diary' is not allowed"
# A text that was cut within an emoji, which JSON can hold and protobuf cannot.
CUT = "cannot go on after \ud83d"


def test_a_usage_event_holds_nothing_of_what_a_provider_said_of_the_prompt() -> None:
    deployment = Deployment("d", "m", "openai", "m", Price((Row("", 0, rates_of({})),)))
    made = Attempt("r/1", deployment, 5, 1, AttemptState.FAILED, status_code=400, message=QUOTED)
    work = Work(
        "r", Operation.CHAT, {}, stream=False, candidates=(), deadline=0, origin=messages.Origin(_request())
    )

    event = messages.event(work, made)

    assert isinstance(event, events_pb2.UsageEvent)
    assert ("r/1", 400, "") == (event.attempt.id, event.attempt.status_code, event.attempt.message)
    assert b"diary" not in event.SerializeToString()
    assert QUOTED == messages.attempt(made).message
    # Whatever they are, what it cost is recorded.
    assert event == messages.event(work, replace(made, message=CUT))


def _request() -> executor_pb2.ExecuteRequest:
    return executor_pb2.ExecuteRequest()
