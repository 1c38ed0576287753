"""A day of simulated traffic on the real selector: what was decided and what it cost, as events and as a sum."""

import random
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.events.v1 import events_pb2
from lumni.executor.v1 import executor_pb2
from lumni.selector.v1 import selector_pb2_grpc

from services.chassis import litellm_config, rpc
from services.chassis.prices import Price
from services.gateway import postgres
from services.gateway.keys.permissions import Caller
from services.gateway.ledger import event_rows
from services.gateway.ledger.store import LedgerStore
from services.gateway.peers.clients import SELECTOR, Selector
from services.gateway.pipeline import policy
from services.gateway.requests import chat_request
from services.gateway.requests.model_request import ModelRequest
from services.selector.configuration import Configuration
from services.selector.live.exploration_bounds import ExplorationBounds
from services.selector.live.health import Health
from services.selector.live.learned_evidence import LearnedEvidence
from services.selector.live.powerful_share import PowerfulShares
from services.selector.live.recent_usage import RecentUsage
from services.selector.outcome_learning import OutcomeLearning
from services.selector.servicer import SelectorServicer

FLEET = """
model_list:
  - {model_name: strong, litellm_params: {model: anthropic/claude-opus-4-5}, model_info: {access_groups: [all]}}
  - {model_name: middle, litellm_params: {model: openai/gpt-5}, model_info: {access_groups: [all, only]}}
  - {model_name: quick, litellm_params: {model: openai/gpt-5-mini}, model_info: {access_groups: [all]}}
  - {model_name: small, litellm_params: {model: openai/gpt-5-nano}, model_info: {access_groups: [all]}}
"""
LUMNI = """
default_plan: team
plans:
  team: {access_groups: [all], powerful_share: 0.3}
  cheap: {access_groups: [all], strategy: cost, powerful_share: 0.1}
"""
# How long a model's answers are, beside what the request asks for.
VERBOSITY: Mapping[str, float] = {"strong": 1.6, "middle": 1.2, "quick": 0.9, "small": 0.7}
CATEGORIES = (classifier_pb2.CATEGORY_CODE, classifier_pb2.CATEGORY_MATH, classifier_pb2.CATEGORY_WRITING)
BEGAN_S = 1_790_000_000.0
SECONDS_APART = 120.0


@dataclass(frozen=True)
class Day:
    """What happened: the events, and what all of it cost in nano-USD."""

    decisions: list[events_pb2.DecisionEvent]
    usage: list[events_pb2.UsageEvent]

    @property
    def cost_nano_usd(self) -> int:
        """The sum of all attempts."""
        return sum(one.attempt.cost_nano_usd for one in self.usage)

    async def write(self, pool: postgres.Pool) -> None:
        """Into the ledger, as the ledger process does."""
        store = LedgerStore(pool)
        await store.write([event_rows.usage(one.SerializeToString()) for one in self.usage])
        await store.write_decisions([event_rows.decision(one.SerializeToString()) for one in self.decisions])


def configured(folder: Path, lumni: str = LUMNI, fleet: str = FLEET) -> Path:
    """A folder with a configuration."""
    folder.mkdir(exist_ok=True)
    (folder / "litellm_config.yaml").write_text(fleet)
    (folder / "lumni.yaml").write_text(lumni)
    return folder


def servicer(folder: Path) -> SelectorServicer:
    """A selector that has served nobody."""
    return SelectorServicer(
        Configuration(folder),
        Health(),
        PowerfulShares(),
        RecentUsage(3600, spreads=True),
        OutcomeLearning(LearnedEvidence(), ExplorationBounds()),
    )


@asynccontextmanager
async def selecting(folder: Path) -> AsyncIterator[Selector]:
    """The gateway's client of a selector, over a socket."""
    settings = rpc.Settings(timeout_s=60)
    service = rpc.Service(SELECTOR, selector_pb2_grpc.add_SelectorServiceServicer_to_server, servicer(folder))
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(rpc.serve("127.0.0.1:0", settings, [service]))
        channel = await stack.enter_async_context(rpc.connect(address, settings, SELECTOR, repeatable=True))
        yield Selector(channel, settings, 5.0)


