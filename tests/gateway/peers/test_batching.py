"""When a peer that fails is left alone, and when it is called again."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from services.chassis import errors
from services.gateway.peers.batching import TOLERATED_FAILURES, BatchedPeer


class Peer:
    """Answers with the request itself, or fails as configured."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.calls = 0

    async def send(self, requests: Sequence[str]) -> Sequence[str | Exception]:
        self.calls += 1
        if self.failure:
            raise self.failure
        return requests


async def fail(batched: BatchedPeer[str, str], times: int) -> None:
    for _ in range(times):
        with pytest.raises(errors.Unavailable):
            await batched("a")


@pytest.mark.parametrize("failure", [errors.Unavailable("gone"), errors.TimedOut("slow")])
async def test_a_peer_that_keeps_failing_is_left_alone(
    failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    peer = Peer()
    batched: BatchedPeer[str, str] = BatchedPeer("classifier", peer.send, 5, pause_s=60)
    peer.failure = failure
    await fail(batched, TOLERATED_FAILURES + 5)

    assert TOLERATED_FAILURES == peer.calls
    assert 1 == len([one for one in caplog.messages if one.startswith("the classifier does not answer")])


async def test_after_the_pause_it_is_called_again_and_its_return_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    peer = Peer()
    batched: BatchedPeer[str, str] = BatchedPeer("selector", peer.send, 5, pause_s=0)
    peer.failure = errors.Unavailable("gone")
    await fail(batched, TOLERATED_FAILURES)
    peer.failure = None

    with caplog.at_level(logging.INFO):
        assert "a" == await batched("a")
    assert "the selector answers again" in caplog.messages


async def test_an_answer_between_failures_begins_the_count_anew() -> None:
    peer = Peer()
    batched: BatchedPeer[str, str] = BatchedPeer("selector", peer.send, 5, pause_s=60)
    for _ in range(3):
        peer.failure = errors.Unavailable("gone")
        await fail(batched, TOLERATED_FAILURES - 1)
        peer.failure = None
        assert "a" == await batched("a")


async def test_a_peer_that_says_what_is_wrong_answers() -> None:
    peer = Peer()
    batched: BatchedPeer[str, str] = BatchedPeer("selector", peer.send, 5, pause_s=60)
    for failure in (
        errors.Unavailable("all breakers are open", reason="NO_HEALTHY_DEPLOYMENT"),
        errors.NotFound("no such model"),
    ):
        peer.failure = failure
        for _ in range(TOLERATED_FAILURES + 1):
            with pytest.raises(type(failure), match=failure.message):
                await batched("a")

    assert 2 * (TOLERATED_FAILURES + 1) == peer.calls


async def test_a_peer_that_does_not_answer_costs_a_request_no_more_than_its_timeout() -> None:
    frozen = asyncio.Event()

    async def send(requests: Sequence[str]) -> Sequence[str]:
        await frozen.wait()
        return requests

    batched: BatchedPeer[str, str] = BatchedPeer("classifier", send, 0.01)
    await fail(batched, 1)
    frozen.set()


async def test_where_calls_are_not_shared_each_request_has_one_and_failures_count_as_ever() -> None:
    asked: list[str] = []

    async def ask(request: str) -> str:
        asked.append(request)
        if request == "bad":
            raise errors.Unavailable("gone")
        return request.upper()

    batched: BatchedPeer[str, str] = BatchedPeer("classifier", Peer().send, 5, pause_s=60, ask=ask)
    assert ["A", "B"] == list(await asyncio.gather(batched("a"), batched("b")))
    for _ in range(TOLERATED_FAILURES + 1):
        with pytest.raises(errors.Unavailable):
            await batched("bad")

    assert ["a", "b", *["bad"] * TOLERATED_FAILURES] == asked
