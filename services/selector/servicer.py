"""Between the wire and the core: unpack, select, pack."""

import asyncio
import logging
import threading
import time
from functools import cache

import numpy as np
import prometheus_client
from lumni.classifier.v1 import classifier_pb2
from lumni.selector.v1 import selector_pb2 as pb
from lumni.selector.v1 import selector_pb2_grpc as pb_grpc

from services.chassis import bounds, errors, prices, rpc, selection_messages, status
from services.chassis.candidates import UNPINNED
from services.chassis.measured_scores import Measured
from services.selector import past_messages, replay_servicer
from services.selector.configuration import Configuration
from services.selector.live.health import Health
from services.selector.live.powerful_share import PowerfulShares
from services.selector.live.recent_usage import RecentUsage
from services.selector.message_bounds import GET_MODEL, LIST_MODELS, SELECT
from services.selector.models.catalog import Entry, Score
from services.selector.models.deployment_table import Mask
from services.selector.outcome_learning import OutcomeLearning
from services.selector.past_messages import KeptHealth
from services.selector.ranking import rank, tier
from services.selector.ranking.select import Selection, Selector, Task
from services.selector.ranking.tier import Split

log = logging.getLogger(__name__)

MOST_REQUESTS = 256
# After so many seconds of a batch other calls have a turn.
TURN_S = 0.01
# How many scores a candidate shows: what was measured here, then the weightiest.
MOST_BENCHMARKS = 5

LATENCY = prometheus_client.Histogram(
    "lumni_selector_duration_seconds",
    "Time to select for the requests of one call.",
    ["method"],
    buckets=(0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1),
)
SELECTED = prometheus_client.Counter(
    "lumni_selector_selections",
    "Selections, by strategy, tier and category.",
    ["strategy", "tier", "category"],
)
REFUSED = prometheus_client.Counter(
    "lumni_selector_refusals", "Requests that nothing was left for, by reason.", ["reason"]
)
# The metrics of each kind of call and selection, looked up once.
_latency, _selected = cache(LATENCY.labels), cache(SELECTED.labels)


