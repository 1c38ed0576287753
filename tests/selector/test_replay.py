"""What was selected is selected again from what was recorded of it; and what another configuration would select."""

import itertools
import random
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from lumni.chat.v1 import chat_pb2
from lumni.classifier.v1 import classifier_pb2
from lumni.selector.v1 import selector_pb2 as pb

from services.chassis import errors
from services.selector import replay_servicer
from services.selector.configuration import Configuration
from services.selector.live import snapshot
from services.selector.live.exploration_bounds import ExplorationBounds
from services.selector.live.health import Health
from services.selector.live.learned_evidence import LearnedEvidence
from services.selector.live.powerful_share import PowerfulShares
from services.selector.live.recent_usage import RecentUsage
from services.selector.live.snapshot import Headroom, Report, Snapshot
from services.selector.models.deployment_table import DeploymentTable
from services.selector.outcome_learning import OutcomeLearning
from services.selector.servicer import SelectorServicer

FLEET = """
model_list:
  - {model_name: strong, litellm_params: {model: anthropic/claude-opus-4-5}, model_info: {access_groups: [pro]}}
  - {model_name: strong, litellm_params: {model: anthropic/claude-opus-4-5, api_key: os.environ/OTHER}}
  - {model_name: middle, litellm_params: {model: openai/gpt-5}, model_info: {access_groups: [pro, free]}}
  - {model_name: quick, litellm_params: {model: openai/gpt-5-mini, rpm: 100}, model_info: {access_groups: [pro, free]}}
  - {model_name: quick, litellm_params: {model: openai/gpt-5-mini, api_key: os.environ/OTHER, rpm: 50}}
  - model_name: gift
    litellm_params: {model: openai/smollm2-135m, api_base: "http://127.0.0.1:1/v1"}
    model_info: {input_cost_per_token: 0, output_cost_per_token: 0, max_input_tokens: 4096}
  - model_name: quota
    litellm_params: {model: gemini/gemini-2.5-flash}
    model_info: {free_quota: {rpd: 500, tpd: 100000}}
router_settings: {fallbacks: [{strong: [middle]}], routing_strategy: usage-based-routing-v2}
"""
SHARED = "selector: {powerful_share: 0.3}\n"
STRATEGIES = ("", "", "balanced", "cost", "quality", "latency", "free_first")


