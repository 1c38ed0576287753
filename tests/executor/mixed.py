"""Many mixed requests with faults and disconnects, after which the records must agree with what the provider saw.

python -m tests.executor.mixed [REQUESTS]
"""

import asyncio
import json
import random
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import grpc
from lumni.events.v1 import events_pb2
from lumni.executor.v1 import executor_pb2 as pb

from services.local.server import started
from services.local.valkey import Valkey
from tests.executor.service import Caller, deployments, executor
from tests.simulator import Simulator, running

GOOD = ("tokens-16", "tokens-5", "tokens-30-cached-4", "tokens-12-reasoning-4", "tokens-40-drip-1")
BAD = (
    "400",
    "401",
    "404",
    "408",
    "413",
    "429-retry-0.01",
    "500",
    "502",
    "503",
    "drop",
    "reset",
    "malformed",
    "html",
    "empty",
    "firsterror",
    "cut-3",
    "end-3",
    "error-3",
)
# Whole long after their callers have gone, however late those are on a busy machine.
SLOW = ("tokens-300-drip-200", "slow-60000")
# Answered in pieces only when streamed: a whole one may be sent just when its caller disconnects, and count on one side only.
STREAMED = SLOW[0]
FORMATS = {"openai": "openai/m", "anthropic": "anthropic/claude-m", "gemini": "gemini/gemini-m"}
AT_ONCE = 24
# Of a call, in seconds: none is to meet it, for then the provider answers whole and the record is of a broken answer.
DEADLINE_S = 300
BOUND = 50_000_000


@dataclass
class Records:
    """What is compared."""

    seen: int
    begun: int
    ended: int
    twice: int
    final_tokens: tuple[int, int]
    answered_tokens: tuple[int, int]
    # Callers who disconnected before anything came: some so early that the provider never saw the request.
    disconnected_early: int
    wrong: list[str]
    kinds: Counter[str]

    def check(self) -> None:
        """Fail unless the records are in order."""
        assert not self.wrong, self.wrong[:10]
        assert self.twice == 0
        assert self.begun == self.ended, self
        assert 0 <= self.begun - self.seen <= self.disconnected_early, self
        assert self.final_tokens == self.answered_tokens, self


async def run(
    requests: int, simulator: Simulator, redis_url: str, folder: Path, *, engine: str = "fast", seed: int = 7
) -> Records:
    """Make the requests; compare the usage events with the simulator's counts."""
    models = [
        (f"{name}-{words}", f"{model}-sim-{words}")
        for name, model in FORMATS.items()
        for words in (*GOOD, *BAD, *SLOW)
    ]
    config = deployments(simulator.url, models)
    config["router_settings"] |= {"num_retries": 1, "timeout": DEADLINE_S}
    chance = random.Random(seed)
    received: dict[str, int] = {}
    async with executor(folder, config, redis_url, engine=engine) as caller:
        at_once = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with at_once:
                kind = chance.random()
                words = [chance.choice(GOOD if kind < 0.5 else BAD)]
                if kind >= 0.5:
                    words.append(chance.choice(GOOD + BAD))
                disconnects_after_s = None
                if kind > 0.85:
                    words, disconnects_after_s = [chance.choice(SLOW)], chance.uniform(0.02, 0.3)
                named = [f"{chance.choice(list(FORMATS))}-{one}" for one in words]
                received[f"r{number}"] = await _call(
                    caller,
                    f"r{number}",
                    named,
                    stream=chance.random() < 0.6 or words == [STREAMED],
                    disconnects_after_s=disconnects_after_s,
                )

        await asyncio.gather(*(one(number) for number in range(requests)))
        await simulator.until(lambda counts: counts["in_flight"] == 0)
        events = await caller.events(_settled)
    return _compare(events, await simulator.counts(), received)


async def _call(
    caller: Caller, ident: str, candidates: list[str], *, stream: bool, disconnects_after_s: float | None
) -> int:
    """Call, and perhaps disconnect; returns how many chunks with words arrived."""
    request = caller.request(*candidates, ident=ident, max_cost=BOUND, max_tokens=300)
    arrived = 0
    try:
        async with asyncio.timeout(disconnects_after_s):
            if not stream:
                await caller.stub.Execute(request, timeout=DEADLINE_S)
                return 0
            stream_request = pb.StreamExecuteRequest(execute=request)
            pieces = caller.stub.StreamExecute(stream_request, timeout=DEADLINE_S)
            try:
                async for piece in pieces:
                    for text in piece.chunks.chunk_json:
                        arrived += any(
                            (choice.get("delta") or {}).get("content")
                            for choice in json.loads(text)["choices"]
                        )
            finally:
                # As the gateway does: gRPC does not always cancel a call whose reader is cancelled.
                pieces.cancel()
    except (TimeoutError, grpc.aio.AioRpcError):
        pass
    return arrived


def _settled(events: list[events_pb2.UsageEvent]) -> bool:
    begun = sum(one.kind == events_pb2.USAGE_KIND_STARTED for one in events)
    return begun > 0 and len(events) == 2 * begun


def _compare(events: list[events_pb2.UsageEvent], counts: dict, received: dict[str, int]) -> Records:  # type: ignore[type-arg]
    begun = Counter(one.attempt.id for one in events if one.kind == events_pb2.USAGE_KIND_STARTED)
    ends = [one for one in events if one.kind != events_pb2.USAGE_KIND_STARTED]
    wrong = []
    for one in ends:
        usage = one.attempt.usage
        if one.attempt.cost_nano_usd > one.max_cost_nano_usd:
            wrong.append(f"{one.attempt.id} cost more than its bound")
        if one.kind == events_pb2.USAGE_KIND_PARTIAL and one.stream:
            arrived = received[one.attempt.id.partition("/")[0]]
            # The last attempt is the one whose chunks arrived.
            last = max(
                int(other.partition("/")[2])
                for other in begun
                if other.startswith(one.attempt.id.partition("/")[0] + "/")
            )
            if int(one.attempt.id.partition("/")[2]) == last and usage.completion_tokens < arrived:
                wrong.append(
                    f"{one.attempt.id} counts {usage.completion_tokens} tokens, but {arrived} chunks arrived"
                )
    final = [one.attempt.usage for one in ends if one.kind == events_pb2.USAGE_KIND_FINAL]
    answered = counts["outcomes"].get("answered", {})
    ended = Counter(one.attempt.id for one in ends)
    return Records(
        seen=counts["requests"],
        begun=len(begun),
        ended=len(ended),
        twice=sum(count > 1 for count in (*begun.values(), *ended.values())),
        final_tokens=(sum(one.prompt_tokens for one in final), sum(one.completion_tokens for one in final)),
        answered_tokens=(answered.get("prompt_tokens", 0), answered.get("completion_tokens", 0)),
        disconnected_early=sum(
            one.attempt.error_class == "cancelled" and not one.attempt.usage.completion_tokens for one in ends
        ),
        wrong=wrong,
        kinds=Counter(events_pb2.UsageKind.Name(one.kind) for one in ends),
    )


async def main(requests: int) -> None:
    """Run it and print what was compared."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with (
            started(Valkey(folder / "valkey", settings={"appendonly": "no"})) as valkey,
            running() as simulator,
        ):
            records = await run(requests, simulator, valkey.url, folder)
    print(f"{requests} requests: {records}")
    records.check()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5000))