async def lived(
    folder: Path,
    callers: Sequence[Caller],
    count: int,
    clock: list[float],
    *,
    seed: int = 1,
    version: str = "v1",
) -> Day:
    """So many requests, decided by the configuration of a folder and answered by models of its fleet.

    The requests are the same for each folder and version of the classifier, and so is what a model answers to one of
    them. Of the versions v1 and v2 the other one is the shadow.
    """
    prices = {one.id: one.price for one in litellm_config.load(folder / "litellm_config.yaml").deployments}
    selector = servicer(folder)
    day = Day([], [])
    for number in range(count):
        chance = random.Random(f"{seed}/{number}")
        clock[0] = BEGAN_S + number * SECONDS_APART
        caller, request = chance.choice(callers), _request(chance)
        context = chat_pb2.RequestContext(
            request_id=f"{seed}-{number:05d}",
            tenant=f"key:{caller.key_id}",
            key_id=caller.key_id,
            plan=caller.plan.name,
        )
        judged = _judged(chance)
        classification = judged.pop(version)
        wanted = policy.select_request(caller, request, context, classification)
        selection = (await selector.Select(wanted, None)).selection
        asked = policy.asked(request, caller, wanted, selection)
        for shadow in judged.values():
            asked.shadow.CopyFrom(shadow)
        day.decisions.append(
            events_pb2.DecisionEvent(
                context=context,
                classification=classification,
                selection=selection,
                asked=asked,
                decided_unix_ms=int(clock[0] * 1000),
                requested_model=request.model,
            )
        )
        day.usage.extend(_attempts(day.decisions[-1], request, prices, clock[0], seed))
    return day


def _judged(chance: random.Random) -> dict[str, classifier_pb2.Classification]:
    """What both versions make of a request: the second finds another score, and now and then another category."""
    category, rate = chance.choice(CATEGORIES), chance.random()
    other = random.Random(rate)
    found = {
        "v1": (category, rate),
        "v2": (other.choice(CATEGORIES) if other.random() < 0.2 else category, rate**2 * other.random()),
    }
    return {
        version: classifier_pb2.Classification(
            category=category,
            tier=classifier_pb2.TIER_POWERFUL if rate > 0.6 else classifier_pb2.TIER_FAST,
            strong_win_rate=rate,
            version=version,
            language="en",
        )
        for version, (category, rate) in found.items()
    }


def _request(chance: random.Random) -> ModelRequest:
    text = "word " * chance.randrange(5, 400)
    lumni = chance.choice(("{}", "{}", "{}", '{"strategy": "quality"}', '{"threshold": 0.5}'))
    model = chance.choice(("auto", "auto", "auto", "auto", "middle"))
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "{text}"}}], "lumni": {lumni}}}'
    return chat_request.parse(body.encode())


def _attempts(
    decision: events_pb2.DecisionEvent,
    request: ModelRequest,
    prices: Mapping[str, Price],
    now_s: float,
    seed: int,
) -> list[events_pb2.UsageEvent]:
    """The first candidate fails now and then; the next one answers."""
    made: list[events_pb2.UsageEvent] = []
    ident, context = decision.context.request_id, decision.context
    for candidate in decision.selection.candidates:
        chance = random.Random(zlib.crc32(f"{seed}/{ident}/{candidate.deployment}".encode()))
        failed = not made and len(decision.selection.candidates) > 1 and chance.random() < 0.05
        answer = round(120 * VERBOSITY[candidate.model] * chance.lognormvariate(0, 0.5)) + 1
        usage = executor_pb2.Usage(
            prompt_tokens=request.likely_prompt_tokens,
            completion_tokens=answer,
            cached_tokens=request.likely_prompt_tokens // 3,
        )
        cost = prices[candidate.deployment].cost(usage)
        made.append(
            events_pb2.UsageEvent(
                kind=events_pb2.USAGE_KIND_FAILED if failed else events_pb2.USAGE_KIND_FINAL,
                context=context,
                attempt=executor_pb2.Attempt(
                    id=f"{ident}/{len(made) + 1}",
                    deployment=candidate.deployment,
                    model=candidate.model,
                    started_unix_us=int(now_s * 1e6) + len(made),
                    usage=None if failed else usage,
                    cost_nano_usd=0 if failed else cost.total,
                    cost_parts=None
                    if failed
                    else executor_pb2.CostParts(
                        input_nano_usd=cost.input,
                        cached_nano_usd=cost.cached,
                        output_nano_usd=cost.output,
                        fees_nano_usd=cost.fees,
                    ),
                ),
                category=decision.classification.category,
                tier=decision.selection.tier,
            )
        )
        if not failed:
            break
    return made