class Changing(Health):
    """Another state of the deployments at each look."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance
        self.now = 0.0

    def of(self, table: DeploymentTable) -> Snapshot:
        reports = [[self._report(one.id) for one in table.deployments] for _ in range(2)]
        return snapshot.merge(table, reports, self.now)

    def _report(self, deployment: str) -> Report:
        if self._chance.random() < 0.3:
            return Report(deployment)
        left = (
            Headroom("rpd", 500, self._chance.randrange(0, 500), self.now + 40_000),
            Headroom("tpd", 10**6, self._chance.randrange(0, 10**6), self.now + 40_000),
            Headroom("rpm", 100, self._chance.choice((100, 100, 0, 60)), self.now + 40),
        )
        return Report(
            deployment,
            breaker_open=self._chance.random() < 0.1,
            half_open=self._chance.random() < 0.1,
            latency_ms=self._chance.uniform(0, 3000),
            error_rate=self._chance.choice((0.0, self._chance.random())),
            in_flight=self._chance.randrange(4),
            callable=self._chance.random() < 0.9,
            headroom=left[self._chance.randrange(4) :],
        )


class Served:
    """A selector that serves, and what was recorded of it."""

    def __init__(
        self, folder: Path, lumni: str, *, seed: int = 1, outcomes: OutcomeLearning | None = None
    ) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "litellm_config.yaml").write_text(FLEET)
        (folder / "lumni.yaml").write_text(lumni)
        self.configuration = Configuration(folder)
        self.health = Changing(random.Random(seed))
        self._servicer = SelectorServicer(
            self.configuration,
            self.health,
            PowerfulShares(),
            RecentUsage(3600, spreads=True),
            outcomes or OutcomeLearning(LearnedEvidence(), ExplorationBounds()),
        )
        self.past: list[pb.PastDecision] = []
        self.selected: list[pb.Selection] = []

    async def serve(self, requests: Sequence[pb.SelectRequest], monkeypatch: pytest.MonkeyPatch) -> None:
        """Select for each, a second later than for the one before."""
        for number, request in enumerate(requests):
            self.health.now = 1_790_000_000.0 + number * 7
            monkeypatch.setattr("time.time", lambda: self.health.now)
            try:
                response = await self._servicer.Select(request, None)
            except errors.Fault:
                continue
            selection = response.selection
            self.past.append(
                pb.PastDecision(
                    request=request,
                    circumstances=selection.circumstances,
                    tier=selection.tier,
                    first_model=selection.candidates[0].model,
                )
            )
            self.selected.append(selection)

    async def replay(self, **configuration: str) -> list[pb.Selection]:
        """The recorded past once more."""
        asked = pb.ReplayRequest(decisions=self.past)
        if configuration:
            asked.configuration.CopyFrom(pb.ReplayConfiguration(**configuration))
        response = await self._servicer.Replay(asked, None)
        return [result.selection for result in response.results]


def requests(count: int) -> list[pb.SelectRequest]:
    chance = random.Random(7)
    return [_request(chance, number) for number in range(count)]


def _request(chance: random.Random, number: int) -> pb.SelectRequest:
    policy = pb.Policy(strategy=chance.choice(STRATEGIES), free_tail=chance.random() < 0.1)
    if chance.random() < 0.1:
        policy.threshold = chance.random()
    elif chance.random() < 0.1:
        policy.powerful_share = chance.random()
    if chance.random() < 0.05:
        policy.tier = classifier_pb2.TIER_POWERFUL
    if chance.random() < 0.2:
        policy.access_groups.append("free")
    return pb.SelectRequest(
        context=chat_pb2.RequestContext(
            request_id=f"request-{number}", tenant=chance.choice("abc"), plan=chance.choice(("team", "free"))
        ),
        classification=classifier_pb2.Classification(
            category=chance.choice((classifier_pb2.CATEGORY_CODE, classifier_pb2.CATEGORY_MATH)),
            strong_win_rate=chance.betavariate(1, 2),
            tier=chance.choice((classifier_pb2.TIER_FAST, classifier_pb2.TIER_POWERFUL)),
            version="v1" if chance.random() < 0.95 else "",
            language=chance.choice(("en", "de")),
            long_context=chance.random() < 0.1,
        ),
        requirements=pb.Requirements(
            prompt_tokens=chance.randrange(10, 6000), output_tokens=500, tools=chance.random() < 0.2
        ),
        policy=policy,
        model=chance.choice(("auto", "auto", "auto", "auto", "strong", "quick")),
    )


@pytest.mark.parametrize("lumni", [SHARED, "selector: {recent_usage: {prefer: used}}\n"])
async def test_the_same_configuration_selects_the_same_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lumni: str
) -> None:
    served = Served(tmp_path, lumni)
    await served.serve(requests(600), monkeypatch)

    again = await served.replay()

    assert len(again) == len(served.selected) > 300
    for was, now in zip(served.selected, again, strict=True):
        assert (was.tier, was.strategy) == (now.tier, now.strategy)
        assert [(one.deployment, one.only_on) for one in was.candidates] == [
            (one.deployment, one.only_on) for one in now.candidates
        ]
        assert [one.quality for one in was.candidates] == [one.quality for one in now.candidates]
    assert len({one.candidates[0].deployment for one in again}) >= 5


async def test_a_replay_does_not_use_the_selector_that_serves_callers_from_its_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served(tmp_path, SHARED)
    await served.serve(requests(20), monkeypatch)
    serving, used = served.configuration.selector, []
    monkeypatch.setattr(serving, "select", lambda *given: used.append(given))

    again = await served.replay()

    assert not used
    assert [one.candidates[0].deployment for one in served.selected] == [
        one.candidates[0].deployment for one in again
    ]


class Waited(threading.Event):
    """Counts the times that a replay gave way, and is set at one of them."""

    def __init__(self, ends_at: int) -> None:
        super().__init__()
        self.waits: list[float | None] = []
        self._ends_at = ends_at

    def wait(self, timeout: float | None = None) -> bool:
        self.waits.append(timeout)
        if len(self.waits) == self._ends_at:
            self.set()
        return self.is_set()


async def test_a_replay_gives_way_to_callers_and_ends_there_when_it_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served(tmp_path, SHARED)
    await served.serve(requests(40), monkeypatch)
    # Each look at the clock is a millisecond and a half after the one before.
    ticks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: next(ticks) * 0.0015)
    monkeypatch.setattr("services.selector.replay_servicer.time", clock, raising=False)
    asked = pb.ReplayRequest(decisions=served.past)

    whole, ended = Waited(ends_at=0), Waited(ends_at=3)
    results = [
        len(replay_servicer.replayed(served.configuration, asked, one).results) for one in (whole, ended)
    ]

    assert len(whole.waits) >= len(served.past) // 2 - 1 > 3
    assert 3 == len(ended.waits)
    assert len(served.past) == results[0] > results[1] > 0


async def test_another_share_selects_almost_what_it_would_have_selected_had_it_been_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, other = Served(tmp_path / "was", SHARED), Served(tmp_path / "other", "selector: {threshold: 0.1}")
    for one in (served, other):
        await one.serve(requests(600), monkeypatch)

    replayed = await served.replay(lumni_yaml="selector: {powerful_share: 0.8}\n")
    fixed = await served.replay(lumni_yaml="selector: {threshold: 0.1}\n")

    by_share = sum(one.tier == classifier_pb2.TIER_POWERFUL for one in replayed) / len(replayed)
    assert 0.65 < by_share < 0.85
    ids = {
        past.request.context.request_id: selected
        for past, selected in zip(other.past, other.selected, strict=True)
    }
    both = [
        (ids[past.request.context.request_id], now)
        for past, now in zip(served.past, fixed, strict=True)
        if past.request.context.request_id in ids
    ]
    assert len(both) > 300
    assert all(was.tier == now.tier for was, now in both)
    same = sum(was.candidates[0].deployment == now.candidates[0].deployment for was, now in both)
    assert same >= 0.97 * len(both)


async def test_other_prices_and_another_fleet_select_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served(tmp_path, SHARED)
    await served.serve(requests(100), monkeypatch)

    dearer = await served.replay(
        prices_yaml="quick: {input_cost_per_token: 0.0005, output_cost_per_token: 0.001}"
    )
    alone = await served.replay(
        litellm_yaml="model_list: [{model_name: only, litellm_params: {model: openai/gpt-5}}]"
    )

    def first(selections: list[pb.Selection], model: str) -> int:
        return sum(one.candidates[0].model == model for one in selections if one.candidates)

    assert first(dearer, "quick") < first(served.selected, "quick")
    assert {one.model for selection in alone for one in selection.candidates} == {"only"}


@pytest.mark.parametrize(
    ("configuration", "named"),
    [
        ({"lumni_yaml": "selector: {powerful_share: 3}"}, "lumni.yaml:1: selector.powerful_share"),
        ({"litellm_yaml": "model_list: []"}, "litellm_config.yaml"),
        ({"prices_yaml": "nobody: {input_cost_per_token: 1.0e-6}"}, "prices.yaml:1: nobody"),
        ({"prices_yaml": "quick: {input_cost: 1.0e-6}"}, "prices.yaml:1: quick.input_cost"),
        ({"prices_yaml": "quick: {input_cost_per_token: 7}"}, "prices.yaml:1: quick"),
    ],
)
async def test_a_configuration_with_mistakes_is_refused_with_their_lines(
    tmp_path: Path, configuration: dict[str, str], named: str
) -> None:
    with pytest.raises(errors.Invalid) as refused:
        await Served(tmp_path, SHARED).replay(**configuration)

    assert named in refused.value.message