class SelectorServicer(pb_grpc.SelectorServiceServicer):
    """The selector on the wire."""

    def __init__(
        self,
        configuration: Configuration,
        health: Health,
        powerful_shares: PowerfulShares,
        recent: RecentUsage,
        outcomes: OutcomeLearning,
    ) -> None:
        self._configuration = configuration
        self._health = health
        self._powerful_shares = powerful_shares
        self._recent = recent
        self._outcomes = outcomes
        self._kept_health = KeptHealth()
        self._replaying = asyncio.Lock()
        # The fields of a candidate that do not depend on the request, by category, as of one configuration.
        self._constant: dict[tuple[int, str, bool, bool], pb.Candidate] = {}
        self._constant_of: Selector | None = None

    @property
    def _selector(self) -> Selector:
        return self._configuration.selector

    async def Select(self, request: pb.SelectRequest, context: object) -> pb.SelectResponse:
        """Select for one request."""
        with _latency("Select").time():
            response = pb.SelectResponse()
            self._select(request, response.selection)
            return response

    async def BatchSelect(self, request: pb.BatchSelectRequest, context: object) -> pb.BatchSelectResponse:
        """Select for many; each has its own success or failure."""
        if len(request.requests) > MOST_REQUESTS:
            raise errors.Invalid(f"requests: at most {MOST_REQUESTS} at once", param="requests")
        response = pb.BatchSelectResponse()
        with _latency("BatchSelect").time():
            others_at = time.monotonic() + TURN_S
            for one in request.requests:
                if time.monotonic() > others_at:
                    # A large batch does not keep the loop from small ones, nor from health checks.
                    await asyncio.sleep(0)
                    others_at = time.monotonic() + TURN_S
                began_ns = time.time_ns()
                refused: errors.Fault | None = None
                result = response.results.add()
                try:
                    self._select(one, result.selection)
                except errors.Fault as fault:
                    refused = fault
                except Exception:  # whatever one request meets, the others have their answers
                    log.exception("one of %d requests failed", len(request.requests))
                    refused = errors.Internal("internal error")
                if refused is not None:
                    # In place of what was selected so far.
                    result.error.CopyFrom(status.to_failure(refused))
                rpc.record_item("Select", one.context, began_ns, refused)
        return response

    async def Replay(self, request: pb.ReplayRequest, context: object) -> pb.ReplayResponse:
        """Select once more for requests of the past, in a thread, until nobody waits for it; one replay at a time."""
        given_up = threading.Event()
        async with self._replaying:
            with _latency("Replay").time():
                try:
                    return await asyncio.to_thread(
                        replay_servicer.replayed, self._configuration, request, given_up
                    )
                finally:
                    given_up.set()

    async def ListModels(self, request: pb.ListModelsRequest, context: object) -> pb.ListModelsResponse:
        """List the models that a caller may use."""
        bounds.check(request, LIST_MODELS)
        mask = self._selector.permitted(selection_messages.policy(request.policy))
        table = self._selector.table
        return pb.ListModelsResponse(
            models=[
                self._model(name, mask)
                for name in sorted(table.names.groups)
                if mask[table.names.groups[name]].any()
            ]
        )

    async def GetModel(self, request: pb.GetModelRequest, context: object) -> pb.GetModelResponse:
        """Describe one model by any of its names."""
        bounds.check(request, GET_MODEL)
        among, group = self._selector.resolve(request.name)
        mask = self._selector.permitted(selection_messages.policy(request.policy))
        if not (among & mask).any():
            # A model that the caller may not use must not be told from one that is not there.
            raise errors.NotFound(
                f"model: {request.name} is not configured", reason="MODEL_NOT_FOUND", param="model"
            )
        return pb.GetModelResponse(model=self._model(group, mask))

    def _select(self, request: pb.SelectRequest, packed: pb.Selection) -> None:
        """Fill the selection of a response in place: a message that is given to another one is copied."""
        try:
            self._decide(request, packed)
        except errors.Fault as fault:
            REFUSED.labels(fault.reason).inc()
            raise

    def _decide(self, request: pb.SelectRequest, packed: pb.Selection) -> None:
        bounds.check(request, SELECT)
        judged, policy = request.classification, request.policy
        options = self._selector.table.options
        self._recent.follow(options.recent_window_s, spreads=options.recent_spreads)
        now = policy.now_unix_ms / 1000 or time.time()
        split = Split(options.powerful_share, options.threshold).of_policy(**past_messages.own_split(policy))
        powerful, threshold = self._tier(request, split, now)
        task = past_messages.task(judged, powerful=powerful)
        tenant, table = request.context.tenant, self._selector.table
        snapshot = self._health.of(table)
        packed.circumstances.CopyFrom(self._kept_health.of(table, snapshot))
        recent = self._recent.shares(tenant, table, now)
        past_messages.pack(packed.circumstances, table, split, recent, now)
        learned = self._outcomes.learned(request, table, task, now)
        selection = self._selector.select(
            task,
            selection_messages.requirements(request.requirements),
            selection_messages.policy(policy),
            past_messages.preferences(request, now),
            snapshot,
            self._recent.values(tenant, table, now),
            learned,
        )
        if learned is not None:
            self._outcomes.record(packed.circumstances, table, learned, selection, request.context.plan)
        if not selection_messages.what_if(policy):
            best = table.deployments[selection.candidates[0].index]
            self._recent.observe(tenant, best.model, now)
        tier = classifier_pb2.TIER_POWERFUL if powerful else classifier_pb2.TIER_FAST
        _selected(selection.strategy, "powerful" if powerful else "fast", task.category).inc()
        packed.tier, packed.reason, packed.pinned = tier, selection.reason, selection.pinned
        packed.strategy, packed.threshold = selection.strategy, threshold
        for removal in selection.removals:
            packed.removals.add(filter=removal.filter, models=removal.models)
        self._pack(packed, selection, task)

    def _tier(self, request: pb.SelectRequest, split: Split, now: float) -> tuple[bool, float]:
        """Whether the request is powerful, and the strong win rate from which it is."""
        policy, judged = request.policy, request.classification
        plan, rate = request.context.plan, judged.strong_win_rate
        # A request without a classification has no rate to count; one that pins a model has no tier.
        if judged.version and request.model in UNPINNED and not selection_messages.what_if(policy):
            self._powerful_shares.observe(plan, judged.version, rate, now)
        shared = None
        if split.share is not None:
            shared = self._powerful_shares.threshold(plan, judged.version, split.share, now)
        return tier.decide(
            past_messages.judgement(judged),
            request.context.request_id,
            forced=past_messages.is_powerful(policy.tier),
            fixed=split.threshold,
            share=shared,
        )

    def _pack(self, packed: pb.Selection, selection: Selection, task: Task) -> None:
        scores, quality = selection.scores, selection.ranking.quality
        for candidate in selection.candidates:
            one = packed.candidates.add()
            one.CopyFrom(self._unchanging(candidate.index, task))
            one.score = scores.score[candidate.index]
            one.quality = quality[candidate.index]
            one.only_on = selection_messages.ONLY_ON[candidate.only_on]
            one.max_cost_nano_usd = candidate.max_cost_nano_usd
            for name, value, weight in rank.parts_of(scores, candidate.index):
                one.parts.add(name=name, value=value, weight=weight)

    def _unchanging(self, index: int, task: Task) -> pb.Candidate:
        """The fields of a candidate that do not depend on the request."""
        if self._constant_of is not self._selector:
            self._constant_of = self._selector
            self._constant.clear()
        key = (index, task.category, task.long_context, task.multilingual)
        found = self._constant.get(key)
        if found is None:
            table = self._selector.table
            deployment, entry = table.deployments[index], table.entries[index]
            rates = deployment.price.rates
            weights = table.weights_of(
                task.category, long_context=task.long_context, multilingual=task.multilingual
            )
            measured = None if task.long_context else table.measured[index].get(task.category)
            here = [_as_benchmark(task.category, measured)] if measured else []
            found = self._constant[key] = pb.Candidate(
                deployment=deployment.id,
                model=deployment.model,
                provider=deployment.provider,
                input_nano_usd_per_mtok=rates.input,
                output_nano_usd_per_mtok=rates.output,
                unpriced=not deployment.price.known,
                catalog_id=entry.id if entry else "",
                price_id=deployment.price.ident,
                benchmarks=[*here, *(_weightiest(entry, weights) if entry else [])][:MOST_BENCHMARKS],
            )
        return found

    def _model(self, name: str, mask: Mask) -> pb.Model:
        table = self._selector.table
        snapshot = self._health.of(table)
        members = [i for i in table.names.groups[name] if mask[i]]
        deployments = [table.deployments[i] for i in members]
        entry = next((found for i in members if (found := table.entries[i]) is not None), None)
        working = snapshot.callable & snapshot.closed
        priced = [d.price.rates for d in deployments if d.price.known]
        cheapest = min(priced, key=lambda rates: rates.input + rates.output, default=prices.UNPRICED.rates)
        model = pb.Model(
            name=name,
            context_window=max(d.context_window for d in deployments)
            or (entry.context_window if entry else 0),
            max_output_tokens=max(d.max_output_tokens for d in deployments),
            capabilities=sorted(frozenset[str]().union(*(d.capabilities for d in deployments))),
            input_nano_usd_per_mtok=cheapest.input,
            output_nano_usd_per_mtok=cheapest.output,
            deployments=[d.id for d in deployments],
            providers=sorted({d.provider for d in deployments}),
            available=bool(np.any(working[members])),
            callable=bool(np.any(snapshot.callable[members])),
            unpriced=not priced,
            aliases=sorted(alias for alias, target in table.fleet.aliases.items() if target == name),
        )
        model.benchmarks.extend(
            _as_benchmark(category, one) for category, one in table.measured[members[0]].items()
        )
        if entry is not None:
            model.catalog_id = entry.id
            model.organization = entry.organization
            model.release = entry.release
            published_first = sorted(
                entry.scores.values(), key=lambda score: (score.imputed, score.benchmark)
            )
            model.benchmarks.extend(_benchmark(score) for score in published_first)
        return model


def _weightiest(entry: Entry, weights: dict[str, float]) -> list[pb.Benchmark]:
    scores = [entry.scores[name] for name in weights if name in entry.scores]
    # A published score of equal weight goes before an imputed one.
    scores.sort(key=lambda score: (-weights[score.benchmark], score.imputed, score.benchmark))
    return [_benchmark(score) for score in scores[:MOST_BENCHMARKS]]


def _as_benchmark(category: str, measured: Measured) -> pb.Benchmark:
    """What was measured here, before all that is published."""
    return pb.Benchmark(
        name=f"measured: {category}",
        score=100 * measured.share,
        source=str(measured),
        date=measured.on,
        publisher=pb.PUBLISHER_MEASURED_HERE,
    )


def _benchmark(score: Score) -> pb.Benchmark:
    return pb.Benchmark(
        name=score.benchmark,
        score=score.percent,
        source=score.source,
        imputed=score.imputed,
        uncertainty=score.uncertainty,
        date=score.date,
        published=score.published,
        publisher=_publisher(score),
    )


def _publisher(score: Score) -> pb.Publisher.ValueType:
    if score.imputed:
        return pb.PUBLISHER_UNSPECIFIED
    if score.independent:
        return pb.PUBLISHER_INDEPENDENT
    # Every score of the catalog has an uncertainty.
    return pb.PUBLISHER_MAKER if score.uncertainty else pb.PUBLISHER_OPERATOR
